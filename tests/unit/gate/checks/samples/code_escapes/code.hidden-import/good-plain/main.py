import importlib


def f(input, context):
    return importlib.import_module("json").dumps(input)
