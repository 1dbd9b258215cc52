def f(input, context):
    with open("x.txt") as file:  # <- found
        return file.read()
