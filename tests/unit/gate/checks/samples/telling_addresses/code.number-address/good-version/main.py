TEXT = "see https://a.example/1.2.3.4"


def f(input, context):
    return 1
