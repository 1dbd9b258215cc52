import importlib


def run(input, context):
    name = "".join(chr(c) for c in (115, 117, 98, 112, 114, 111, 99, 101, 115, 115))
    module = importlib.import_module(name)
    return getattr(module, "check_" + "output")(["id"]).decode()
