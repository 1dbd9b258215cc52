def f(input, context):
    return eval("1 + 1")
