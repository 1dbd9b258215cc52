"""Reads the five fields of a cron expression, to say at upload what a scheduler would only say at night.

``semantics`` calls it. The syntax is that of crontab(5): numbers, names of months and days, lists, ranges and steps.
"""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 7, {name: number for number, name in enumerate(_DAYS)}),
)


def problem(expression: str) -> str | None:
    """What is wrong with the expression, or ``None`` where nothing is."""
    parts = expression.split()
    if len(parts) != len(_FIELDS):
        return f"has {len(parts)} fields in place of 5"
    for text, (name, low, high, words) in zip(parts, _FIELDS, strict=True):
        for item in text.split(","):
            if complaint := _item_problem(item, low, high, words):
                return f"the {name} {item!r} {complaint}"
    return None


def _item_problem(item: str, low: int, high: int, words: dict[str, int]) -> str | None:
    span, slash, step = item.partition("/")
    if slash and not (_is_number(step) and 1 <= int(step) <= high):
        return f"has a step that is no number between 1 and {high}"
    if span == "*":
        return None
    first, dash, last = span.partition("-")
    ends = [_number(end, words) for end in ((first, last) if dash else (first,))]
    if None in ends:
        return "is not *, a number, a name or a range"
    numbers = [end for end in ends if end is not None]
    if any(not low <= number <= high for number in numbers):
        return f"lies outside of {low} to {high}"
    if numbers[0] > numbers[-1]:
        return "runs backwards"
    return None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3


def _number(text: str, words: dict[str, int]) -> int | None:
    return int(text) if _is_number(text) else words.get(text.lower())
