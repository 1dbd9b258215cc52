def f(input, context):
    return "👩‍👩‍👧‍👦 👨🏽‍🚀"
