import base64
import struct
import zlib

PIXEL = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def square(input, context):
    size = min(int(input["size"]), 64)
    raw = b"".join(b"\0" + bytes(input["color"]) * size for _ in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    return {"png": base64.b64encode(b"\x89PNG\r\n\x1a\n" + body).decode(), "pixel": len(PIXEL)}
