def greet(input, context):
    return "hello"
