def f(input, context):
    return "a​‌​‌​‌​‌​‌​‌​‌​‌"  # <- found
