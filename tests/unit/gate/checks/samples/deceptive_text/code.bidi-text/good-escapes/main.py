def f(input, context):
    return "\u2068" + input + "\u2069"
