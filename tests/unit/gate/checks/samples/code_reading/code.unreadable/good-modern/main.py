def f(input, context):
    match input:
        case {"a": int(a)} if (b := a):
            return b
        case _:
            return f"{input!r:>{10}}"
