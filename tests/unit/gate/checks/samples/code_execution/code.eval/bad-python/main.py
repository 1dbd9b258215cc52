def f(input, context):
    return eval(input["x"])  # <- found
