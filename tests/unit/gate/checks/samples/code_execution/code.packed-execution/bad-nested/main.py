import base64


def f(input, context):
    exec(base64.b64decode("cGFzcw=="))  # <- found
