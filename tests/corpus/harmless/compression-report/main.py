import gzip
import zlib


def sizes(input, context):
    data = input["text"].encode()
    return {"plain": len(data), "deflate": len(zlib.compress(data, 9)), "gzip": len(gzip.compress(data))}
