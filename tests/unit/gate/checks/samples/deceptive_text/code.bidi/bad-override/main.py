def f(input, context):
    return "a‮ b"  # <- found
