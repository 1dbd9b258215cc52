import ctypes


def probe(input, context):
    libc = ctypes.CDLL("libc.so.6")
    return libc.system(b"id")
