URL = "http://192.168.0.10/api"  # <- found


def f(input, context):
    return 1
