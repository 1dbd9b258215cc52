from json import loads as read


def f(input, context):
    return read(input)
