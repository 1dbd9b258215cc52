"""How executions that waited end: once, whoever dies, and with whom it is told; on every implementation."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from plugyard.application.ports import ExecutionFilter, PageRequest
from plugyard.domain.execution import Attempt, ExecutionStatus
from plugyard.domain.plugin import Plugin
from plugyard.domain.queue import Delivery, QueuedExecution, QueueState
from tests.contract.conftest import Stored
from tests.contract.given import a_log_line, a_stored_plugin, a_tenant, an_event, an_execution
from tests.contract.waiting import Workers, a_plugin_of, an_end, an_entry_of, end, find, queue, workers

__all__ = ["workers"]


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


async def _taken_up(
    stored: Stored, workers: Workers
) -> tuple[Plugin, QueuedExecution, QueuedExecution, QueuedExecution]:
    """A plugin with an execution that was queued, taken by a worker that was lost, and taken up by another."""
    plugin = await a_plugin_of(stored)
    entry = an_entry_of(plugin)
    await queue(stored, entry)
    (first,) = await workers.take(1)
    await workers.lose(first)
    (second,) = await workers.take(1)
    return plugin, entry, first, second


async def test_the_word_of_one_thought_dead_takes_away_no_job_of_who_runs_it_now(
    stored: Stored, workers: Workers
) -> None:
    plugin, entry, first, second = await _taken_up(stored, workers)
    await end(stored, plugin, first, an_end(first))
    await workers.lose(second)
    (third,) = await workers.take(1)
    assert (third.id, third.run, third.lost) == (entry.id, 3, 2)


async def test_a_dead_workers_execution_is_taken_up_and_recorded_once(stored: Stored, workers: Workers) -> None:
    plugin, entry, first, second = await _taken_up(stored, workers)
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
