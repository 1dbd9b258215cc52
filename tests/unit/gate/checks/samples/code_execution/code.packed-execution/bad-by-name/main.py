import zlib as z

text = z.decompress(b"x")
code = text.decode()


def f(input, context):
    exec(code)  # <- found
