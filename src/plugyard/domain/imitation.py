"""Names that are made to be taken for others: how alike two names are to somebody who reads in a hurry.

A plugin's name is compared by its ``skeleton``: what is left when separators and look-alike characters are made equal.
The same rule stands in SQL as ``plugyard.skeleton``, so that the store finds candidates by an index; a test compares.
"""

import re
import unicodedata
from enum import StrEnum

# One slip of the finger makes another word of a short name, so there it says little.
SHORTEST_TELLING = 8
_SHORTEST = 4
# In the order in which they are made equal. What is read alike in common typefaces, and nothing more.
_ALIKE = (("0", "o"), ("1", "l"), ("rn", "m"), ("vv", "w"), ("cl", "d"))
_LEGAL_FORMS = frozenset(
    [
        *("ab", "ag", "as", "bv", "co", "company", "corp", "corporation", "gmbh", "inc", "incorporated", "kg"),
        *("limited", "llc", "llp", "ltd", "nv", "oy", "plc", "pty", "sa", "sas", "se", "srl"),
    ]
)
# Letters of other alphabets that look like one of the Latin (Unicode Technical Standard 39, the common ones).
_CYRILLIC = "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u051b\u051d\u04bb"
_GREEK = "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7"
_LATIN = str.maketrans(_CYRILLIC + _GREEK, "aeopcyxijsdqwh" + "abeikvoptux")


class Likeness(StrEnum):
    """How alike two names are: read as the same, or one slip of the finger apart."""

    SAME = "same"
    SLIP = "slip"


def skeleton(name: str) -> str:
    """What a plugin's name is read as."""
    text = re.sub("[-_.]", "", name.lower())
    for seen, read in _ALIKE:
        text = text.replace(seen, read)
    return text


def likeness(name: str, other: str) -> Likeness | None:
    """How alike the names of two plugins are; ``None`` where nobody would take one for the other."""
    if name == other:
        return Likeness.SAME
    one, two = skeleton(name), skeleton(other)
    if one == two:
        return Likeness.SAME if len(one) >= _SHORTEST else None
    if min(len(one), len(two)) < _SHORTEST or _only_a_number_differs(name, other):
        return None
    return Likeness.SLIP if _one_slip_apart(one, two) else None


def halves(name: str) -> tuple[str, str]:
    """The beginning and the end of a name's skeleton, one of which every name has that is one slip apart from it."""
    text = skeleton(name)
    size = max(len(text) // 2 - 1, 1)
    return text[:size], text[-size:]


def publisher_skeleton(name: str) -> str:
    """What a publisher's name is read as: letters and digits, without case, marks, alphabets and legal forms."""
    plain = unicodedata.normalize("NFKD", name).casefold().translate(_LATIN)
    words = re.findall(r"[^\W_]+", "".join(one for one in plain if not unicodedata.combining(one)))
    while len(words) > 1 and words[-1] in _LEGAL_FORMS:
        words.pop()
    return skeleton("".join(words))


def _only_a_number_differs(name: str, other: str) -> bool:
    """``report-v1`` and ``report-v2`` are two of a series."""
    return re.sub(r"\d+", "#", name) == re.sub(r"\d+", "#", other)


def _one_slip_apart(one: str, two: str) -> bool:
    """Whether one character was left out, added, changed, or swapped with its neighbour (Damerau 1964)."""
    if abs(len(one) - len(two)) > 1:
        return False
    start = 0
    while start < min(len(one), len(two)) and one[start] == two[start]:
        start += 1
    left, right = one[start:], two[start:]
    if len(left) == len(right):
        return left[1:] == right[1:] or (left[:2] == right[1::-1] and left[2:] == right[2:])
    longer, shorter = (left, right) if len(left) > len(right) else (right, left)
    return longer[1:] == shorter
