import helper


def f(input, context):
    return helper.x
