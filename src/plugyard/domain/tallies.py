"""Counts each tenant's executions in this process: of the minute, of the day, and those that run now.

Counted for every execution, so it does nothing but compare and add. Minutes and days are those of UTC.
"""

from datetime import datetime

from plugyard.domain.tenants import Quota, Quotas

_MINUTES_A_DAY = 1_440


class Tally:
    """One tenant's counts. ``before`` is what ran today before this process counted, ``None`` while nobody looked."""

    __slots__ = ("before", "day", "in_day", "in_minute", "minute", "running", "since")

    def __init__(self, now: datetime) -> None:
        self.minute = int(now.timestamp()) // 60
        self.day = self.minute // _MINUTES_A_DAY
        self.since = now
        self.before: int | None = None
        self.in_minute = self.in_day = self.running = 0

    def move_to(self, minute: int) -> None:
        """Another minute has begun, and perhaps another day."""
        if minute // _MINUTES_A_DAY != self.day:
            self.day, self.in_day, self.before = minute // _MINUTES_A_DAY, 0, 0
        self.minute, self.in_minute = minute, 0


class Full(Exception):
    """A quota is used up."""

    def __init__(self, quota: Quota, limit: int, used: int) -> None:
        super().__init__(quota)
        self.quota, self.limit, self.used = quota, limit, used


class Tallies:
    """The counts of all tenants in this process. What replicas count together is behind ``application.places``."""

    def __init__(self) -> None:
        self._of: dict[str, Tally] = {}

    def at(self, tenant_id: str, now: datetime) -> Tally:
        """The tenant's counts as they are now."""
        tally = self._of.get(tenant_id)
        if tally is None:
            tally = self._of[tenant_id] = Tally(now)
        minute = int(now.timestamp()) // 60
        if minute != tally.minute:
            tally.move_to(minute)
        return tally

    def take(self, tenant_id: str, quotas: Quotas, now: datetime) -> Tally:
        """Take a place for an execution; whoever takes one gives it back with ``leave``. Raises ``Full``."""
        tally = self.at(tenant_id, now)
        most = quotas.concurrent_executions
        if most is not None and tally.running >= most:
            raise Full(Quota.CONCURRENT, most, tally.running)
        most = quotas.executions_per_minute
        if most is not None and tally.in_minute >= most:
            raise Full(Quota.PER_MINUTE, most, tally.in_minute)
        most = quotas.executions_per_day
        if most is not None and tally.in_day + (tally.before or 0) >= most:
            raise Full(Quota.PER_DAY, most, tally.in_day + (tally.before or 0))
        tally.in_minute += 1
        tally.in_day += 1
        tally.running += 1
        return tally

    def leave(self, tally: Tally, taken_at: datetime, *, happened: bool) -> None:
        """Give the place back. What did not happen, because there was no room for it, has used nothing up."""
        tally.running -= 1
        if not happened:
            minute = int(taken_at.timestamp()) // 60
            tally.in_minute -= minute == tally.minute
            tally.in_day -= minute // _MINUTES_A_DAY == tally.day

    def uncounted_until(self, tenant_id: str, now: datetime) -> datetime | None:
        """The moment since which the day is counted here, where nobody has looked yet what ran before it."""
        tally = self.at(tenant_id, now)
        return tally.since if tally.before is None else None

    def begin_with(self, tenant_id: str, before: int, now: datetime) -> None:
        """Say what ran today before this process counted; the first who says it is believed."""
        tally = self.at(tenant_id, now)
        if tally.before is None:
            tally.before = before

    def forget(self, tenant_id: str) -> None:
        """Forget a tenant that is gone."""
        self._of.pop(tenant_id, None)
