import base64


def encode(input, context):
    return base64.b64encode(input["text"].encode()).decode()


def decode(input, context):
    return base64.b64decode(input["text"], validate=True).decode()
