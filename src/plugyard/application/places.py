"""Places of executions under quotas that several replicas keep together.

``Tallies`` counts what this process executes, and that is all there is while replicas share nothing. Where they do,
``execute.py`` takes a place here as well, for a tenant that has a quota of executions, and gives both back.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from plugyard.domain.tenants import Quotas

if TYPE_CHECKING:
    from plugyard.application.platform import Platform


@dataclass(frozen=True, slots=True)
class SharedUse:
    """What all replicas used: executions of the minute, of the day where that is counted, and running."""

    in_minute: int
    in_day: int | None
    running: int


class Places(Protocol):
    """Counts executions under quotas for all replicas. Never raises for being away: places are given then."""

    async def take(
        self, tenant_id: str, execution_id: str, quotas: Quotas, now: datetime, on_record: Callable[[], Awaitable[int]]
    ) -> None: ...
    # take: ``on_record`` is asked, at the first time in a day, how many ran on it; raises ``Full``
    def leave(self, tenant_id: str, execution_id: str, taken_at: datetime, *, happened: bool) -> None: ...
    # leave: what did not happen has used nothing up; without a place it does nothing
    async def used(self, tenant_id: str, now: datetime) -> SharedUse | None: ...  # None while nobody can say


async def take_shared(
    platform: "Platform", places: Places, tenant_id: str, execution_id: str, quotas: Quotas, now: datetime
) -> None:
    """Take a place that all replicas count; raises ``Full``."""

    async def on_record() -> int:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        async with platform.store.for_tenant(tenant_id) as tx:
            return await tx.count_executions(midnight, now)

    await places.take(tenant_id, execution_id, quotas, now, on_record)
