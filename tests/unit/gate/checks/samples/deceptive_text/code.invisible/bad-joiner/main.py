def f(input, context):
    adminᅟ = 1  # <- found
    return adminᅟ
