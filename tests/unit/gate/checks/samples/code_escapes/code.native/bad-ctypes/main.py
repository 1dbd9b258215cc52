import ctypes  # <- found


def f(input, context):
    return 1
