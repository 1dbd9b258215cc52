import ast


def f(input, context):
    return ast.literal_eval(input["x"])
