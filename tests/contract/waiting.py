"""What tests of the queue share: workers of each implementation, and entries for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

import pytest

from plugyard.domain.plugin import Plugin
from plugyard.domain.queue import Delivery, QueuedCall, QueuedExecution, QueueEnd, QueueState
from plugyard.infrastructure.queue.jobs import PostgresQueue
from plugyard.infrastructure.queue.worker import pool_of
from tests.contract.conftest import Stored
from tests.contract.given import a_log_line, a_stored_plugin, a_tenant, an_execution, new_id
from tests.integration.conftest import Database
from tests.memory.store import MemoryStore

INPUT = '{"a": "\\u0000ä"}'


class Workers(Protocol):
    """Who takes, and what happens when one dies."""

    async def take(self, at_most: int, per_plugin: int = 0) -> Sequence[QueuedExecution]: ...
    async def give_back(self, entries: Sequence[QueuedExecution]) -> None: ...
    async def lose(self, entry: QueuedExecution) -> None: ...
    async def take_webhooks(self, at_most: int, **under_way: int) -> Sequence[Delivery]: ...


class _InMemory:
    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def take(self, at_most: int, per_plugin: int = 0) -> Sequence[QueuedExecution]:
        return await self._store.take(datetime.now(UTC), at_most, per_plugin)

    async def give_back(self, entries: Sequence[QueuedExecution]) -> None:
        await self._store.give_back([one.id for one in entries])

    async def lose(self, entry: QueuedExecution) -> None:
        await self._store.lose(entry.id)

    async def take_webhooks(self, at_most: int, **under_way: int) -> Sequence[Delivery]:
        return await self._store.take_webhooks(datetime.now(UTC), at_most, 4, under_way)


class _Postgres:
    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def take(self, at_most: int, per_plugin: int = 0) -> Sequence[QueuedExecution]:
        return await PostgresQueue(self._pool, per_plugin=per_plugin).take(at_most)

    async def give_back(self, entries: Sequence[QueuedExecution]) -> None:
        await PostgresQueue(self._pool, per_plugin=0).give_back([one.job for one in entries if one.job is not None])

    async def lose(self, entry: QueuedExecution) -> None:
        # No worker of the tests is registered, so all that they have is a dead one's.
        assert await PostgresQueue(self._pool, per_plugin=0).revive(10.0) >= 1

    async def take_webhooks(self, at_most: int, **under_way: int) -> Sequence[Delivery]:
        return await PostgresQueue(self._pool, per_plugin=0).take_webhooks(at_most, 4, under_way)


@pytest.fixture
async def workers(stored: Stored, request: pytest.FixtureRequest) -> AsyncIterator[Workers]:
    """Workers of the same store, with nothing left in the queue by others."""
    if isinstance(stored.store, MemoryStore):
        yield _InMemory(stored.store)
        return
    real: Database = request.getfixturevalue("database")
    with real.as_owner() as owner:
        owner.execute("delete from queued_executions")
        owner.execute("delete from webhook_deliveries")
        owner.execute("delete from plugyard_queue.procrastinate_jobs")
    pool = pool_of(real.urls.service_url)
    await pool.open(wait=True)
    yield _Postgres(pool)
    await pool.close()


async def a_plugin_of(stored: Stored) -> Plugin:
    return await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)


def an_entry_of(plugin: Plugin, **changes: Any) -> QueuedExecution:
    now = datetime.now(UTC)
    call = QueuedCall("run", "key:1", "request-1", 500, hops=2, trace="00-1")
    return replace(
        QueuedExecution(new_id(), plugin.tenant_id, plugin.id, "1.0.0", call, now, now, INPUT, len(INPUT.encode())),
        **changes,
    )


async def queue(stored: Stored, *entries: QueuedExecution) -> list[int | None]:
    before = []
    for entry in entries:
        async with stored.store.for_tenant(entry.tenant_id) as tx:
            before.append(await tx.enqueue(entry))
    return before


async def find(stored: Stored, entry: QueuedExecution) -> QueuedExecution | None:
    async with stored.store.for_tenant(entry.tenant_id) as tx:
        return await tx.queued_whole(entry.id)


def an_end(taken: QueuedExecution, state: QueueState = QueueState.ENDED, **changes: Any) -> QueueEnd:
    return replace(
        QueueEnd(taken.id, taken.run, state, (), '{"b": 1}', ended_at=datetime.now(UTC), job=taken.job), **changes
    )


async def end(stored: Stored, plugin: Plugin, taken: QueuedExecution, said: QueueEnd) -> Any:
    execution = an_execution(plugin, id=taken.id, queued_at=taken.queued_at, attempts=said.attempts)
    await stored.recorder.record(execution, [a_log_line(execution)], [], [], said)
    return execution
