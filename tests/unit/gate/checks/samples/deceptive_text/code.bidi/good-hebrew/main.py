def f(input, context):
    return "שלום"
