"""Executions that wait, in memory: the same places, limits and fences as the functions in the database."""

import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from plugyard.application.ports import ExecutionFilter, Page, PageRequest
from plugyard.domain.events import Event, EventType
from plugyard.domain.plugin import Plugin, PluginState
from plugyard.domain.queue import Delivery, QueuedExecution, QueueEnd, QueueState
from plugyard.domain.schedule import Schedule
from tests.memory import lists
from tests.memory.tables import Tables


class MemoryEnqueueing:
    """What every transaction may do."""

    _tables: Tables
    _tenant_id: str | None

    async def enqueue(self, entry: QueuedExecution) -> int | None:
        if self._tenant_id is not None and entry.tenant_id != self._tenant_id:
            raise PermissionError(f"a transaction of tenant {self._tenant_id} queued for tenant {entry.tenant_id}")
        rows = self._tables.queued.values()
        if entry.once is not None and any((one.plugin_id, one.once) == (entry.plugin_id, entry.once) for one in rows):
            return None
        waiting = sum(one.tenant_id == entry.tenant_id and one.state.waiting for one in rows)
        self._tables.queued[entry.id] = entry
        if entry.due_at <= entry.queued_at:
            _place(self._tables, entry)
        return waiting


class MemoryQueued(MemoryEnqueueing):
    """The part of a transaction that knows of executions that wait."""

    async def queued(self, execution_id: str) -> QueuedExecution | None:
        found = await self.queued_whole(execution_id)
        return replace(found, input=None, output=None) if found is not None else None

    async def queued_whole(self, execution_id: str) -> QueuedExecution | None:
        found = self._tables.queued.get(execution_id)
        return found if found is not None and found.tenant_id == self._tenant_id else None

    async def list_queued(
        self, plugin_id: str, state: QueueState, filters: ExecutionFilter, page: PageRequest
    ) -> Page[QueuedExecution]:
        rows = [
            replace(one, input=None, output=None)
            for one in self._tables.queued.values()
            if (one.tenant_id, one.plugin_id) == (self._tenant_id, plugin_id)
            and (one.state.waiting if state is QueueState.QUEUED else one.state is state)
            and filters.function in (None, one.call.function)
            and filters.version in (None, one.version)
            and (filters.since is None or one.queued_at >= filters.since)
            and (filters.until is None or one.queued_at < filters.until)
        ]
        return lists.paged("queued", rows, lambda one: (lists.moment(one.queued_at), one.id), page)

    async def ask_to_cancel(self, execution_id: str) -> None:
        found = await self.queued_whole(execution_id)
        if found is not None and found.state is QueueState.RUNNING:
            self._tables.queued[execution_id] = replace(found, cancel_requested=True)

    async def dead_letters(self, plugin_id: str | None, page: PageRequest) -> Page[QueuedExecution]:
        rows = [
            replace(one, input=None, output=None)
            for one in self._tables.queued.values()
            if one.tenant_id == self._tenant_id and one.state is QueueState.DEAD and plugin_id in (None, one.plugin_id)
        ]
        return lists.paged("dead letters", rows, lambda one: (lists.moment(one.ended_at or one.due_at), one.id), page)

    async def webhook_told(self, execution_id: str) -> None:
        if (found := self._tables.completions.get(execution_id)) is not None and found.tenant_id == self._tenant_id:
            del self._tables.completions[execution_id]
            del self._tables.webhooks_due[execution_id]

    async def webhook_later(self, execution_id: str, due_at: datetime) -> None:
        if (found := self._tables.completions.get(execution_id)) is not None and found.tenant_id == self._tenant_id:
            self._tables.webhooks_due[execution_id] = due_at

    async def drop_dead(self, execution_id: str) -> bool:
        found = await self.queued_whole(execution_id)
        if found is None or found.state is not QueueState.DEAD:
            return False
        del self._tables.queued[execution_id]
        return True


class MemorySchedules(MemoryEnqueueing):
    """The part of the operator's transaction that knows of schedules."""

    async def due_schedules(self, now: datetime, limit: int) -> Sequence[Schedule]:
        due = [
            one
            for place, one in self._tables.schedules.items()
            if place not in self._tables.never_due and (one.next_due is None or one.next_due <= now)
        ]
        return sorted(due, key=lambda one: (one.next_due is not None, one.next_due or now))[:limit]

    async def save_next_due(self, schedule: Schedule, next_due: datetime | None) -> None:
        place = (schedule.plugin_id, schedule.number)
        self._tables.schedules[place] = replace(schedule, next_due=next_due)
        if next_due is None:
            self._tables.never_due.add(place)


class MemoryOutbox:
    """The part of the operator's transaction that delivers events."""

    _tables: Tables

    async def waiting_events(self, tenants: int, of_each: int) -> Sequence[Event]:
        waiting = [
            one
            for one in self._tables.outbox
            if one.type is EventType.PLUGIN_EVENT_PUBLISHED and one.id not in self._tables.published
        ]
        names = sorted({one.tenant_id for one in waiting})
        served = random.sample(names, min(tenants, len(names)))
        theirs = {name: [one for one in waiting if one.tenant_id == name][:of_each] for name in served}
        return [one for one in waiting if one in theirs.get(one.tenant_id, ())]

    async def mark_delivered(self, event_ids: Sequence[str], at: datetime) -> None:
        self._tables.published.update(event_ids)


