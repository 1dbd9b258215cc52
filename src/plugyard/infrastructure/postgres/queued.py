"""Executions that wait their turn, as rows. A part of the transaction that `store` opens; `recorder` writes ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from plugyard.application.ports import ExecutionFilter, Page, PageRequest
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Attempt
from plugyard.domain.queue import Priority, QueuedCall, QueuedExecution, QueueState
from plugyard.domain.schedule import Schedule
from plugyard.infrastructure.postgres.rows import Session, uuid_or_none
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("queued")
_WAITING = (QueueState.QUEUED.value, QueueState.PARKED.value)


class Enqueueing(Session):
    """What every transaction may do: queue an execution."""

    async def enqueue(self, entry: QueuedExecution) -> int | None:
        """Queues an execution, with the transaction or not at all; how many of the tenant's own waited before.

        Up to two hundred are counted; beyond that it is what was counted within the last seconds.
        `None` where the plugin has one of the same word already.
        """
        row = {
            "id": entry.id,
            "tenant_id": entry.tenant_id,
            "plugin_id": entry.plugin_id,
            "version": entry.version,
            "call": entry.call.to_document(),
            "level": entry.priority.value,
            "queued_at": entry.queued_at,
            "due_at": entry.due_at,
            "once": entry.once,
        }
        found = await self._one(_SQL["enqueue"], {"entry": Jsonb(row), "input": entry.input})
        return found["before"] if found else None


class QueuedRows(Enqueueing):
    """The part of `application.ports.Transaction` that knows of executions that wait."""

    async def queued(self, execution_id: str) -> QueuedExecution | None:
        """The entry of that id, without its input and output."""
        return await self._queued("queued execution", execution_id)

    async def queued_whole(self, execution_id: str) -> QueuedExecution | None:
        """The entry of that id, with its input and output as far as they are kept."""
        return await self._queued("queued execution, whole", execution_id)

    async def _queued(self, statement: str, execution_id: str) -> QueuedExecution | None:
        if uuid_or_none(execution_id) is None:
            return None
        row = await self._one(_SQL[statement], {"id": execution_id})
        return entry_of(row) if row else None

    async def list_queued(
        self, plugin_id: str, state: QueueState, filters: ExecutionFilter, page: PageRequest
    ) -> Page[QueuedExecution]:
        """The plugin's entries in that state, the newest first; `QUEUED` are all that have not begun."""
        from plugyard.infrastructure.postgres import lists

        if uuid_or_none(plugin_id) is None:
            return Page(())
        states = _WAITING if state is QueueState.QUEUED else (state.value,)
        query = lists.queued(plugin_id, states, filters, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(entry_of(row) for row in rows), cursor)

    async def ask_to_cancel(self, execution_id: str) -> None:
        """Notes that one that runs is to end; whoever runs it looks."""
        if uuid_or_none(execution_id) is not None:
            await self._run(_SQL["ask to cancel"], {"id": execution_id})

    async def dead_letters(self, plugin_id: str | None, page: PageRequest) -> Page[QueuedExecution]:
        """The tenant's entries that gave up, the latest first; of one plugin or of all."""
        from plugyard.infrastructure.postgres import lists

        if plugin_id is not None and uuid_or_none(plugin_id) is None:
            return Page(())
        query = lists.dead_letters(plugin_id, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(entry_of(row) for row in rows), cursor)

    async def webhook_told(self, execution_id: str) -> None:
        """Nobody is to be told of that end any more."""
        await self._run(_SQL["webhook told"], {"id": execution_id})

    async def webhook_later(self, execution_id: str, due_at: datetime) -> None:
        """Tells of that end at another time."""
        await self._run(_SQL["webhook later"], {"id": execution_id, "due_at": due_at})

    async def drop_dead(self, execution_id: str) -> bool:
        """Forgets one that gave up; whether there was one."""
        if uuid_or_none(execution_id) is None:
            return False
        return await self._run(_SQL["drop a dead letter"], {"id": execution_id}) > 0


class ScheduleRows(Enqueueing):
    """The part of `application.ports.OperatorTransaction` that knows of schedules."""

    async def due_schedules(self, now: datetime, limit: int) -> Sequence[Schedule]:
        """Schedules that are due or were never looked at; nobody else has them until the transaction ends."""
        rows = await self._all(_SQL["due schedules"], {"now": now, "limit": limit})
        return [_schedule(row) for row in rows]

    async def save_next_due(self, schedule: Schedule, next_due: datetime | None) -> None:
        """Writes when a schedule is due next; `None` for never."""
        row = {"plugin_id": schedule.plugin_id, "number": schedule.number, "next_due": next_due}
        await self._run(_SQL["save next due"], row)


class OutboxRows(Session):
    """The part of `application.ports.OperatorTransaction` that delivers events."""

    async def waiting_events(self, tenants: int, of_each: int) -> Sequence[Event]:
        """Plugins' own events that are not delivered yet, in their order; so many of each of so many tenants."""
        rows = await self._all(_SQL["waiting in the outbox"], {"tenants": tenants, "of_each": of_each})
        return [
            Event(
                row["id"], EventType(row["type"]), row["tenant_id"], row["plugin_id"], row["occurred_at"], row["data"]
            )
            for row in rows
        ]

    async def mark_delivered(self, event_ids: Sequence[str], at: datetime) -> None:
        """Notes that events were delivered."""
        if event_ids:
            await self._run(_SQL["mark delivered"], {"ids": list(event_ids), "at": at})


def _schedule(row: dict[str, Any]) -> Schedule:
    read = Schedule.from_document(
        row["document"], row["tenant_id"], row["plugin_id"], row["number"], row["version"], row["input"]
    )
    return replace(read, next_due=row["next_due"])


def entry_of(row: dict[str, Any]) -> QueuedExecution:
    """The entry that a row holds. Used by the worker too, whose rows have a job besides."""
    return QueuedExecution(
        id=row["id"],
        tenant_id=row["tenant_id"],
        plugin_id=row["plugin_id"],
        version=row["version"],
        call=QueuedCall.from_document(row["call"]),
        queued_at=row["queued_at"],
        due_at=row["due_at"],
        input=row.get("input"),
        input_bytes=row["input_bytes"],
        priority=Priority(row["level"]),
        state=QueueState(row["state"]),
        turn=row["turn"],
        run=row["run"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        attempts=tuple(Attempt.from_document(one) for one in row["attempts"]),
        output=row.get("output"),
        lost=row["lost"],
        cancel_requested=row["cancel_requested"],
        once=row["once"],
        job=row.get("job_id"),
    )
