URL = "http://localhost.acme.example/api"


def f(input, context):
    return 1
