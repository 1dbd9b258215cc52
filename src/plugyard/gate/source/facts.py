"""What is taken from a file of code, in words that fit both languages."""

from dataclasses import dataclass
from enum import StrEnum

MOST_FACTS = 20_000
"""How many facts of one kind are kept of a file; more say nothing new."""

_VENDORED_FOLDERS = frozenset({"lib", "libs", "vendor", "vendored", "node_modules", "third_party", "site-packages"})
SERVICES = {
    "http": "network",
    "database": "database",
    "cache": "cache",
    "events": "events",
    "files": "filesystem",
}
"""The services that need a permission, by the name under which code finds them, and the permission's word."""


class Argument(StrEnum):
    """What a call's first argument is, as far as it can be told without running anything."""

    NONE = "none"
    VALUE = "value"  # a constant that is no text, or a function
    CONSTANT = "constant"
    PIECES = "pieces"  # put together from constants, which serves nothing but to hide it
    DECODED = "decoded"  # it comes out of a decoder
    COMPUTED = "computed"


@dataclass(frozen=True, slots=True)
class Import:
    """An import; ``module`` is ``None`` where its name is computed, and ``argument`` then says how."""

    module: str | None
    line: int
    argument: Argument = Argument.CONSTANT


@dataclass(frozen=True, slots=True)
class Call:
    """A call by its dotted name, with aliases and imports resolved; an unknown part is ``?``."""

    name: str
    line: int
    argument: Argument


@dataclass(frozen=True, slots=True)
class Mention:
    """An attribute, by its dotted name; ``assigned`` where something is written to it."""

    name: str
    line: int
    assigned: bool = False


@dataclass(frozen=True, slots=True)
class Text:
    """A string as the language reads it; ``escapes`` counts escapes of letters, digits and signs of ASCII."""

    value: str
    line: int
    escapes: int = 0


@dataclass(frozen=True, slots=True)
class Source:
    """One file. ``exports`` is ``None`` where they cannot be known; ``services`` maps a permission to its first line.

    ``services_pass_on`` says that the services are handed to code that cannot be followed. ``identifiers`` are all
    names with their first lines, as the language folds them; ``escaped`` those that are written with escapes.
    """

    path: str
    language: str
    vendored: bool
    problem: str | None = None
    problem_line: int | None = None
    imports: tuple[Import, ...] = ()
    calls: tuple[Call, ...] = ()
    mentions: tuple[Mention, ...] = ()
    texts: tuple[Text, ...] = ()
    identifiers: tuple[tuple[str, int], ...] = ()
    escaped: tuple[tuple[str, int], ...] = ()
    exports: frozenset[str] | None = None
    services: tuple[tuple[str, int], ...] = ()
    services_pass_on: bool = False


def is_vendored(path: str) -> bool:
    """Whether a path lies where authors put the libraries of others."""
    *folders, name = path.split("/")
    return not _VENDORED_FOLDERS.isdisjoint(folders) or ".min." in name
