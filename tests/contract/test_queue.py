"""Executions that wait: durable with their transaction, taken in turn; on every implementation."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plugyard.application.ports import ExecutionFilter, PageRequest
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Attempt, ExecutionStatus
from plugyard.domain.queue import Priority, QueueState
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_stored_plugin, a_tenant, an_event
from tests.contract.waiting import Workers, a_plugin_of, an_end, an_entry_of, end, find, queue, workers

__all__ = ["workers"]


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
