def f(input, context):
    return 1
