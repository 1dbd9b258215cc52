URL = "http://169.254.169.254/latest/meta-data"  # <- found


def f(input, context):
    return 1
