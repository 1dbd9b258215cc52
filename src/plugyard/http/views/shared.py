"""What several answers have in common: pages, permissions, functions, limits, health."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from plugyard.domain.consent import AskStatus
from plugyard.domain.health import HealthStatus
from plugyard.domain.manifest import Effect
from plugyard.domain.permissions import Service
from plugyard.http.view import View

T = TypeVar("T")


class PageView(View, Generic[T], frozen=True):
    """Some items, and the cursor of those behind them, or null at the end."""

    items: list[T]
    next_cursor: str | None


class PermissionView(View, frozen=True):
    """A service, narrowed by hosts, methods and paths (network) or topics (events). Empty means not narrowed."""

    service: Service
    hosts: Sequence[str]
    methods: Sequence[str]
    paths: Sequence[str]
    topics: Sequence[str]
    reason: str


class AskView(PermissionView, frozen=True):
    """What a version asks for and why, how that stands, what was granted of it, and whether the policy would grant it.

    `waiting`: an admin has to answer; `policy`: the tenant's policy gives it at install; `granted`, `narrowed` and
    `declined`: as an admin or the policy decided. Where `grantable` is false, the operator lets no plugin have it.
    """

    status: AskStatus
    grant: PermissionView | None
    by_policy: bool
    grantable: bool


class FunctionView(View, frozen=True):
    """A function that callers may execute; the schemas are null where the manifest has none."""

    name: str
    description: str
    effect: Effect
    input: Any
    output: Any


class LimitsView(View, frozen=True):
    """What the manifest asks for, in the manifest's own units, or null where it asks for nothing."""

    memory: int | None
    timeout: int | None
    cpu: int | None
    output: int | None
    log_lines: int | None
    log_size: int | None
    service_calls: int | None
    service_rate: int | None
    service_size: int | None
    in_flight: int | None
    stack: int | None
    startup: int | None


class HealthView(View, frozen=True):
    """A score from 0 to 100, folded from recent executions; null while nothing ran."""

    status: HealthStatus
    score: int | None
    checked_at: datetime | None
