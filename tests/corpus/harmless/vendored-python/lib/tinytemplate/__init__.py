"""Fills {{name}} places in a text."""

import re

__version__ = "1.4.0"
_PLACE = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}")


def fill(template, values):
    return _PLACE.sub(lambda match: str(values.get(match.group(1), "")), template)
