import base64
import pickle


def restore(input, context):
    return pickle.loads(base64.b64decode(input["state"]))
