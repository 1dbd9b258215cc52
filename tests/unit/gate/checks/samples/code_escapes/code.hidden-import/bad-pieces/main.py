def f(input, context):
    return __import__("o" + "s")  # <- found
