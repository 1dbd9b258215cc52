URL = "https://203.0.113.9/api"  # <- found


def f(input, context):
    return 1
