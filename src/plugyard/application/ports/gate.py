"""The gate, as the use cases see it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from plugyard.domain.report import Report


@dataclass(frozen=True, slots=True)
class Inspection:
    """What the gate made of a package. Where the report refuses it, the rest may be ``None``.

    ``digests`` are the SHA-256 of its files in hex, by path.
    """

    report: Report
    manifest: dict[str, Any] | None = None
    entry: str | None = None
    bundle: bytes | None = field(default=None, repr=False)  # JSON text {"entry": ..., "files": {path: text}}
    digests: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)


class PackageInspector(Protocol):
    """Reads a package in a jailed process. Raises ``GateUnavailable`` where none can be had.

    ``rules_version`` names the rules as they are run now, an operator's settings and lists included.
    """

    @property
    def rules_version(self) -> str: ...
    async def inspect(self, path: Path, *, digest: str, size: int) -> Inspection: ...
