import pickle


def f(input, context):
    return pickle.loads(bytes(input["x"], "latin-1"))  # <- found
