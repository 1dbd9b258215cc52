"""The audit trail's chain, and how anybody follows it without trust in a service; the rule is in ``docs/audit.md``.

``plugyard audit verify`` follows an exported chain; the store keeps the same rule in SQL.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

GENESIS = "0" * 64
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_LINE = re.compile(rb'\{"hash":"([0-9a-f]{64})","sequence":([0-9]{1,19}),[^\n]*\}')
_CANONICAL_FROM = len('{"hash":"",') + 64


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends: its last entry's place and hash. The first entry has the place 1."""

    sequence: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.sequence}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "Head":
        """Read ``SEQUENCE:HASH``; raises ``ValueError``."""
        sequence, _, hash_ = text.strip().partition(":")
        if not (sequence.isascii() and sequence.isdecimal()) or not _HASH.fullmatch(hash_):
            raise ValueError("a head is written SEQUENCE:HASH, with 64 hexadecimal digits behind the colon")
        return cls(int(sequence), hash_)


class BrokenTrail(Exception):
    """The chain does not hold. ``sequence`` is the first place at which it shows, ``entry`` what stands there."""

    def __init__(self, sequence: int, why: str, entry: str = "") -> None:
        super().__init__(f"entry {sequence}: {why}" + (f" ({entry})" if entry else ""))
        self.sequence, self.why, self.entry = sequence, why, entry


def hash_of(before: str, canonical: bytes) -> str:
    """The hash of an entry: SHA-256 over the hash before it, in hexadecimal, and its canonical form."""
    return hashlib.sha256(before.encode("ascii") + canonical).hexdigest()


def follow(lines: Iterable[bytes]) -> Iterator[Head]:
    """The head behind each line of a chain that is given from its beginning; raises ``BrokenTrail`` where it breaks.

    Lines come without their line feed. Nothing but the present line is held.
    """
    head = Head()
    for line in lines:
        head = _behind(head, line)
        yield head


def _behind(head: Head, line: bytes) -> Head:
    expected = head.sequence + 1
    match = _LINE.fullmatch(line)
    if match is None:
        if line.startswith(b'{"hash":null,'):
            raise BrokenTrail(expected, "an entry is in no chain: it was written past the triggers", _named(line))
        raise BrokenTrail(expected, "this is no line of a trail", _named(line))
    told, sequence = match.group(1).decode(), int(match.group(2))
    if sequence > expected:
        missing = f"entries {expected} to {sequence - 1} are" if sequence > expected + 1 else f"entry {expected} is"
        raise BrokenTrail(expected, f"{missing} missing", f"{sequence} follows {head.sequence}")
    if sequence < expected:
        raise BrokenTrail(expected, f"entry {sequence} stands here", _named(line))
    found = hash_of(head.hash, b"{" + line[_CANONICAL_FROM:])
    if found != told:
        why = f"it is not what was chained here: its hash is {found}, and the chain has {told}"
        raise BrokenTrail(sequence, why, _named(line))
    return Head(sequence, found)


def _named(line: bytes) -> str:
    """The entry of a line in words, as far as it can be read."""
    try:
        entry = json.loads(line)
        return ", ".join(f"{name} {entry[name]}" for name in ("id", "at", "actor", "action", "target") if name in entry)
    except (ValueError, TypeError):
        return repr(line[:80])
