"""Handlers register themselves by a decorator and are found by name."""

HANDLERS = {}


def handler(name):
    def keep(function):
        HANDLERS[name] = function
        return function

    return keep


@handler("upper")
def _upper(text):
    return text.upper()


@handler("title")
def _title(text):
    return text.title()


def apply(input, context):
    chosen = HANDLERS.get(input["how"])
    if chosen is None:
        raise ValueError(f"no such way: {input['how']}; there are {', '.join(HANDLERS)}")
    return chosen(input["text"])


def fields(input, context):
    class Row:
        def __init__(self, **values):
            for name, value in values.items():
                setattr(self, name, value)

    row = Row(**input["values"])
    return {name: getattr(row, name) for name in ("id", "name") if hasattr(row, name)}
