"""Executions that nobody waits for: acknowledged, run in turn, tried again, given up, cancelled."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from plugyard.application import deadletters, history
from plugyard.application.activate import deactivate
from plugyard.application.changes import Change, Changed, heard
from plugyard.application.enqueue import enqueue
from plugyard.application.executable import Call
from plugyard.application.ports import ExecutionFilter, Invocation, Outcome, PageRequest
from plugyard.application.work import MOST_LOST, work_on
from plugyard.domain.errors import (
    Conflict,
    Forbidden,
    FunctionNotFound,
    IdempotencyMismatch,
    InvalidInput,
    NotFound,
    Overloaded,
    StoreUnavailable,
    TooLarge,
    WrongState,
)
from plugyard.domain.events import EventType
from plugyard.domain.execution import Execution, ExecutionStatus
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import PluginView
from plugyard.domain.queue import Priority, QueueState
from plugyard.domain.scopes import Scope
from plugyard.domain.tenants import TenantState
from tests.memory.sandbox import failed, succeeded
from tests.memory.world import World, as_role, manifest

RETRYING = {"greet": {"retry": {"attempts": 3, "delayMs": 1_000, "factor": 2, "jitter": 0.5}}}


async def queue(world: World, caller: Caller, view: PluginView, function: str = "greet", **asked: Any) -> Execution:
    how = {"priority": asked.pop("priority")} if "priority" in asked else {}
    return (await enqueue(world.platform, caller, view.plugin.id, Call(function, **asked), **how)).execution


async def look(world: World, caller: Caller, execution_id: str) -> Execution:
    return await history.execution(world.platform, caller, execution_id)


async def test_it_is_queued_then_runs_then_has_a_record_and_a_result(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b'{"total":3}'))
    queued = await queue(world, admin, view, input=b'{"a":1}')
    assert (queued.status, queued.input_bytes) == (ExecutionStatus.QUEUED, 7)
    assert await look(world, admin, queued.id) == queued
    with pytest.raises(Conflict):
        await history.result(world.platform, admin, queued.id)
    assert await world.work() == 1
    (invocation,) = world.executor.invocations
    assert (invocation.execution_id, invocation.input) == (queued.id, b'{"a":1}')
    ended = await look(world, admin, queued.id)
    assert (ended.status, ended.actor, len(ended.attempts)) == (ExecutionStatus.SUCCEEDED, admin.actor, 1)
    found = await history.result(world.platform, admin, queued.id)
    assert (found.execution, found.output) == (ended, b'{"total":3}')
    assert world.event_types[-2:] == [EventType.EXECUTION_STARTED, EventType.EXECUTION_COMPLETED]


async def test_a_running_one_shows_so_from_every_process(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    (taken,) = await world.store.take(world.clock(), 1, 0)
    assert (await look(world, admin, queued.id)).status is ExecutionStatus.RUNNING
    listed = await history.executions(
        world.platform, admin, view.plugin.id, ExecutionFilter(ExecutionStatus.RUNNING), PageRequest()
    )
    assert [one.id for one in listed.items] == [taken.id]


async def test_those_that_wait_are_listed(world: World, admin: Caller) -> None:
    view = await world.active(admin, exports=("greet", "wave"))
    first = await queue(world, admin, view)
    other = await queue(world, admin, view, "wave")

    async def listed(**how: Any) -> list[str]:
        filters = ExecutionFilter(ExecutionStatus.QUEUED, **how)
        page = await history.executions(world.platform, admin, view.plugin.id, filters, PageRequest())
        return [one.id for one in page.items]

    assert sorted(await listed()) == sorted([first.id, other.id])
    assert await listed(function="wave") == [other.id]
    assert await listed(version="9.0.0") == []


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"function": "nothing"}, FunctionNotFound),
        ({"input": b"{"}, InvalidInput),
        ({"input": b'"' + b"a" * (1 << 20) + b'"'}, TooLarge),
    ],
)
async def test_what_a_request_gets_wrong_is_said_at_once_and_nothing_is_queued(
    world: World, admin: Caller, asked: dict[str, Any], error: type[Exception]
) -> None:
    view = await world.active(admin)
    with pytest.raises(error):
        await queue(world, admin, view, **asked)
    assert world.store.tables.queued == {}


async def test_a_viewer_and_a_narrowed_key_queue_nothing(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    narrowed = Caller("key:2", Role.DEVELOPER, admin.tenant_id, scopes=(Scope(functions=frozenset({"wave"})),))
    for caller in (as_role(Role.VIEWER, admin.tenant_id), narrowed):
        with pytest.raises(Forbidden):
            await queue(world, caller, view)
    assert world.store.tables.queued == {}


async def test_a_tenant_may_have_so_many_waiting_and_no_more(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    object.__setattr__(world.platform.policies, "queued_per_tenant", 3)
    for _ in range(3):
        await queue(world, admin, view)
    with pytest.raises(Overloaded):
        await queue(world, admin, view)
    assert len(world.store.tables.queued) == 3
    await world.work()
    await queue(world, admin, view)


async def test_a_repeat_under_one_key_is_queued_once(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    first = await queue(world, admin, view, idempotency_key="order-1")
    again = await enqueue(world.platform, admin, view.plugin.id, Call("greet", idempotency_key="order-1"))
    assert (again.execution.id, again.replayed) == (first.id, True)
    await world.work()
    late = await enqueue(world.platform, admin, view.plugin.id, Call("greet", idempotency_key="order-1"))
    assert (late.execution.status, late.replayed) == (ExecutionStatus.SUCCEEDED, True)
    assert len(world.executor.invocations) == 1
    with pytest.raises(IdempotencyMismatch):
        await queue(world, admin, view, idempotency_key="order-1", priority=Priority.HIGH)
    with pytest.raises(IdempotencyMismatch):
        await world.execute(admin, view, idempotency_key="order-1")


async def test_a_failure_is_tried_again_by_the_manifests_rule_and_then_given_up(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(functions=RETRYING))
    world.executor.answer("greet", failed())
    queued = await queue(world, admin, view)
    world.luck = 1.0
    assert await world.work() == 1
    assert await world.work() == 0
    assert (await look(world, admin, queued.id)).status is ExecutionStatus.QUEUED
    assert world.events[-1].type is EventType.PLUGIN_ACTIVATED
    world.clock.forward(milliseconds=499)
    assert await world.work() == 0
    world.clock.forward(milliseconds=1)
    assert await world.work() == 1
    world.clock.forward(milliseconds=1_000)
    assert await world.work() == 1
    ended = await look(world, admin, queued.id)
    assert (ended.status, len(ended.attempts), ended.queued_at) == (ExecutionStatus.FAILED, 3, queued.queued_at)
    assert {(one.status, one.code) for one in ended.attempts} == {(ExecutionStatus.FAILED, "plugin_error")}
    assert [one.type for one in world.events[-2:]] == [EventType.EXECUTION_STARTED, EventType.EXECUTION_FAILED]
    (letter,) = (await deadletters.dead_letters(world.platform, admin, None, PageRequest())).items
    assert (letter.id, letter.attempts) == (queued.id, ended.attempts)


async def test_one_that_succeeds_at_last_is_recorded_with_its_failures(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(functions=RETRYING))
    world.executor.answer("greet", failed())
    queued = await queue(world, admin, view)
    await world.work()
    world.executor.answer("greet", succeeded())
    world.clock.forward(seconds=2)
    await world.work()
    ended = await look(world, admin, queued.id)
    assert [one.status for one in ended.attempts] == [ExecutionStatus.FAILED, ExecutionStatus.SUCCEEDED]
    assert ended.status is ExecutionStatus.SUCCEEDED


@pytest.mark.parametrize("error", [Overloaded(), StoreUnavailable()])
async def test_want_of_room_uses_up_no_attempt(world: World, admin: Caller, error: Exception) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    world.executor.failing = error
    assert await world.work() == 1
    world.executor.failing = None
    world.clock.forward(seconds=61)
    assert await world.work() == 1
    ended = await look(world, admin, queued.id)
    assert (ended.status, len(ended.attempts)) == (ExecutionStatus.SUCCEEDED, 1)


async def test_what_cannot_run_any_more_is_given_up_with_the_reason(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    await deactivate(world.platform, admin, view.plugin.id)
    world.platform.copies.forget()
    await world.work()
    ended = await look(world, admin, queued.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == (ExecutionStatus.FAILED, "wrong_state")
    assert world.executor.invocations == []
    assert world.heard[-1] == ended


async def test_what_workers_die_of_is_given_up(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    for _ in range(MOST_LOST + 1):
        (taken,) = await world.store.take(world.clock(), 1, 0)
        await world.store.lose(taken.id)
    assert await world.work() == 1
    ended = await look(world, admin, queued.id)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == (ExecutionStatus.CRASHED, "worker_lost")


async def test_an_execution_whose_worker_died_runs_again_and_is_recorded_once(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    (stale,) = await world.store.take(world.clock(), 1, 0)
    await world.store.lose(stale.id)
    assert await world.work() == 1
    events = len(world.events)
    await work_on(world.platform, stale)
    assert len(world.events) == events
    assert [one.id for one in world.store.tables.executions.values()] == [queued.id]


async def test_the_record_waits_for_a_store_that_is_away(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugyard.application.execute.RECORD_PAUSE_S", 0.001)
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    world.recorder.failing = StoreUnavailable()
    working = asyncio.ensure_future(world.work())
    await asyncio.sleep(0.05)
    assert len(world.executor.invocations) == 1
    assert not working.done()
    world.recorder.failing = None
    await working
    assert (await look(world, admin, queued.id)).status is ExecutionStatus.SUCCEEDED
    assert len(world.executor.invocations) == 1


async def test_one_that_waits_is_cancelled_and_never_runs(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    cancelled = await history.cancel(world.platform, admin, queued.id)
    assert cancelled.status is ExecutionStatus.CANCELLED
    assert await world.work() == 0
    assert (await look(world, admin, queued.id)).status is ExecutionStatus.CANCELLED
    assert world.actions[-1] == "execution.cancelled"
    with pytest.raises(Conflict):
        await history.cancel(world.platform, admin, queued.id)


@pytest.mark.parametrize("asked_for", [True, False])
async def test_one_that_runs_here_is_cancelled_where_that_was_asked_and_put_back_where_its_worker_ends(
    world: World, admin: Caller, asked_for: bool
) -> None:
    view = await world.active(admin)
    began, release = asyncio.Event(), asyncio.Event()

    async def hold(invocation: Invocation) -> Outcome:
        began.set()
        await release.wait()
        return failed(ExecutionStatus.CANCELLED, "cancelled")

    world.executor.scripts["greet"] = hold
    queued = await queue(world, admin, view)
    (taken,) = await world.store.take(world.clock(), 1, 0)
    working = asyncio.ensure_future(work_on(world.platform, taken))
    await began.wait()
    if asked_for:
        world.executor.cancellable.add(queued.id)
        await history.cancel(world.platform, admin, queued.id)
    release.set()
    await working
    found = await look(world, admin, queued.id)
    assert found.status is (ExecutionStatus.CANCELLED if asked_for else ExecutionStatus.QUEUED)
    assert world.platform.told_to_end == set()


async def test_one_that_a_suspension_elsewhere_cuts_off_is_put_back_and_becomes_a_dead_letter(
    world: World, admin: Caller
) -> None:
    view = await world.active(admin)
    tenant_id = str(admin.tenant_id)

    async def cut(invocation: Invocation) -> Outcome:
        async with world.store.for_operator() as tx:
            await tx.save_state(tenant_id, TenantState.SUSPENDED, "abuse", world.clock())
        await heard(world.platform, Change(Changed.TENANT, tenant_id, "suspended"))
        await heard(world.platform, Change(Changed.HALTED, tenant_id))
        assert world.executor.cancelled == [invocation.execution_id]
        return failed(ExecutionStatus.CANCELLED, "cancelled")

    world.executor.scripts["greet"] = cut
    queued = await queue(world, admin, view)
    await world.work()
    assert len(world.executor.invocations) == 1
    assert world.store.tables.queued[queued.id].state is QueueState.DEAD
    found = await look(world, as_role(Role.OPERATOR, tenant_id), queued.id)
    assert found.error is not None
    assert found.error.code == "tenant_suspended"


async def test_one_that_runs_elsewhere_is_told_to_end(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    queued = await queue(world, admin, view)
    (taken,) = await world.store.take(world.clock(), 1, 0)
    assert (await history.cancel(world.platform, admin, queued.id)).status is ExecutionStatus.RUNNING
    assert world.store.tables.queued[taken.id].cancel_requested
    await world.store.lose(taken.id)
    await world.work()
    assert (await look(world, admin, queued.id)).status is ExecutionStatus.CANCELLED
    assert world.executor.invocations == []


async def test_a_result_that_is_too_large_is_not_kept(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    object.__setattr__(world.platform.policies, "queue_result_bytes", 3)
    world.executor.answer("greet", succeeded(b'"abc"'))
    queued = await queue(world, admin, view)
    await world.work()
    with pytest.raises(NotFound, match="5 bytes"):
        await history.result(world.platform, admin, queued.id)


async def test_a_dead_letter_is_replayed_as_an_execution_of_its_own(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed())
    first = await queue(world, admin, view, input=b'{"a":1}')
    await world.work()
    letter, given = await deadletters.dead_letter(world.platform, admin, first.id)
    assert (letter.state, given) == (QueueState.DEAD, '{"a":1}')
    world.executor.answer("greet", succeeded())
    other = as_role(Role.ADMIN, admin.tenant_id)
    again = await deadletters.replay(world.platform, other, first.id)
    assert again.id != first.id
    assert world.actions[-1] == "dead_letter.replayed"
    with pytest.raises(NotFound):
        await deadletters.replay(world.platform, admin, first.id)
    await world.work()
    assert (await look(world, admin, again.id)).status is ExecutionStatus.SUCCEEDED
    assert world.executor.invocations[-1].input == b'{"a":1}'
    assert (await look(world, admin, first.id)).status is ExecutionStatus.FAILED


async def test_a_dead_letter_of_a_plugin_that_is_inactive_stays(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed())
    first = await queue(world, admin, view)
    await world.work()
    await deactivate(world.platform, admin, view.plugin.id)
    world.platform.copies.forget()
    with pytest.raises(WrongState):
        await deadletters.replay(world.platform, admin, first.id)
    assert (await deadletters.dead_letter(world.platform, admin, first.id))[0].id == first.id


async def test_dead_letters_are_an_admins_and_a_tenants_own(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed())
    first = await queue(world, admin, view)
    await world.work()
    stranger = await world.caller("other")
    for look_at in (deadletters.dead_letter, deadletters.replay, deadletters.drop):
        with pytest.raises(Forbidden):
            await look_at(world.platform, as_role(Role.DEVELOPER, admin.tenant_id), first.id)
        with pytest.raises(NotFound):
            await look_at(world.platform, stranger, first.id)
    assert (await deadletters.dead_letters(world.platform, stranger, None, PageRequest())).items == ()
    await deadletters.drop(world.platform, admin, first.id)
    assert world.actions[-1] == "dead_letter.dropped"
    assert (await deadletters.dead_letters(world.platform, admin, None, PageRequest())).items == ()


async def test_however_much_has_no_room_so_many_of_it_come_back_in_a_second(world: World, admin: Caller) -> None:
    view, other = await world.active(admin), await world.caller("other")
    its = await world.active(other)
    object.__setattr__(world.platform.policies.quotas, "concurrent_executions", 0)
    world.platform.copies.forget()
    for _ in range(300):
        await queue(world, admin, view)
    await queue(world, other, its)
    await world.work(50)
    due = sorted(one.due_at for one in world.store.tables.queued.values() if one.tenant_id == admin.tenant_id)
    assert due[-1] - due[0] >= timedelta(seconds=2.99)
    (alone,) = [one.due_at for one in world.store.tables.queued.values() if one.tenant_id == other.tenant_id]
    assert alone - world.clock() <= timedelta(seconds=1)


async def test_a_tenants_quota_puts_back_what_has_no_room(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    object.__setattr__(world.platform.policies.quotas, "executions_per_minute", 2)
    world.platform.copies.forget()
    for _ in range(3):
        await queue(world, admin, view)
    await world.work(1)
    states = sorted(one.state for one in world.store.tables.queued.values())
    assert states == [QueueState.ENDED, QueueState.ENDED, QueueState.QUEUED]
    world.clock.forward(seconds=timedelta(minutes=1).total_seconds() + 1)
    await world.work()
    assert len(world.executor.invocations) == 3
