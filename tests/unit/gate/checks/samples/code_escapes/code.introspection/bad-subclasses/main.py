def f(input, context):
    return [c for c in object.__subclasses__()]  # <- found
