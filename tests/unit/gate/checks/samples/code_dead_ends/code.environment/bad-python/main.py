import os


def f(input, context):
    return os.environ["HOME"]  # <- found
