"""One run of one function: what came of it, what it used, what it said."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class ExecutionStatus(StrEnum):
    """How an execution stands. All but ``queued`` and ``running`` are final."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"
    CPU_EXCEEDED = "cpu_exceeded"
    CRASHED = "crashed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (ExecutionStatus.QUEUED, ExecutionStatus.RUNNING)


@dataclass(frozen=True, slots=True)
class ExecutionFailure:
    """Why an execution did not succeed; ``limit`` and ``used`` in the unit of the limit that was met."""

    code: str
    message: str
    stack: str | None = None
    limit: int | None = None
    used: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What an execution used. ``start`` is ``warm`` (reused), ``spare`` (a waiting one) or ``cold`` (made for it)."""

    wall_ms: float
    cpu_ms: float
    peak_memory_bytes: int
    service_calls: int
    start: str


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a plugin's log."""

    at: datetime
    level: str
    message: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Violation:
    """An attempt at something that the plugin has no right to."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try: when it ran, and how it went. ``code`` and ``message`` say why it failed."""

    started_at: datetime
    ended_at: datetime
    status: ExecutionStatus
    code: str | None = None
    message: str | None = None

    @classmethod
    def of(cls, execution: "Execution", at: datetime) -> "Attempt":
        """What an execution that ended says of itself."""
        error = execution.error
        return cls(
            execution.started_at,
            execution.ended_at or at,
            execution.status,
            error.code if error is not None else None,
            error.message[:500] if error is not None else None,
        )

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Attempt":
        """Read the stored form."""
        return cls(
            datetime.fromisoformat(document["startedAt"]),
            datetime.fromisoformat(document["endedAt"]),
            ExecutionStatus(document["status"]),
            document["code"],
            document["message"],
        )

    def to_document(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "startedAt": self.started_at.isoformat(),
            "endedAt": self.ended_at.isoformat(),
            "status": self.status.value,
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Execution:
    """The record of one execution. ``input_bytes`` and ``output_bytes`` are sizes; the values are not kept.

    ``queued_at`` and ``attempts`` are said of one that waited its turn; the last attempt is what the rest tells of.
    """

    id: str
    tenant_id: str
    plugin_id: str
    version: str
    function: str
    status: ExecutionStatus
    started_at: datetime
    ended_at: datetime | None
    usage: Usage | None
    error: ExecutionFailure | None
    actor: str
    request_id: str
    input_bytes: int = 0
    output_bytes: int = 0
    queued_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
