run = exec


def f(input, context):
    run(input["x"])  # <- found
    return getattr(__builtins__, "eval")
