import json

from words import GREETINGS


def greet(input, context):
    return {"text": GREETINGS.get(input["language"], GREETINGS["en"]).format(name=input["name"]), "of": json.dumps(len(GREETINGS))}
