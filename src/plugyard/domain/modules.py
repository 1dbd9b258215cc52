"""Which modules a plugin may import: the list of this server, and what narrows it for one plugin.

`guests/modules.json` is the list, and the guests hold every import against it while code runs. This module judges what
a manifest names, so that an author hears of it at upload, at the name's own place. None of it is a boundary.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from plugyard.domain.manifest import Runtime

_UNKNOWN = {
    Runtime.PYTHON: "it is not among the modules that are offered; pure Python goes under lib/, and need not be named",
    Runtime.JAVASCRIPT: "it is not among the modules that are offered; what you need from npm is bundled into the "
    "package, and need not be named",
}


@dataclass(frozen=True, slots=True)
class ModuleRules:
    """What narrows the list for one plugin: the modules that its manifest needs, ``None`` where it does not say, and
    those that the tenant who executes it is denied."""

    needed: tuple[str, ...] | None = None
    denied: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModuleList:
    """The modules that this server offers, by runtime; a runtime that is not in it is not judged.

    ``refused`` gives the reason, and what to use instead. ``denied`` is the operator's own addition.
    """

    offered: Mapping[Runtime, frozenset[str]] = field(default_factory=dict)
    refused: Mapping[Runtime, Mapping[str, str]] = field(default_factory=dict)
    denied: frozenset[str] = frozenset()

    @classmethod
    def from_document(cls, document: Mapping[str, Any], denied: Iterable[str] = ()) -> "ModuleList":
        """Read ``guests/modules.json``."""
        runtimes = (Runtime.PYTHON, Runtime.JAVASCRIPT)
        reasons = document["reasons"]
        return cls(
            {one: frozenset(document[one.value]["allowed"]) for one in runtimes},
            {
                one: {name: reasons[reason] for name, reason in document[one.value]["refused"].items()}
                for one in runtimes
            },
            frozenset(map(_plain, denied)),
        )

    def refusal(self, runtime: Runtime, name: str, denied_by_tenant: Iterable[str] = ()) -> str | None:
        """Why a module may not be imported, and what to do instead; ``None`` where it may."""
        if runtime not in self.offered:
            return None
        plain, tenants = _plain(name), frozenset(map(_plain, denied_by_tenant))
        offered, refused = self.offered[runtime], self.refused[runtime]
        prefixes = list(_prefixes(plain, "." if runtime is Runtime.PYTHON else "/"))
        if self.denied.intersection(prefixes):
            return "the operator of this service does not allow it; do without it, or ask the operator"
        if tenants.intersection(prefixes):
            return "this tenant does not allow it; do without it, or ask the operator"
        for prefix in prefixes:
            if prefix in offered:
                return None
            if prefix in refused:
                return refused[prefix]
        return _UNKNOWN[runtime]


def _plain(name: str) -> str:
    return name.removeprefix("node:")


def _prefixes(name: str, separator: str) -> Iterator[str]:
    """The name, then what it lies in, outwards."""
    parts = name.split(separator)
    for length in range(len(parts), 0, -1):
        yield separator.join(parts[:length])
