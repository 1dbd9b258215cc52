"""A package as the checks see it: read once, bounded, and nothing to be opened any more."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from plugyard.domain.manifest import Runtime
from plugyard.domain.report import Component
from plugyard.gate.malware import NOTHING_KNOWN, MalwareList
from plugyard.gate.source import Source

MOST_COMPONENTS = 1_000
"""How many libraries of a package its bill of materials lists."""


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What the service knows beyond the package. An author's own machine may know none of it.

    ``malware`` is what is known to be malicious.
    """

    malware: MalwareList = NOTHING_KNOWN


NOTHING = Knowledge()


@dataclass(frozen=True, slots=True)
class Package:
    """What was read. Paths are relative to the package's root, with forward slashes.

    ``document`` is the manifest where it could be read at all, valid or not; ``runtime`` and ``entry`` are ``None``
    where it does not say them. ``texts`` are the files of the bundle, decoded; ``others`` the first bytes of every
    other file, up to the cap ``GateLimits.kept_file_bytes`` for each; ``digests`` the SHA-256 of every file in hex, and
    ``components`` the libraries that were recognised. ``sources`` are the facts of every file of code, by path.
    """

    digest: str
    document: Mapping[str, Any] | None
    runtime: Runtime | None
    entry: str | None
    files: Mapping[str, int]  # size in bytes, by path
    texts: Mapping[str, str]
    others: Mapping[str, bytes]
    digests: Mapping[str, str]
    component: bytes | None = field(default=None, repr=False)  # of the runtime wasm: the entry
    knowledge: Knowledge = NOTHING
    components: tuple[Component, ...] = ()
    sources: Mapping[str, Source] = field(default_factory=dict)