def plan_schedules(tables: Tables, plugin: Plugin) -> None:
    """A plugin has the schedules of its version while it is active."""
    for place in [place for place in tables.schedules if place[0] == plugin.id]:
        del tables.schedules[place]
        tables.never_due.discard(place)
    if plugin.state is not PluginState.ACTIVE:
        return
    version = tables.versions[plugin.version_id]
    for number, entry in enumerate(version.manifest.document.get("schedules", ()), 1):
        given = json.dumps(entry["input"]) if "input" in entry else None
        tables.schedules[plugin.id, number] = Schedule.from_document(
            entry, plugin.tenant_id, plugin.id, number, version.number, given
        )


def _lowest(tables: Tables) -> int:
    waiting = [one.id for one in tables.queued.values() if one.state is QueueState.QUEUED]
    return min((tables.places[one] for one in waiting if one in tables.places), default=0)


def _place(tables: Tables, entry: QueuedExecution) -> None:
    """Behind the tenant's own work of the same or a higher priority, and never before whoever is next."""
    own = [
        tables.places[one.id] + 1
        for one in tables.queued.values()
        if one.state is QueueState.QUEUED
        and (one.tenant_id, one.id in tables.places) == (entry.tenant_id, True)
        and one.priority >= entry.priority
    ]
    tables.places[entry.id] = max([_lowest(tables), *own])


def take(tables: Tables, now: datetime, at_most: int, per_plugin: int) -> Sequence[QueuedExecution]:
    """What is next, by place; what is beyond a plugin's number is parked. A dead worker's is taken as it was."""
    due = [
        one
        for one in tables.queued.values()
        if (one.state is QueueState.QUEUED and one.due_at <= now) or one.id in tables.lost_runs
    ]
    for one in sorted(due, key=lambda one: (-one.priority, one.due_at)):
        if one.id not in tables.places:
            _place(tables, one)
    taken: list[QueuedExecution] = []
    for one in sorted(due, key=lambda one: (tables.places[one.id], one.id)):
        if len(taken) == at_most:
            break
        running = [each for each in tables.queued.values() if each.state is QueueState.RUNNING]
        mine = sum(each.plugin_id == one.plugin_id for each in running)
        was_lost = one.id in tables.lost_runs
        if per_plugin and mine >= per_plugin and not was_lost:
            tables.queued[one.id] = replace(one, state=QueueState.PARKED)
            continue
        tables.lost_runs.discard(one.id)
        taken_now = replace(one, state=QueueState.RUNNING, run=one.run + 1, lost=one.lost + was_lost, started_at=now)
        tables.queued[one.id] = taken_now
        taken.append(taken_now)
    return taken


def give_back(tables: Tables, execution_ids: Sequence[str]) -> None:
    """What was taken and never began waits as before."""
    for one in map(tables.queued.__getitem__, execution_ids):
        if one.state is QueueState.RUNNING:
            tables.queued[one.id] = replace(one, state=QueueState.QUEUED)


def end_run(tables: Tables, end: QueueEnd) -> bool:
    """Write what became of a run; whether it was still this worker's to say."""
    found = tables.queued.get(end.execution_id)
    if found is None or found.run != end.run:
        return False
    if not (found.state.waiting if end.waits else found.state is QueueState.RUNNING):
        return found.state is end.state and found.state.over
    tables.queued[found.id] = replace(
        found,
        state=end.state,
        attempts=end.attempts,
        output=end.output,
        input=None if end.state is QueueState.ENDED else found.input,
        input_bytes=None if end.state is QueueState.ENDED else found.input_bytes,
        turn=found.turn + (end.state is QueueState.QUEUED),
        due_at=end.due_at or found.due_at,
        ended_at=end.ended_at,
    )
    if end.state is QueueState.QUEUED:
        # What was interrupted goes on where it was; what is tried again is placed when it is due.
        if end.due_at is None:
            tables.places[found.id] = max(tables.places[found.id], _lowest(tables))
        else:
            tables.places.pop(found.id, None)
    if end.state.over and found.call.webhook is not None:
        tables.completions[found.id] = Delivery(found.id, found.tenant_id, found.plugin_id, found.call.webhook, 0)
        tables.webhooks_due[found.id] = found.queued_at
    parked = [
        one for one in tables.queued.values() if one.plugin_id == found.plugin_id and one.state is QueueState.PARKED
    ]
    if parked and not end.waits:
        first = min(parked, key=lambda one: (tables.places[one.id], one.id))
        tables.places[first.id] = max(tables.places[first.id], _lowest(tables))
        tables.queued[first.id] = replace(first, state=QueueState.QUEUED, turn=first.turn + 1)
    return True


def take_webhooks(
    tables: Tables, now: datetime, at_most: int, of_one: int, under_way: Mapping[str, int]
) -> Sequence[Delivery]:
    """Deliveries that are due; of one tenant so many, and those first that have the fewest under way."""
    has = Counter(under_way)
    turns = []
    for one in sorted(tables.completions.values(), key=lambda one: tables.webhooks_due[one.execution_id]):
        if tables.webhooks_due[one.execution_id] <= now and has[one.tenant_id] < of_one:
            has[one.tenant_id] += 1
            turns.append((has[one.tenant_id], one))
    due = [one for _, one in sorted(turns, key=lambda turn: turn[0])[:at_most]]
    for one in due:
        tables.completions[one.execution_id] = replace(one, tries=one.tries + 1)
        tables.webhooks_due[one.execution_id] = now + timedelta(minutes=2)
    return [tables.completions[one.execution_id] for one in due]
