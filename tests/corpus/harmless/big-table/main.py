import json

from table import ROWS


def look_up(input, context):
    return {"row": ROWS.get(input["code"]), "of": len(ROWS), "text": json.dumps(ROWS)[:20]}
