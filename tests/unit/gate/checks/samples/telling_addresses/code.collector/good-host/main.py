URL = "https://hooks.acme.example/0000"


def f(input, context):
    return 1
