def f(input, context):
    return "می‌خواهم"
