import os as o


def f(input, context):
    return o.system("id")  # <- found
