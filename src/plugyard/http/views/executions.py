"""Executions, logs and metrics in answers."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from plugyard.domain.execution import ExecutionStatus
from plugyard.http.view import View
from plugyard.http.views.shared import HealthView


class UsageView(View, frozen=True):
    """What an execution used; `start` is warm (a reused environment), spare (a waiting one) or cold."""

    wall_ms: float
    cpu_ms: float
    peak_memory_bytes: int
    service_calls: int
    start: str


class FailureView(View, frozen=True):
    """Why an execution did not succeed; `limit` and `used` in the unit of the limit that was met."""

    code: str
    message: str
    stack: str | None
    limit: int | None
    used: int | None


class ExecutedView(View, frozen=True):
    """What came of an execution."""

    execution_id: str
    plugin_id: str
    version: str
    function: str
    status: ExecutionStatus
    output: msgspec.Raw
    error: FailureView | None
    usage: UsageView | None


class AttemptView(View, frozen=True):
    """One try of an execution that waited its turn; `code` and `message` say why it failed."""

    started_at: datetime
    ended_at: datetime
    status: ExecutionStatus
    code: str | None
    message: str | None


class ExecutionView(View, frozen=True):
    """The record of an execution. The input and the output themselves are not kept, only their sizes in bytes.

    `queuedAt` and `attempts` are said of one that waited its turn; the rest tells of its last attempt.
    """

    execution_id: str
    plugin_id: str
    version: str
    function: str
    status: ExecutionStatus
    error: FailureView | None
    usage: UsageView | None
    started_at: datetime
    ended_at: datetime | None
    actor: str
    request_id: str
    input_bytes: int
    output_bytes: int
    queued_at: datetime | None
    attempts: list[AttemptView]


class DeadLetterView(View, frozen=True):
    """A queued execution that was given up. It can be replayed while its input is kept, for a day behind its end."""

    execution_id: str
    plugin_id: str
    version: str
    function: str
    origin: str
    priority: str
    actor: str
    queued_at: datetime
    died_at: datetime
    attempts: list[AttemptView]
    input_bytes: int | None


class DeadLetterDetail(View, frozen=True):
    """A dead letter, and the input that it had."""

    dead_letter: DeadLetterView
    input: msgspec.Raw


class LogView(View, frozen=True):
    """One line that a plugin logged."""

    id: str
    execution_id: str
    at: datetime
    level: str
    message: str
    fields: dict[str, Any]


class WallView(View, frozen=True):
    """Durations in milliseconds; null where nothing ran."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class MetricsView(View, frozen=True):
    """Aggregates over a window."""

    since: datetime
    until: datetime
    executions: int
    by_status: Mapping[str, int]
    error_rate: float | None
    wall_ms: WallView
    cpu_ms_total: float
    cpu_ms_mean: float | None
    peak_memory_bytes_max: int | None
    by_function: Mapping[str, int]
    starts: Mapping[str, int]
    health: HealthView
