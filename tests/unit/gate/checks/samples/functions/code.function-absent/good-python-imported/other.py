def g(input, context):
    return 1
