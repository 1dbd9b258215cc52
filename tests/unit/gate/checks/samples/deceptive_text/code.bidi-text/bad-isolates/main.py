def f(input, context):
    return "⁨" + input + "⁩"  # <- found
