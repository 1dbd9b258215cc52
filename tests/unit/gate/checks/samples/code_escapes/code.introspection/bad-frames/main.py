import sys


def f(input, context):
    return sys._getframe(1).f_back  # <- found
