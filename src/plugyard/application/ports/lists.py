"""Lists and the values in them: pages, filters, what stores keep beside the domain's own values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar

from plugyard.domain.execution import (
    ExecutionStatus,
    LogLine,
)
from plugyard.domain.manifest import Runtime
from plugyard.domain.plugin import PluginState
from plugyard.domain.report import Report
from plugyard.domain.rights import Right
from plugyard.domain.standing import StandingState

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """``limit`` items behind ``cursor``, the opaque text that an earlier page gave. A bad one: ``InvalidInput``."""

    limit: int = 20
    cursor: str | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some items, and the cursor of those behind them, or ``None`` at the end.

    A search of executions or logs looks at so many rows for a page; then there may be fewer items than were asked for,
    or none, and more behind the cursor.
    """

    items: tuple[T, ...]
    next_cursor: str | None = None


class UpgradeFilter(StrEnum):
    """Plugins that have an upgrade waiting for an admin's consent, or a version higher than the one in use."""

    WAITING = "waiting"
    AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class PluginFilter:
    """Filters of the plugin list; ``None`` filters nothing. ``sort`` is a field, descending with ``-`` before it."""

    status: PluginState | None = None
    category: str | None = None
    runtime: Runtime | None = None
    permission: str | None = None
    author: str | None = None
    q: str | None = None
    sort: str = "-createdAt"  # createdAt, updatedAt, name
    upgrade: UpgradeFilter | None = None


@dataclass(frozen=True, slots=True)
class ExecutionFilter:
    """Filters of the execution list, newest first. ``since`` is inclusive and ``until`` exclusive."""

    status: ExecutionStatus | None = None
    function: str | None = None
    version: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Filters of the log list, newest first. ``level`` is the lowest level shown; ``q`` a part of the message."""

    level: str | None = None
    execution_id: str | None = None
    q: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StandingFilter:
    """Filters of the quarantine: where versions stand, of one tenant by its id, of plugins with one name."""

    state: StandingState = StandingState.QUARANTINED
    tenant_id: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class ListingFilter:
    """Filters of the marketplace; ``q`` searches by words."""

    category: str | None = None
    q: str | None = None


@dataclass(frozen=True, slots=True)
class StoredLogLine:
    """A log line with the execution that wrote it; ``id`` grows with time (UUID version 7)."""

    id: str
    execution_id: str
    line: LogLine


@dataclass(frozen=True, slots=True)
class LogStep:
    """One step of following a log: its lines, the oldest first.

    ``last`` is the last line that was looked at, whether it passes the filters or not; ``None`` where there was none.
    A step looks at so many lines; ``more`` says that there may be others behind ``last`` already.
    """

    lines: tuple[StoredLogLine, ...] = ()
    last: str | None = None
    more: bool = False


@dataclass(frozen=True, slots=True)
class Metrics:
    """Aggregates over a window. Percentiles and means are ``None`` where nothing ran; milliseconds and bytes."""

    since: datetime
    until: datetime
    by_status: Mapping[ExecutionStatus, int]
    wall_ms: Mapping[str, float | None]  # mean, p50, p95, p99, max
    cpu_ms_total: float
    cpu_ms_mean: float | None
    peak_memory_bytes_max: int | None
    by_function: Mapping[str, int]
    starts: Mapping[str, int]  # warm, spare, cold


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which thing. ``tenant_id`` is ``None`` for what an operator does to the platform."""

    id: str
    tenant_id: str | None
    at: datetime
    actor: str
    action: str
    target: str
    detail: Mapping[str, Any]
    request_id: str
    # Its place in the chain and the hash there, which the store gives it when it is committed.
    sequence: int | None = field(default=None, compare=False)
    hash: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Filters of the trail, newest first. ``since`` is inclusive and ``until`` exclusive."""

    actor: str | None = None
    action: str | None = None
    target: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """A line of the chain as ``docs/audit.md`` defines it; ``sequence`` is ``None`` for an entry in no chain."""

    text: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class ResolvedDependency:
    """A dependency of a version as it was resolved when the version was installed."""

    name: str
    range: str
    resolved_version: str
    resolved_plugin_id: str | None


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a tenant holds of what its quotas count: plugins that are not uninstalled, and the bytes of their packages.

    Versions with the same package hold its bytes once.
    """

    plugins: int
    stored_bytes: int


MOST_NAMES = 200
"""How many hosts or topics of one service are kept for a plugin; a wide grant would let it use names without end."""


@dataclass(frozen=True, slots=True)
class UsedBy:
    """A right, and the plugin that used it."""

    tenant_id: str
    plugin_id: str
    right: Right


@dataclass(frozen=True, slots=True)
class ToRescan:
    """A stored version that is checked again: what it is, and the report that let its bytes in.

    A copy from the marketplace has no report of its own; the report is its publisher's then.
    """

    version_id: str
    tenant_id: str
    plugin_id: str
    digest: str
    report: Report


@dataclass(frozen=True, slots=True)
class Reply:
    """What is to be kept under an idempotency key, together with the record of the execution that holds it."""

    key: str
    response: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class StoredReply:
    """What is kept under an idempotency key. ``response`` is ``None`` while the first request is under way.

    ``abandoned`` says of one under way that the replica which had it is not there now.
    """

    request_hash: str
    execution_id: str
    response: Mapping[str, Any] | None
    created_at: datetime
    abandoned: bool = False
