import socket


def f(input, context):
    return socket.create_connection(("a.example", 80))  # <- found
