import base64
import json


def f(input, context):
    return json.loads(base64.b64decode(input["x"]))
