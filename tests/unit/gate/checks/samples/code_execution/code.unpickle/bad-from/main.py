from marshal import loads as read


def f(input, context):
    return read(input)  # <- found
