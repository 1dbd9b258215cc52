def is_admin(u):
    return False


def is_аdmin(u):  # <- found
    return True


def f(input, context):
    return is_аdmin(input)
