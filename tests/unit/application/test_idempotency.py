"""A repeat under the same idempotency key gets the first answer, and nothing runs twice."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from plugyard.application import later
from plugyard.application.executable import Executed
from plugyard.application.ports import Invocation, Outcome, StoredReply
from plugyard.domain.errors import IdempotencyConflict, IdempotencyMismatch, Overloaded, StoreUnavailable
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Caller
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.plugin import PluginView
from tests.memory.sandbox import failed, succeeded
from tests.memory.transaction import MemoryTransaction
from tests.memory.world import World, manifest


async def repeat(world: World, caller: Caller, view: PluginView, **asked: Any) -> Executed:
    return await world.execute(caller, view, **{"idempotency_key": "order-1", **asked})


async def abandoned(world: World, admin: Caller, view: PluginView) -> StoredReply:
    """The key is held by a request whose process died long ago."""
    await repeat(world, admin, view)
    ((place, reply),) = world.store.tables.replies.items()
    dead = replace(reply, response=None)
    world.store.tables.replies[place] = dead
    world.clock.forward(milliseconds=world.policies.limits.max_timeout_ms, minutes=2)
    return dead


@pytest.mark.parametrize("output", [b'{"total":3}', b"null", b'"\xc3\xa4"'])
async def test_a_repeat_gets_the_first_answer_and_runs_nothing(world: World, admin: Caller, output: bytes) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(output))
    first = await repeat(world, admin, view)
    again = await repeat(world, admin, view)
    assert (again.execution, again.output, again.replayed) == (first.execution, output, True)
    assert len(world.executor.invocations) == 1


async def test_a_failure_is_an_answer_that_is_repeated_too(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed())
    await repeat(world, admin, view)
    again = await repeat(world, admin, view)
    assert (again.execution.status, again.output, again.replayed) == (ExecutionStatus.FAILED, None, True)


@pytest.mark.parametrize(
    "other", [{"function": "wave"}, {"input": b"2"}, {"timeout_ms": 5}, {"limits": RequestedLimits(cpu_ms=5)}]
)
async def test_the_key_with_another_request_is_refused(world: World, admin: Caller, other: dict[str, object]) -> None:
    view = await world.active(admin, exports=("greet", "wave"))
    await repeat(world, admin, view, input=b"1")
    with pytest.raises(IdempotencyMismatch) as caught:
        await repeat(world, admin, view, **{"input": b"1", **other})
    assert caught.value.errors[0].pointer == "header/Idempotency-Key"


async def test_a_key_belongs_to_one_plugin(world: World, admin: Caller) -> None:
    first, second = await world.active(admin), await world.active(admin, manifest("other"))
    await repeat(world, admin, first)
    assert not (await repeat(world, admin, second, input=b"2")).replayed


async def test_a_day_later_the_key_is_free(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await repeat(world, admin, view)
    world.clock.forward(days=1, seconds=1)
    assert not (await repeat(world, admin, view)).replayed


async def test_a_repeat_while_the_first_is_under_way_is_told_to_wait(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait(invocation: Invocation) -> Outcome:
        began.set()
        await go_on.wait()
        return succeeded(b"1")

    world.executor.scripts["greet"] = wait
    first = asyncio.create_task(repeat(world, admin, view))
    await began.wait()
    with pytest.raises(IdempotencyConflict, match="still under way"):
        await repeat(world, admin, view)
    go_on.set()
    assert (await first).output == b"1"
    assert (await repeat(world, admin, view)).replayed


@pytest.mark.parametrize("error", [Overloaded(), StoreUnavailable()])
async def test_a_request_that_left_no_record_may_be_tried_again(world: World, admin: Caller, error: Exception) -> None:
    view = await world.active(admin)
    if isinstance(error, Overloaded):
        world.executor.failing = error
    else:
        world.recorder.failing = error
    with pytest.raises(type(error)):
        await repeat(world, admin, view)
    assert world.store.tables.replies == {}
    world.executor.failing = world.recorder.failing = None
    assert not (await repeat(world, admin, view)).replayed


async def test_a_request_whose_record_was_written_although_nobody_heard_of_it_is_not_run_again(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b'{"total":3}'))
    record = world.recorder.record

    async def lost(*args: Any, **more: Any) -> None:
        await record(*args, **more)
        raise StoreUnavailable

    with monkeypatch.context() as patched:
        patched.setattr(world.recorder, "record", lost)
        with pytest.raises(StoreUnavailable):
            await repeat(world, admin, view)
    again = await repeat(world, admin, view)
    # Its answer lies with its record.
    assert (again.output, again.replayed) == (b'{"total":3}', True)
    assert list(world.store.tables.executions) == [again.execution.id]
    assert len(world.executor.invocations) == 1


async def test_an_abandoned_request_that_left_a_record_is_answered_with_it(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    dead = await abandoned(world, admin, view)
    again = await repeat(world, admin, view)
    # The output went with the process that died; what happened is known all the same.
    assert (again.execution.id, again.output, again.replayed) == (dead.execution_id, None, True)


async def test_an_abandoned_request_without_a_record_is_run_again(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await abandoned(world, admin, view)
    world.store.tables.executions.clear()
    again = await repeat(world, admin, view)
    assert not again.replayed
    assert (await repeat(world, admin, view)).execution.id == again.execution.id


async def test_of_two_repeats_that_find_an_abandoned_request_only_one_runs(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.active(admin)
    dead = await abandoned(world, admin, view)
    world.store.tables.executions.clear()
    runs = len(world.executor.invocations)
    place = (view.plugin.tenant_id, view.plugin.id, "order-1")
    real, looks = MemoryTransaction.claim_key, [0]

    async def claim_key(self: MemoryTransaction, plugin_id: str, key: str, reply: StoredReply) -> StoredReply | None:
        looks[0] += 1
        if looks[0] == 2:  # between the first look and the second another process took the key
            self._tables.replies[place] = replace(dead, execution_id="taken", created_at=world.clock())
        return await real(self, plugin_id, key, reply)

    monkeypatch.setattr(MemoryTransaction, "claim_key", claim_key)
    with pytest.raises(IdempotencyConflict):
        await repeat(world, admin, view)
    assert len(world.executor.invocations) == runs
    assert world.store.tables.replies[place].execution_id == "taken"


async def test_an_abandoned_key_that_became_free_meanwhile_is_taken(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.active(admin)
    await abandoned(world, admin, view)
    world.store.tables.executions.clear()
    real, looks = MemoryTransaction.claim_key, [0]

    async def claim_key(self: MemoryTransaction, plugin_id: str, key: str, reply: StoredReply) -> StoredReply | None:
        looks[0] += 1
        if looks[0] == 2:
            self._tables.replies.clear()
        return await real(self, plugin_id, key, reply)

    monkeypatch.setattr(MemoryTransaction, "claim_key", claim_key)
    assert not (await repeat(world, admin, view)).replayed


async def _left_by_a_dead_replica(world: World, admin: Caller, view: PluginView) -> StoredReply:
    """The key is held by a request whose replica died just now, before it recorded anything."""
    dead = await abandoned(world, admin, view)
    fresh = replace(dead, created_at=world.clock())
    for place in world.store.tables.replies:
        world.store.tables.replies[place] = fresh
    world.store.tables.executions.clear()
    world.store.tables.abandoned.add(fresh.execution_id)
    return fresh


async def test_what_a_replica_had_that_died_is_taken_over_at_once(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    dead = await _left_by_a_dead_replica(world, admin, view)
    again = await repeat(world, admin, view)
    assert not again.replayed
    assert again.execution.id != dead.execution_id
    assert (await repeat(world, admin, view)).execution.id == again.execution.id


async def test_a_replica_that_is_back_at_the_second_look_keeps_what_it_had(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.active(admin)
    dead = await _left_by_a_dead_replica(world, admin, view)
    real = asyncio.sleep

    async def back_meanwhile(seconds: float) -> None:
        world.store.tables.abandoned.discard(dead.execution_id)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", back_meanwhile)
    with pytest.raises(IdempotencyConflict, match="still under way"):
        await repeat(world, admin, view)


async def test_who_lost_the_key_to_another_neither_frees_it_nor_answers_under_it(world: World, admin: Caller) -> None:
    view = await world.active(admin)

    async def lose(invocation: Invocation) -> Outcome:
        for place, held in world.store.tables.replies.items():
            world.store.tables.replies[place] = replace(held, execution_id="another's")
        return succeeded(b"1")

    world.executor.scripts["greet"] = lose
    assert (await repeat(world, admin, view)).output == b"1"
    ((_, held),) = world.store.tables.replies.items()
    assert (held.execution_id, held.response) == ("another's", None)


async def test_a_key_that_cannot_be_given_free_while_the_store_is_away_is_given_free_later(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = await world.active(admin)
    real, tries = MemoryTransaction.settle_key, [0]

    async def away(self: MemoryTransaction, *asked: Any) -> None:
        tries[0] += 1
        if tries[0] < 3:
            raise StoreUnavailable
        await real(self, *asked)

    monkeypatch.setattr(MemoryTransaction, "settle_key", away)
    monkeypatch.setattr(later, "TRIED_EVERY_S", 0.0)
    world.recorder.failing = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await repeat(world, admin, view)
    world.recorder.failing = None
    await world.quiet()
    assert world.store.tables.replies == {}
    assert not (await repeat(world, admin, view)).replayed
