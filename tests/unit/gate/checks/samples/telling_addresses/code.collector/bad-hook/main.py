URL = "https://webhook.site/0000"  # <- found


def f(input, context):
    return 1
