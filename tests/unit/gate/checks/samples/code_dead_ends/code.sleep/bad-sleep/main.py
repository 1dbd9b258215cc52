import time


def f(input, context):
    time.sleep(1)  # <- found
