def f(input, context):
    return getattr(f, "__globals__")  # <- found
