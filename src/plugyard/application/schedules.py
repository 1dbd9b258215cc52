"""Queues what schedules have due. Each process with a worker calls ``run_due`` twice a second; one does the work.

The run is queued and the next time is written in one transaction that holds the schedule, so each due time has exactly
one run, however many look. Which schedules there are, the store keeps with the plugins: a plugin that is deactivated,
upgraded or suspended has others in the same transaction.
"""

import json
from dataclasses import replace
from datetime import datetime

from plugyard.application.platform import Platform
from plugyard.domain.queue import QueuedCall, QueuedExecution
from plugyard.domain.schedule import GRACE, Missed, Schedule

_AT_ONCE = 100


async def run_due(platform: Platform) -> int:
    """Queue what is due; how many schedules were looked at."""
    now = platform.clock()
    async with platform.store.for_operator() as tx:
        due = await tx.due_schedules(now, _AT_ONCE)
        for one in due:
            entry, following = _judged(platform, one, now)
            if entry is not None:
                await tx.enqueue(entry)
            await tx.save_next_due(one, following)
    return len(due)


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
