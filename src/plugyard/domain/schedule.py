"""A schedule of an active plugin: which function runs when, and what becomes of a time that was missed."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from plugyard.domain.cron import Cron

GRACE = timedelta(seconds=60)
"""How late a run may begin and still be that run; what is later was missed."""


class Missed(StrEnum):
    """What becomes of times at which nobody was there to run: nothing, or one run for all of them."""

    SKIP = "skip"
    RUN_ONCE = "runOnce"


@dataclass(frozen=True, slots=True)
class Schedule:
    """One of a plugin's schedules. ``next_due`` is ``None`` until somebody has looked; ``input`` is JSON text."""

    tenant_id: str
    plugin_id: str
    number: int
    version: str
    cron: str
    time_zone: str
    function: str
    missed: Missed = Missed.SKIP
    jitter_s: int = 0
    input: str | None = None
    next_due: datetime | None = None

    @classmethod
    def from_document(
        cls, document: dict[str, Any], tenant_id: str, plugin_id: str, number: int, version: str, given: str | None
    ) -> "Schedule":
        """Read an entry of a manifest; ``given`` is its input as JSON text."""
        return cls(
            tenant_id,
            plugin_id,
            number,
            version,
            document["cron"],
            document.get("timeZone", "UTC"),
            document["function"],
            Missed(document.get("missed", "skip")),
            document.get("jitterS", 0),
            given,
        )

    def after(self, moment: datetime) -> datetime | None:
        """When it is due next."""
        return Cron.parse(self.cron).next_after(moment, ZoneInfo(self.time_zone))

    def begins(self, due: datetime) -> datetime:
        """When a run that is due begins: a while later by the jitter, which is the same for whoever asks."""
        if not self.jitter_s:
            return due
        said = f"{self.plugin_id} {self.number} {due.isoformat()}".encode()
        share = int.from_bytes(hashlib.sha256(said).digest()[:4], "big") / 2**32
        return due + timedelta(seconds=self.jitter_s * share)
