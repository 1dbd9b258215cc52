import importlib


def f(input, context):
    return importlib.import_module(input["part"]).run()  # <- found
