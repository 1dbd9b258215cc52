"""Search by words: the words of a text, and the query that finds rows by them. Used where rows are written and listed.

PostgreSQL's own parser reads hyphens, dots and slashes as hosts, files and numbers. Splitting here instead makes a
search mean the same for every text: each word asked for begins a word of the name, description, author or keywords.
"""

from __future__ import annotations

import re

from plugyard.domain.manifest import Manifest

_WORD = re.compile(r"[^\W_]+")
_LONGEST = 100
"""Characters of a word that count; PostgreSQL refuses lexemes of more than 2 KB."""


def words(text: str) -> list[str]:
    """The words of a text, in lower case, each once."""
    return list(dict.fromkeys(word[:_LONGEST] for word in _WORD.findall(text.casefold())))


def manifest_words(manifest: Manifest) -> list[str]:
    """The words by which a plugin is found."""
    return words(" ".join((manifest.name, manifest.description, manifest.author, *manifest.keywords)))


def word_query(q: str) -> str | None:
    """The text of a `tsquery` that asks for every word of `q` as a beginning; `None` when `q` has no word."""
    found = words(q)
    return " & ".join(f"'{word}':*" for word in found) if found else None
