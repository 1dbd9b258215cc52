"""How commands print: text from a service without what a terminal would act on, and JSON for programs."""

import json
from typing import Any


def printable(text: str) -> str:
    """What somebody else wrote, without anything that a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)


def print_json(value: Any) -> None:
    """Print JSON for a program to read."""
    print(json.dumps(value, indent=2, ensure_ascii=False))
