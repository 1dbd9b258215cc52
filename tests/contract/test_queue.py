"""Executions that wait: durable with their transaction, taken in turn, ended once; on every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from plugyard.application.ports import ExecutionFilter, PageRequest
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Attempt, ExecutionStatus
from plugyard.domain.plugin import Plugin
from plugyard.domain.queue import Delivery, Priority, QueuedCall, QueuedExecution, QueueEnd, QueueState
from plugyard.infrastructure.queue.jobs import PostgresQueue
from plugyard.infrastructure.queue.worker import pool_of
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_log_line, a_stored_plugin, a_tenant, an_event, an_execution, new_id
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


async def test_what_is_queued_is_taken_as_it_was_asked(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin, priority=Priority.HIGH)
    assert await queue(stored, entry) == [0]
    assert await find(stored, entry) == entry
    (taken,) = await workers.take(10)
    assert replace(taken, started_at=None, job=None) == replace(entry, state=QueueState.RUNNING, run=1)
    assert await workers.take(10) == []


async def test_nothing_is_queued_by_a_transaction_that_fails(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)

    async def failing() -> None:
        async with stored.store.for_tenant(plugin.tenant_id) as tx:
            await tx.enqueue(an_entry_of(plugin))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await failing()
    assert await workers.take(10) == []


async def test_another_tenants_entries_are_not_found(stored: Stored, workers: Workers) -> None:
    plugin, other = await a_plugin_of(stored), await a_tenant(stored.store)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.queued(entry.id) is None
        assert await tx.queued_whole(entry.id) is None
        assert (await tx.list_queued(plugin.id, QueueState.QUEUED, ExecutionFilter(), PageRequest())).items == ()
        assert (await tx.dead_letters(None, PageRequest())).items == ()
        await tx.ask_to_cancel(entry.id)
        assert not await tx.drop_dead(entry.id)
    assert await find(stored, entry) == entry


async def test_what_is_not_yet_due_waits(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    later = an_entry_of(plugin, due_at=datetime.now(UTC) + timedelta(minutes=5))
    now = an_entry_of(plugin)
    await queue(stored, later, now)
    assert [one.id for one in await workers.take(10)] == [now.id]


async def test_of_one_word_a_plugin_has_one_entry(stored: Stored, workers: Workers) -> None:
    plugin, other = await a_plugin_of(stored), await a_plugin_of(stored)
    entries = [an_entry_of(one, once="event:1") for one in (plugin, plugin, other)]
    assert await queue(stored, *entries) == [0, None, 0]
    assert {one.id for one in await workers.take(10)} == {entries[0].id, entries[2].id}


async def test_a_tenant_with_much_to_do_does_not_hold_up_another(stored: Stored, workers: Workers) -> None:
    busy, calm = await a_plugin_of(stored), await a_plugin_of(stored)
    many = [an_entry_of(busy) for _ in range(30)]
    assert await queue(stored, *many) == list(range(30))
    first = await workers.take(5)
    assert [one.id for one in first] == [one.id for one in many[:5]]
    few = [an_entry_of(calm) for _ in range(3)]
    assert await queue(stored, *few) == [0, 1, 2]
    nxt = [one.id for one in await workers.take(6)]
    assert [one for one in nxt if one in {each.id for each in few}] == [one.id for one in few]


async def test_work_of_a_higher_priority_goes_before_the_tenants_own_alone(stored: Stored, workers: Workers) -> None:
    mine, other = await a_plugin_of(stored), await a_plugin_of(stored)
    low = [an_entry_of(mine, priority=Priority.LOW) for _ in range(5)]
    others = [an_entry_of(other) for _ in range(3)]
    high = an_entry_of(mine, priority=Priority.HIGH)
    await queue(stored, *low, *others, high)
    order = [one.id for one in await workers.take(20)]
    assert order.index(high.id) < order.index(low[1].id)
    assert order.index(others[0].id) < order.index(high.id)


async def test_a_plugin_has_no_more_running_than_it_may_and_the_rest_follows(stored: Stored, workers: Workers) -> None:
    plugin, other = await a_plugin_of(stored), await a_plugin_of(stored)
    entries = [an_entry_of(plugin) for _ in range(5)]
    free = an_entry_of(other)
    await queue(stored, *entries, free)
    taken = [*await workers.take(10, per_plugin=2), *await workers.take(10, per_plugin=2)]
    assert {one.id for one in taken} == {entries[0].id, entries[1].id, free.id}
    assert await workers.take(10, per_plugin=2) == []
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        waiting = await tx.list_queued(plugin.id, QueueState.QUEUED, ExecutionFilter(), PageRequest(2))
        rest = await tx.list_queued(
            plugin.id, QueueState.QUEUED, ExecutionFilter(), PageRequest(2, waiting.next_cursor)
        )
    assert [one.id for one in waiting.items + rest.items] == [one.id for one in entries[:1:-1]]
    mine = [one for one in taken if one.plugin_id == plugin.id]
    await end(stored, plugin, mine[0], an_end(mine[0]))
    assert [one.id for one in await workers.take(10, per_plugin=2)] == [entries[2].id]


async def test_an_end_is_recorded_with_its_result_and_takes_the_input_away(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    (taken,) = await workers.take(1)
    tried = Attempt(datetime.now(UTC), datetime.now(UTC), ExecutionStatus.FAILED, "plugin_error", "it broke")
    execution = await end(stored, plugin, taken, an_end(taken, attempts=(tried,)))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(entry.id) == execution
    kept = await find(stored, entry)
    assert kept is not None
    assert (kept.state, kept.output, kept.input, kept.attempts) == (QueueState.ENDED, '{"b": 1}', None, (tried,))
    assert await workers.take(10) == []


async def test_what_is_tried_again_has_no_record_and_comes_back_when_due(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry, later = an_entry_of(plugin), an_entry_of(plugin)
    await queue(stored, entry, later)
    first, second = await workers.take(2)
    tried = Attempt(datetime.now(UTC), datetime.now(UTC), ExecutionStatus.FAILED, "plugin_error", "it broke")
    await end(stored, plugin, first, an_end(first, QueueState.QUEUED, attempts=(tried,), due_at=datetime.now(UTC)))
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    await end(stored, plugin, second, an_end(second, QueueState.QUEUED, due_at=in_an_hour))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(entry.id) is None
    (again,) = await workers.take(10)
    assert (again.id, again.run, again.attempts, again.input) == (entry.id, 2, (tried,), entry.input)


async def test_what_is_tried_again_goes_before_nobody_elses_first_try(stored: Stored, workers: Workers) -> None:
    busy, calm = await a_plugin_of(stored), await a_plugin_of(stored)
    many = [an_entry_of(busy) for _ in range(12)]
    await queue(stored, *many)
    tried = Attempt(datetime.now(UTC), datetime.now(UTC), ExecutionStatus.FAILED, "plugin_error", "it broke")
    for number, taken in enumerate(await workers.take(8)):
        # Some fail and some had no room; some are due at once and some a moment later.
        due = datetime.now(UTC) + timedelta(milliseconds=50 * (number % 2))
        attempts = (tried,) if number < 4 else ()
        await end(stored, busy, taken, an_end(taken, QueueState.QUEUED, attempts=attempts, due_at=due))
    others = [an_entry_of(calm) for _ in range(2)]
    await queue(stored, *others)
    await asyncio.sleep(0.1)
    order = [one.id for one in await workers.take(20)]
    assert set(order) == {one.id for one in many + others}
    assert order.index(others[0].id) <= 1
    assert order.index(others[1].id) <= 3
    assert [one for one in order if one in {each.id for each in many[8:]}] == [one.id for one in many[8:]]
    assert order.index(many[11].id) < min(order.index(one.id) for one in many[:8])


async def test_what_comes_due_while_nothing_waits_is_among_the_next(stored: Stored, workers: Workers) -> None:
    busy, calm = await a_plugin_of(stored), await a_plugin_of(stored)
    many = [an_entry_of(busy) for _ in range(12)]
    await queue(stored, *many)
    tried = Attempt(datetime.now(UTC), datetime.now(UTC), ExecutionStatus.FAILED, "plugin_error", "it broke")
    *_, last = await workers.take(12)
    due = datetime.now(UTC) + timedelta(milliseconds=50)
    await end(stored, busy, last, an_end(last, QueueState.QUEUED, attempts=(tried,), due_at=due))
    # Places begin at 0 again; one of another time would be behind all of these.
    await queue(stored, *[an_entry_of(calm) for _ in range(10)])
    await asyncio.sleep(0.1)
    assert last.id in [one.id for one in await workers.take(2)]


async def test_what_comes_back_waits_by_its_priority(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entries = [an_entry_of(plugin, priority=Priority(level)) for level in (0, 2, 1, 0, 2, 1)]
    later = [an_entry_of(plugin, priority=Priority.NORMAL), an_entry_of(plugin, priority=Priority.LOW)]
    await queue(stored, *entries)
    due = datetime.now(UTC) + timedelta(milliseconds=50)
    for taken in await workers.take(10):
        await end(stored, plugin, taken, an_end(taken, QueueState.QUEUED, due_at=due))
    await queue(stored, *later)
    await asyncio.sleep(0.1)
    found = await workers.take(20)
    came_back = [one.priority for one in found if one.id not in {each.id for each in later}]
    assert came_back == sorted(came_back, reverse=True)


async def test_what_was_interrupted_goes_on_before_the_tenants_other_work(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entries = [an_entry_of(plugin) for _ in range(5)]
    await queue(stored, *entries)
    (taken,) = await workers.take(1)
    await end(stored, plugin, taken, an_end(taken, QueueState.QUEUED))
    assert taken.id in [one.id for one in await workers.take(2)]


async def test_whatever_waits_counts(stored: Stored, workers: Workers) -> None:
    plugin, other = await a_plugin_of(stored), await a_plugin_of(stored)
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    await queue(stored, *[an_entry_of(plugin, priority=Priority(level)) for level in (0, 1, 2)], an_entry_of(other))
    assert await queue(stored, an_entry_of(plugin, due_at=in_an_hour), an_entry_of(plugin)) == [3, 4]
    taken = [one for one in await workers.take(10, per_plugin=1) if one.plugin_id == plugin.id]
    assert len(taken) == 1
    # Three are parked, and one is not yet due.
    assert await queue(stored, an_entry_of(plugin, priority=Priority.HIGH)) == [4]
    await end(stored, plugin, taken[0], an_end(taken[0], QueueState.QUEUED, due_at=in_an_hour))
    assert await queue(stored, an_entry_of(plugin), an_entry_of(other)) == [6, 0]


async def test_what_was_parked_for_long_is_not_before_all_who_came_since(stored: Stored, workers: Workers) -> None:
    busy, calm, late = await a_plugin_of(stored), await a_plugin_of(stored), await a_plugin_of(stored)
    await queue(stored, *[an_entry_of(busy) for _ in range(3)])
    first, *_ = await workers.take(3, per_plugin=1)
    theirs = [an_entry_of(calm) for _ in range(10)]
    await queue(stored, *theirs)
    await workers.take(5)
    await end(stored, busy, first, an_end(first))
    # Whoever comes now is placed by who is next, which is not what one that was parked had long ago.
    mine = [an_entry_of(late) for _ in range(6)]
    await queue(stored, *mine)
    order = [one.id for one in await workers.take(20)]
    assert order.index(theirs[6].id) < order.index(mine[2].id)


async def test_the_word_of_one_thought_dead_takes_away_no_job_of_who_runs_it_now(
    stored: Stored, workers: Workers
) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    (first,) = await workers.take(1)
    await workers.lose(first)
    (second,) = await workers.take(1)
    await end(stored, plugin, first, an_end(first))
    await workers.lose(second)
    (third,) = await workers.take(1)
    assert (third.id, third.run, third.lost) == (entry.id, 3, 2)


async def test_a_dead_workers_execution_is_taken_up_and_recorded_once(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    (first,) = await workers.take(1)
    await workers.lose(first)
    (second,) = await workers.take(1)
    assert (second.id, second.run, second.lost) == (entry.id, 2, 1)
    # The one that was thought dead comes back, and says its word.
    stale = an_execution(plugin, id=entry.id, status=ExecutionStatus.FAILED)
    told = an_event(plugin)
    told = replace(told, data={"executionId": entry.id})
    await stored.recorder.record(stale, [a_log_line(stale, "stale")], [told], [], an_end(first, QueueState.DEAD))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(entry.id) is None
    execution = await end(stored, plugin, second, an_end(second))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(entry.id) == execution
        assert len((await tx.list_executions(plugin.id, ExecutionFilter(), PageRequest())).items) == 1


async def test_what_is_given_back_without_having_begun_waits_as_before_and_was_not_lost(
    stored: Stored, workers: Workers
) -> None:
    plugin = await a_plugin_of(stored)
    first, second = an_entry_of(plugin), an_entry_of(plugin)
    await queue(stored, first, second)
    for _ in range(5):
        await workers.give_back(await workers.take(10))
    found = await find(stored, first)
    assert found is not None
    assert found.state is QueueState.QUEUED
    # It takes no room of its plugin's either.
    taken = await workers.take(10, per_plugin=2)
    assert [(one.id, one.lost) for one in taken] == [(first.id, 0), (second.id, 0)]
    # What did begin counts, before and after.
    await workers.lose(taken[0])
    (again,) = [one for one in await workers.take(1) if one.id == first.id]
    await workers.give_back([again])
    (again,) = [one for one in await workers.take(1) if one.id == first.id]
    assert again.lost == 1
    await end(stored, plugin, again, an_end(again))


async def test_an_end_that_is_said_twice_is_written_once(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    await queue(stored, an_entry_of(plugin))
    (taken,) = await workers.take(1)
    said = an_end(taken)
    execution = an_execution(plugin, id=taken.id, queued_at=taken.queued_at)
    for _ in range(2):
        await stored.recorder.record(execution, [], [], [], said)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert (await tx.list_executions(plugin.id, ExecutionFilter(), PageRequest())).items == (execution,)


async def test_what_waits_is_ended_without_having_run_and_never_taken(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    cancelled = an_execution(plugin, id=entry.id, status=ExecutionStatus.CANCELLED, usage=None)
    await stored.recorder.record(cancelled, [], [], [], an_end(entry, waits=True, output=None))
    assert await workers.take(10) == []
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(entry.id) == cancelled


async def test_one_that_runs_already_is_not_ended_as_one_that_waits(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    (taken,) = await workers.take(1)
    cancelled = an_execution(plugin, id=entry.id, status=ExecutionStatus.CANCELLED, usage=None)
    await stored.recorder.record(cancelled, [], [], [], an_end(entry, waits=True, output=None))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(entry.id) is None
        await tx.ask_to_cancel(entry.id)
    found = await find(stored, taken)
    assert found is not None
    assert (found.state, found.cancel_requested) == (QueueState.RUNNING, True)


async def test_dead_letters_are_listed_the_latest_first_and_dropped(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    other = await a_stored_plugin(stored.store, plugin.tenant_id, "other")
    entries = [an_entry_of(plugin), an_entry_of(plugin), an_entry_of(other)]
    await queue(stored, *entries)
    for number, taken in enumerate(await workers.take(10)):
        ended = datetime.now(UTC) + timedelta(seconds=number)
        await end(stored, plugin, taken, an_end(taken, QueueState.DEAD, ended_at=ended, output=None))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        first = await tx.dead_letters(None, PageRequest(2))
        rest = await tx.dead_letters(None, PageRequest(2, first.next_cursor))
        assert [one.id for one in first.items + rest.items] == [one.id for one in reversed(entries)]
        assert [one.id for one in (await tx.dead_letters(other.id, PageRequest())).items] == [entries[2].id]
        kept = await tx.queued_whole(entries[0].id)
        assert kept is not None
        assert kept.input == entries[0].input
        assert await tx.drop_dead(entries[0].id)
        assert not await tx.drop_dead(entries[0].id)
        assert await tx.queued(entries[0].id) is None


async def test_who_wants_to_know_of_an_end_is_in_the_same_transaction(stored: Stored, workers: Workers) -> None:
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    entry = replace(entry, call=replace(entry.call, webhook="https://hooks.example/done"))
    await queue(stored, entry)
    (taken,) = await workers.take(1)
    retried = an_end(taken, QueueState.QUEUED, due_at=datetime.now(UTC))
    await end(stored, plugin, taken, retried)
    assert await workers.take_webhooks(10) == []
    (taken,) = await workers.take(1)
    await end(stored, plugin, taken, an_end(taken))
    (found,) = await workers.take_webhooks(10)
    assert found == Delivery(entry.id, entry.tenant_id, entry.plugin_id, "https://hooks.example/done", 1)
    assert await workers.take_webhooks(10) == []
    async with stored.store.for_tenant((await a_tenant(stored.store)).id) as stranger:
        await stranger.webhook_told(entry.id)
        await stranger.webhook_later(entry.id, datetime.now(UTC) - timedelta(hours=1))
    assert await workers.take_webhooks(10) == []
    async with stored.store.for_tenant(entry.tenant_id) as tx:
        await tx.webhook_later(entry.id, datetime.now(UTC) - timedelta(seconds=1))
    assert [one.tries for one in await workers.take_webhooks(10)] == [2]
    async with stored.store.for_tenant(entry.tenant_id) as tx:
        await tx.webhook_later(entry.id, datetime.now(UTC) - timedelta(seconds=1))
        await tx.webhook_told(entry.id)
    assert await workers.take_webhooks(10) == []


async def test_of_one_tenants_webhooks_so_many_are_under_way_and_all_tenants_have_their_turn(
    stored: Stored, workers: Workers
) -> None:
    busy, calm = await a_plugin_of(stored), await a_plugin_of(stored)
    await tell_of(stored, workers, busy, 9)
    await tell_of(stored, workers, calm, 2)

    async def take(at_most: int, **under_way: int) -> list[str]:
        return sorted(one.tenant_id for one in await workers.take_webhooks(at_most, **under_way))

    assert await take(2) == sorted([busy.tenant_id, calm.tenant_id])
    # One that has three under way has room for one more, and goes behind those that have fewer.
    assert await take(1, **{busy.tenant_id: 1}) == [calm.tenant_id]
    assert await take(10, **{busy.tenant_id: 3}) == [busy.tenant_id]
    assert await take(10, **{busy.tenant_id: 4}) == []
    assert await take(10) == [busy.tenant_id] * 4


async def tell_of(stored: Stored, workers: Workers, plugin: Plugin, count: int) -> None:
    """Have so many ends of a plugin be told."""
    call = replace(an_entry_of(plugin).call, webhook="https://hooks.example/done")
    await queue(stored, *[an_entry_of(plugin, call=call) for _ in range(count)])
    for taken in await workers.take(count):
        await end(stored, plugin, taken, an_end(taken))


async def test_each_tenant_has_its_turn_with_a_few_of_its_events(stored: Stored) -> None:
    plugins = [await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id) for _ in range(2)]
    said: list[list[str]] = []
    for plugin, count in zip(plugins, (30, 2), strict=True):
        events = [an_event(plugin, EventType.PLUGIN_EVENT_PUBLISHED) for _ in range(count)]
        async with stored.store.for_tenant(plugin.tenant_id) as tx:
            for event in events:
                await tx.emit(event)
            await tx.emit(an_event(plugin))
        said.append([event.id for event in events])

    async def waiting(tenants: int = 100_000) -> list[Event]:
        ours = {plugin.tenant_id for plugin in plugins}
        async with stored.store.for_operator() as tx:
            return [one for one in await tx.waiting_events(tenants, 10) if one.tenant_id in ours]

    assert [one.id for one in await waiting()] == [*said[0][:10], *said[1]]
    assert len({one.tenant_id for one in await waiting(1)}) <= 1
    async with stored.store.for_operator() as tx:
        await tx.mark_delivered([*said[0][:10], *said[1]], NOW)
    assert [one.id for one in await waiting()] == said[0][10:20]
    async with stored.store.for_operator() as tx:
        await tx.mark_delivered(said[0], NOW)
    assert await waiting() == []
