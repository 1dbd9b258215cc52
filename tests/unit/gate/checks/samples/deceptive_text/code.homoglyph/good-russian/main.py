def сумма(строки):
    return sum(строки)


def f(input, context):
    return сумма(input)
