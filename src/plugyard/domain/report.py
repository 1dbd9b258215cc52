"""What the gate says of a package: findings, and a report that holds them all."""

from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs. An ``error`` refuses the package; the others are shown."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


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


@dataclass(frozen=True, slots=True)
class Report:
    """All findings on one package, with its measures in bytes and the time that the check took in milliseconds."""

    findings: tuple[Finding, ...] = ()
    digest: str = ""
    format: str = ""
    packed_bytes: int = 0
    unpacked_bytes: int = 0
    entries: int = 0
    took_ms: float = field(default=0.0, compare=False)

    @property
    def refused(self) -> bool:
        """Whether any finding refuses the package."""
        return any(finding.severity is Severity.ERROR for finding in self.findings)

    def with_findings(self, *more: Finding) -> "Report":
        """The same report with more findings behind those it has."""
        return Report(
            self.findings + more,
            self.digest,
            self.format,
            self.packed_bytes,
            self.unpacked_bytes,
            self.entries,
            self.took_ms,
        )
