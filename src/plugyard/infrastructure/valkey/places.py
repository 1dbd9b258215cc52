"""`application.places.Places` on the server: executions under quotas, counted by all replicas together.

A place is a lease of some seconds that its replica renews while the execution runs, so a replica that was killed gives
its places back without anybody's help. What is given back and renewed waits for no answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from plugyard.application.places import SharedUse
from plugyard.application.together import Together
from plugyard.domain.tallies import Full
from plugyard.domain.tenants import Quota, Quotas
from plugyard.infrastructure.valkey.link import PREFIX, Away, Link, Run, Script

_TAKE, _LEAVE, _KEEP, _USED = map(Script, ("take_place", "leave_place", "keep_places", "used_places"))
LEASE_S = 15.0
_RENEWED_EVERY_S = LEASE_S / 3
_MINUTES_A_DAY = 1_440
_Day = tuple[str, int, int]


class SharedPlaces:
    """Counts on the server; while it is away every place is given, for the replica's own tallies hold then."""

    def __init__(self, link: Link) -> None:
        self._lane = link.lane(_TAKE, _LEAVE, _KEEP, _USED)
        self._held: dict[str, set[str]] = {}
        # The days whose count the server has by this replica: the tenant, the day, and how often the server returned.
        self._known: set[_Day] = set()
        self._counts: Together[_Day, int] = Together()
        self._latest_day = self._returns = 0
        self._renewing: asyncio.Task[None] | None = None
        link.before_return(self._returned)

    def start(self) -> None:
        """Begin to renew what is held."""
        self._renewing = asyncio.create_task(self._renew())

    async def close(self) -> None:
        """End the renewing, and the counts that are under way."""
        await self._counts.close()
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)

    async def take(
        self, tenant_id: str, execution_id: str, quotas: Quotas, now: datetime, on_record: Callable[[], Awaitable[int]]
    ) -> None:
        """Take a place for an execution; ``on_record`` counts what ran today. Raises ``Full``."""
        keys, day = _keys(tenant_id, now), self._day(tenant_id, now)
        most = quotas.concurrent_executions, quotas.executions_per_minute, quotas.executions_per_day
        numbers = [-1 if one is None else one for one in most]
        self._held.setdefault(tenant_id, set()).add(execution_id)
        try:
            # Whoever was apart from the server for a while looks again how many there were, and not before it is back.
            counted = -1
            if quotas.executions_per_day is not None and day not in self._known and self._lane.up:
                counted = await self._counts.share(day, on_record)
            lease_ms = round(LEASE_S * 1000)
            answer = await self._lane.run(_TAKE, keys, execution_id, *numbers, counted, lease_ms)
            if answer[0] == b"unknown":
                counted = await self._counts.share(day, on_record)
                answer = await self._lane.run(_TAKE, keys, execution_id, *numbers, counted, lease_ms)
        except Away:
            return
        if quotas.executions_per_day is not None:
            self._known.add(day)
        if answer[0] != b"taken":
            self._forget(tenant_id, execution_id)
            quota = Quota(answer[0].decode())
            raise Full(quota, quotas.size(quota) or 0, answer[1])

    def leave(self, tenant_id: str, execution_id: str, taken_at: datetime, *, happened: bool) -> None:
        """Give the place back, if there is one. What did not happen has used nothing up."""
        if self._forget(tenant_id, execution_id):
            self._lane.tell(_LEAVE, _keys(tenant_id, taken_at), execution_id, int(happened))

    async def used(self, tenant_id: str, now: datetime) -> SharedUse | None:
        """What is used of a tenant's quotas; ``None`` while nobody can say."""
        try:
            minute, day, running = await self._lane.run(_USED, _keys(tenant_id, now))
        except Away:
            return None
        return SharedUse(minute, None if day < 0 else day, running)

    def _day(self, tenant_id: str, now: datetime) -> _Day:
        day = int(now.timestamp()) // 60 // _MINUTES_A_DAY
        if day > self._latest_day:
            self._latest_day = day
            self._known.clear()
        return tenant_id, day, self._returns

    def _forget(self, tenant_id: str, execution_id: str) -> bool:
        held = self._held.get(tenant_id)
        if held is None or execution_id not in held:
            return False
        held.discard(execution_id)
        if not held:
            del self._held[tenant_id]
        return True

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(_RENEWED_EVERY_S)
            for tenant_id, held in self._held.items():
                self._lane.tell(_KEEP, [_running(tenant_id)], round(LEASE_S * 1000), *held)

    async def _returned(self, run: Run) -> None:
        self._returns += 1
        self._known.clear()
        for tenant_id, held in list(self._held.items()):
            await run("EVAL", _KEEP.source, 1, _running(tenant_id), round(LEASE_S * 1000), *held)


def _running(tenant_id: str) -> str:
    return f"{PREFIX}places:{tenant_id}:running"


def _keys(tenant_id: str, now: datetime) -> list[str]:
    minute = int(now.timestamp()) // 60
    place = f"{PREFIX}places:{tenant_id}"
    return [f"{place}:running", f"{place}:minute:{minute}", f"{place}:day:{minute // _MINUTES_A_DAY}"]
