"""What the gate says of a package: findings, and a report that holds them all."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from plugyard.domain.behaviour import Behaviour


class Severity(StrEnum):
    """How much a finding weighs for whoever reads it. What comes of it is its ``Consequence``."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Consequence(StrEnum):
    """What a finding does to the package: nothing but being shown, a wait for an operator's word, or a refusal."""

    SHOW = "show"
    QUARANTINE = "quarantine"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: the rule, where it is (a file, or ``plugin.json#`` and an RFC 6901 pointer), how to mend it."""

    rule: str
    severity: Severity
    where: str
    what: str
    why: str
    mend: str
    line: int | None = None
    consequence: Consequence = Consequence.SHOW


@dataclass(frozen=True, slots=True)
class Component:
    """A library that was found in a package: a part of its bill of materials.

    ``version`` is ``None`` where nothing says it, ``licences`` are SPDX identifiers or expressions, or the author's
    words where they are none. ``purl`` is its package URL, empty where the kind of library has none; ``path`` says
    where it was recognised and ``digest`` is the SHA-256 of that file in hex.
    """

    name: str
    version: str | None
    purl: str
    licences: tuple[str, ...]
    path: str
    digest: str


@dataclass(frozen=True, slots=True)
class Report:
    """All findings on one package, with its measures in bytes and the time that the check took in milliseconds.

    ``components`` are the libraries that were recognised in it; ``behaviour`` is what its examples did, where it has
    some and they were run. That is measured, so that two reports on the same package may differ in it.
    ``rules_version`` names the rules that were run: with others, the version is checked again.
    """

    findings: tuple[Finding, ...] = ()
    digest: str = ""
    format: str = ""
    packed_bytes: int = 0
    unpacked_bytes: int = 0
    entries: int = 0
    took_ms: float = field(default=0.0, compare=False)
    components: tuple[Component, ...] = ()
    behaviour: Behaviour | None = field(default=None, compare=False)
    rules_version: str = field(default="", compare=False)

    @property
    def refused(self) -> bool:
        """Whether any finding refuses the package."""
        return any(finding.consequence is Consequence.BLOCK for finding in self.findings)

    @property
    def suspicious(self) -> bool:
        """Whether the package is let in only behind an operator's word."""
        return not self.refused and any(finding.consequence is Consequence.QUARANTINE for finding in self.findings)

    def with_findings(self, *more: Finding) -> "Report":
        """The same report with more findings behind those it has."""
        return replace(self, findings=self.findings + more)
