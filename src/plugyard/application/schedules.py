"""Queues what schedules have due. Each process with a worker calls ``run_due`` twice a second; one does the work.

The run is queued and the next time is written in one transaction that holds the schedule, so each due time has exactly
one run, however many look. Which schedules there are, the store keeps with the plugins: a plugin that is deactivated,
upgraded or suspended has others in the same transaction.
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta

from plugyard.application.platform import Platform
from plugyard.domain.queue import QueuedCall, QueuedExecution
from plugyard.domain.schedule import GRACE, Missed, Schedule

_AT_ONCE = 100
_TRIED_AGAIN_AFTER = timedelta(seconds=60)


class _NoRoom(Exception):
    """These schedules are due and their tenants' queues are full; it undoes the transaction that found out."""

    def __init__(self, places: frozenset[tuple[str, int]]) -> None:
        super().__init__()
        self.places = places


async def run_due(platform: Platform) -> int:
    """Queue what is due; how many schedules were looked at.

    A time that finds its tenant's queue full is a missed one: it is skipped, or made up for a minute later, or with the
    next time where that is sooner.
    """
    now = platform.clock()
    full: frozenset[tuple[str, int]] = frozenset()
    while True:
        try:
            return await _run_due(platform, now, full)
        except _NoRoom as met:
            full |= met.places


async def _run_due(platform: Platform, now: datetime, full: frozenset[tuple[str, int]]) -> int:
    met = set()
    async with platform.store.for_operator() as tx:
        due = await tx.due_schedules(now, _AT_ONCE)
        for one in due:
            place = (one.plugin_id, one.number)
            if place in full:
                await tx.save_next_due(one, _without_room(one, now))
                continue
            entry, following = _judged(platform, one, now)
            if entry is not None:
                before = await tx.enqueue(entry)
                if before is not None and before >= platform.policies.queued_per_tenant:
                    met.add(place)
            await tx.save_next_due(one, following)
        if met:
            raise _NoRoom(frozenset(met))
    return len(due)


def _without_room(one: Schedule, now: datetime) -> datetime | None:
    following = one.after(now)
    if one.missed is Missed.SKIP:
        return following
    again = now + _TRIED_AGAIN_AFTER
    return again if following is None else min(following, again)


def _judged(platform: Platform, one: Schedule, now: datetime) -> tuple[QueuedExecution | None, datetime | None]:
    """The run to queue, if any, and when it is due next."""
    if one.next_due is None:
        return None, one.after(now)
    if now - one.next_due <= GRACE:
        return _entry(platform, one, one.next_due, one.begins(one.next_due)), one.after(one.next_due)
    entry = _entry(platform, one, one.next_due, now) if one.missed is Missed.RUN_ONCE else None
    return entry, one.after(now)


def _entry(platform: Platform, one: Schedule, due: datetime, begins: datetime) -> QueuedExecution:
    given = one.input if one.input is not None else json.dumps({"scheduledAt": due.isoformat()})
    call = QueuedCall(one.function, "schedule", "", origin="schedule")
    now = platform.clock()
    entry = QueuedExecution(
        platform.ids(),
        one.tenant_id,
        one.plugin_id,
        one.version,
        call,
        now,
        max(begins, now),
        given,
        len(given.encode()),
    )
    return replace(entry, once=f"schedule {one.number} {due.isoformat()}")
