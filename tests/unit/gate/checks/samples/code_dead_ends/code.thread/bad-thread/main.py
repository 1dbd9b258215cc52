from threading import Thread


def f(input, context):
    Thread(target=print).start()  # <- found
