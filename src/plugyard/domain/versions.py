"""Versions as Semantic Versioning 2.0.0 (semver.org) defines them, and ranges as npm reads them.

The gate parses every version and range of a manifest with these; the resolver compares with them.
"""

import re
from dataclasses import dataclass
from functools import cached_property, total_ordering

import nodesemver

MAX_LENGTH = 100
_IDENTIFIER = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SHAPE = re.compile(
    r"(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})\.(0|[1-9]\d{0,14})"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?"
    r"(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)


class InvalidVersion(ValueError):
    """The text is no version of Semantic Versioning 2.0.0."""


class InvalidRange(ValueError):
    """The text is no range that npm would read."""


@total_ordering
@dataclass(frozen=True, eq=False)
class Version:
    """A version. Comparison follows SemVer section 11, so build metadata takes no part in it."""

    major: int
    minor: int
    patch: int
    prerelease: tuple[int | str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read ``1.2.3-rc.1+build``; anything else, a leading ``v`` included, raises ``InvalidVersion``."""
        if len(text) > MAX_LENGTH:
            raise InvalidVersion(f"a version has at most {MAX_LENGTH} characters, this one has {len(text)}")
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise InvalidVersion(f"{text!r} is no semantic version; write MAJOR.MINOR.PATCH, as in 1.4.0 or 2.0.0-rc.1")
        major, minor, patch, prerelease, build = match.groups()
        parts = tuple(int(part) if part.isdigit() else part for part in (prerelease or "").split(".") if part)
        return cls(int(major), int(minor), int(patch), parts, build or "")

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        if self.prerelease:
            text += "-" + ".".join(map(str, self.prerelease))
        return f"{text}+{self.build}" if self.build else text

    @cached_property
    def precedence(self) -> tuple[object, ...]:
        """A key that sorts as SemVer says: a release after its prereleases, numbers before words."""
        # Numbers sort before words, and the sentinel 2 puts a release behind all of its prereleases.
        identifiers = tuple((0, part, "") if isinstance(part, int) else (1, 0, part) for part in self.prerelease)
        return (self.major, self.minor, self.patch, identifiers or ((2, 0, ""),))

    def __eq__(self, other: object) -> bool:
        return self.precedence == other.precedence if isinstance(other, Version) else NotImplemented

    def __lt__(self, other: "Version") -> bool:
        return self.precedence < other.precedence if isinstance(other, Version) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.precedence)


@dataclass(frozen=True)
class VersionRange:
    """A range in npm's syntax: ``^1.2``, ``>=1 <3``, ``1.x || 2.x``. The empty range and ``*`` take every release."""

    text: str

    @classmethod
    def parse(cls, text: str) -> "VersionRange":
        """Read a range; raises ``InvalidRange`` with the part that cannot be read."""
        if len(text) > MAX_LENGTH:
            raise InvalidRange(f"a range has at most {MAX_LENGTH} characters, this one has {len(text)}")
        if not text.isascii() or any(ord(character) < 32 for character in text):
            raise InvalidRange("a range has only printable ASCII characters")
        try:
            nodesemver.make_range(text, loose=False)
        except (ValueError, TypeError, IndexError, AttributeError) as error:
            raise InvalidRange(
                f"{text!r} is no range of versions; write one as npm does, as in ^1.2.0 or >=1.0.0 <3.0.0"
            ) from error
        return cls(text)

    @cached_property
    def _range(self) -> nodesemver.Range:
        return nodesemver.make_range(self.text, loose=False)

    def admits(self, version: Version) -> bool:
        """Whether the version lies in the range; a prerelease only where the range names one of the same patch."""
        return bool(self._range.test(nodesemver.make_semver(str(version), loose=False)))

    def __str__(self) -> str:
        return self.text or "*"
