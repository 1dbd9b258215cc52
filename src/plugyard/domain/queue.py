"""Executions that wait their turn: how one stands, when it is tried again, and what is kept of it.

An execution is queued once and recorded once, however often it is tried. ``turn`` and ``run`` tell whose word counts:
a job carries the turn that it was made for, and whoever takes the execution has a run of its own, so that a worker that
was thought dead and comes back changes nothing.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Any

from plugyard.domain.execution import Attempt, Execution, ExecutionStatus
from plugyard.domain.limits import RequestedLimits

LONGEST_KEPT = timedelta(days=1)
"""How long an input is kept at most, and a result behind the end."""


class QueueState(StrEnum):
    """Where a queued execution stands. ``parked`` waits for one of its plugin's others to end; ``dead`` gave up."""

    QUEUED = "queued"
    PARKED = "parked"
    RUNNING = "running"
    ENDED = "ended"
    DEAD = "dead"

    @property
    def waiting(self) -> bool:
        """Whether it has not begun, or not again."""
        return self in (QueueState.QUEUED, QueueState.PARKED)

    @property
    def over(self) -> bool:
        """Whether nothing more happens by itself."""
        return self in (QueueState.ENDED, QueueState.DEAD)


class Priority(IntEnum):
    """What of a tenant's own goes before its other work; it never goes before another tenant's."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How often an execution is tried, and how long it waits between: ``delay_ms`` times ``factor`` for each try.

    ``jitter`` is the share of a delay that chance takes away, so that what failed together does not come back together.
    """

    attempts: int = 1
    delay_ms: int = 1_000
    factor: float = 2.0
    max_delay_ms: int = 300_000
    jitter: float = 0.5

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "RetryRule":
        """Read what a manifest says; what it leaves out has the defaults of a rule that tries three times."""
        return cls(
            document.get("attempts", 3),
            document.get("delayMs", 1_000),
            document.get("factor", 2.0),
            document.get("maxDelayMs", 300_000),
            document.get("jitter", 0.5),
        )

    def delay(self, failed: int, chance: float) -> timedelta | None:
        """How long to wait after so many failed tries (from 1), or ``None`` where that was the last.

        ``chance`` is a number from 0 to 1 that nobody can foresee.
        """
        if failed >= self.attempts:
            return None
        # The power may be larger than any number; the cap is meant then.
        grown = self.factor ** min(failed - 1, 64) * self.delay_ms
        longest = min(grown, float(self.max_delay_ms))
        return timedelta(milliseconds=longest * (1 - self.jitter * chance))


NO_RETRY = RetryRule()


class Returns:
    """When what a tenant's quotas had no room for comes back: one after another.

    Were each to come back by itself, ten thousand that wait for one place would be looked at ten thousand times a
    second. The number of those that come back in a second is that of one process.
    """

    APART = timedelta(milliseconds=10)
    _MANY = 1_000

    def __init__(self) -> None:
        self._last: dict[str, datetime] = {}

    def after(self, tenant_id: str, soonest: datetime, now: datetime) -> datetime:
        """The moment of the tenant's next, which nobody else of the tenant has; not before ``soonest``."""
        last = self._last.pop(tenant_id, None)
        due = soonest if last is None else max(soonest, last + self.APART)
        if len(self._last) >= self._MANY:
            self._last = {tenant: moment for tenant, moment in self._last.items() if moment > now}
        self._last[tenant_id] = due
        return due


@dataclass(frozen=True, slots=True)
class QueuedCall:
    """What was asked, without the input. ``origin`` is ``call``, ``schedule``, ``event`` or ``replay``."""

    function: str
    actor: str
    request_id: str
    timeout_ms: int | None = None
    limits: RequestedLimits = field(default_factory=RequestedLimits)
    trace: str | None = None
    hops: int = 0
    origin: str = "call"
    webhook: str | None = None

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "QueuedCall":
        """Read the stored form."""
        return cls(
            document["function"],
            document["actor"],
            document["requestId"],
            document["timeoutMs"],
            RequestedLimits.from_document(document["limits"]),
            document["trace"],
            document["hops"],
            document["origin"],
            document["webhook"],
        )

    def to_document(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "function": self.function,
            "actor": self.actor,
            "requestId": self.request_id,
            "timeoutMs": self.timeout_ms,
            "limits": self.limits.to_document(),
            "trace": self.trace,
            "hops": self.hops,
            "origin": self.origin,
            "webhook": self.webhook,
        }


@dataclass(frozen=True, slots=True)
class QueuedExecution:
    """An execution that was acknowledged and is not answered at once.

    ``version`` is the one that was active when it was queued; it runs in the one that is active when its turn comes.
    ``input`` and ``output`` are JSON text; each is ``None`` where it is not kept, or not kept any more.
    """

    id: str
    tenant_id: str
    plugin_id: str
    version: str
    call: QueuedCall
    queued_at: datetime
    due_at: datetime
    input: str | None = field(default=None, repr=False)
    input_bytes: int | None = None  # None once the input is no longer kept
    priority: Priority = Priority.NORMAL
    state: QueueState = QueueState.QUEUED
    turn: int = 0
    run: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempts: tuple[Attempt, ...] = ()
    output: str | None = field(default=None, repr=False)
    lost: int = 0  # how often a worker died with it
    cancel_requested: bool = False
    once: str | None = None  # of entries with the same word, a plugin has one
    job: int | None = None  # the number that the worker who took it knows it by

    def execution(self) -> Execution:
        """How it stands, as a record; one that has ended has a record of its own, which says more."""
        running = self.state is QueueState.RUNNING
        return Execution(
            self.id,
            self.tenant_id,
            self.plugin_id,
            self.version,
            self.call.function,
            ExecutionStatus.RUNNING if running else ExecutionStatus.QUEUED,
            (self.started_at if running else None) or self.queued_at,
            None,
            None,
            None,
            self.call.actor,
            self.call.request_id,
            self.input_bytes or 0,
            0,
            self.queued_at,
            self.attempts,
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """Somebody is to be told of an end; ``tries`` counts this one too."""

    execution_id: str
    tenant_id: str
    plugin_id: str
    url: str
    tries: int


WEBHOOK_RETRIES = RetryRule(attempts=10, delay_ms=5_000, factor=3.0, max_delay_ms=3_600_000, jitter=0.3)


@dataclass(frozen=True, slots=True)
class QueueEnd:
    """What became of a run, to be written with its record.

    ``due_at`` is when it is tried again, where it is; what is queued without was interrupted, and goes on where it was.
    ``waits`` is said of one that had not begun. ``job`` is the worker's own number for it, which goes with the end.
    """

    execution_id: str
    run: int
    state: QueueState
    attempts: tuple[Attempt, ...]
    output: str | None = field(default=None, repr=False)
    due_at: datetime | None = None
    ended_at: datetime | None = None
    job: int | None = None
    waits: bool = False
