"""What a tenant may have so much of: one answer wherever it is used up, and no place that gets lost."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plugyard.application.copies import Copies
from plugyard.application.executable import Call
from plugyard.application.execute import execute
from plugyard.application.marketplace import install_listing, publish
from plugyard.application.ports import Invocation, Outcome
from plugyard.application.tenants import Changes, Used, change_tenant, usage
from plugyard.application.uninstall import uninstall
from plugyard.application.upgrade import upgrade
from plugyard.domain.errors import Overloaded, QuotaExceeded, SandboxUnavailable
from plugyard.domain.execution import ExecutionFailure, ExecutionStatus
from plugyard.domain.identity import Caller, Role
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.tallies import Full, Tallies
from plugyard.domain.tenants import Quota, Quotas
from tests.memory.sandbox import USED, succeeded
from tests.memory.world import World, as_role, manifest

OPERATOR = as_role(Role.OPERATOR, None)


async def allow(world: World, caller: Caller, quotas: Mapping[Quota, int | None]) -> None:
    assert caller.tenant_id is not None
    await change_tenant(world.platform, OPERATOR, caller.tenant_id, Changes(quotas=quotas))


async def refused(attempt: object, quota: Quota, limit: int, used: int) -> QuotaExceeded:
    with pytest.raises(QuotaExceeded) as raised:
        await attempt  # type: ignore[misc]
    assert (raised.value.quota, raised.value.limit, raised.value.used) == (quota.value, limit, used)
    return raised.value


async def test_an_upload_beyond_the_quota_of_plugins_leaves_nothing(world: World, admin: Caller) -> None:
    await allow(world, admin, {Quota.PLUGINS: 1})
    await world.upload(admin)
    rows, objects = world.store.tables.plugins.copy(), set(world.objects.held)
    error = await refused(world.upload(admin, manifest("second"), code="other"), Quota.PLUGINS, 1, 1)
    assert error.retry_after_s is None
    assert world.store.tables.plugins == rows
    assert set(world.objects.held) == objects, "nor is its package on the disk"


async def test_a_new_version_of_a_plugin_is_no_new_plugin(world: World, admin: Caller) -> None:
    await allow(world, admin, {Quota.PLUGINS: 1})
    await world.upload(admin)
    assert (await world.upload(admin, manifest(version="1.1.0"), code="newer")).created


async def test_a_plugin_that_is_uninstalled_makes_room(world: World, admin: Caller) -> None:
    await allow(world, admin, {Quota.PLUGINS: 1})
    await uninstall(world.platform, admin, (await world.active(admin)).plugin.id)
    assert (await world.upload(admin, manifest("second"), code="other")).created


async def test_a_marketplace_install_meets_the_quotas_that_an_upload_meets(world: World, admin: Caller) -> None:
    listing = await publish(world.platform, admin, (await world.active(admin)).plugin.id, None)
    other = await world.caller("other")
    await allow(world, other, {Quota.PLUGINS: 0})
    await refused(install_listing(world.platform, other, listing.id, None, activate=False), Quota.PLUGINS, 0, 0)
    await allow(world, other, {Quota.PLUGINS: None, Quota.STORAGE: listing.packed_bytes - 1})
    attempt = install_listing(world.platform, other, listing.id, None, activate=False)
    await refused(attempt, Quota.STORAGE, listing.packed_bytes - 1, 0)
    await allow(world, other, {Quota.STORAGE: listing.packed_bytes})
    installed = await install_listing(world.platform, other, listing.id, None, activate=False)
    await world.upload(admin, manifest(version="1.1.0"), code="newer and longer", activate=True)
    await publish(world.platform, admin, listing.plugin_id, None)
    attempt = upgrade(world.platform, other, installed.plugin.id, None, None)
    await refused(attempt, Quota.STORAGE, listing.packed_bytes, listing.packed_bytes)


async def test_the_same_bytes_are_stored_once(world: World, admin: Caller) -> None:
    first = (await world.upload(admin)).version
    await allow(world, admin, {Quota.STORAGE: first.report.packed_bytes})
    assert not (await world.upload(admin)).created
    error = await refused(
        world.upload(admin, manifest(version="1.1.0"), code="newer"),
        Quota.STORAGE,
        first.report.packed_bytes,
        first.report.packed_bytes,
    )
    assert "bytes of packages" in error.message


async def test_executions_of_the_minute_free_with_the_next(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await allow(world, admin, {Quota.PER_MINUTE: 2})
    world.clock.now = datetime(2026, 5, 4, 12, 30, 40, tzinfo=UTC)
    for _ in range(2):
        await world.execute(admin, view)
    error = await refused(world.execute(admin, view), Quota.PER_MINUTE, 2, 2)
    assert error.retry_after_s == pytest.approx(20)
    world.clock.now += timedelta(seconds=20)
    assert (await world.execute(admin, view)).execution.status is ExecutionStatus.SUCCEEDED


async def test_the_count_of_the_day_outlives_a_restart(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.clock.now = datetime(2026, 5, 4, 23, 59, 30, tzinfo=UTC)
    for _ in range(3):
        await world.execute(admin, view)
    await allow(world, admin, {Quota.PER_DAY: 4})
    restarted = replace(world.platform, tallies=Tallies(), copies=Copies())
    world.clock.now += timedelta(seconds=1)
    await execute(restarted, admin, view.plugin.id, Call("greet"))
    error = await refused(execute(restarted, admin, view.plugin.id, Call("greet")), Quota.PER_DAY, 4, 4)
    assert error.retry_after_s == pytest.approx(29)
    assert (await usage(restarted, admin))[Quota.PER_DAY] == Used(4, 4)
    world.clock.now += timedelta(seconds=30)
    await execute(restarted, admin, view.plugin.id, Call("greet"))
    assert (await usage(restarted, admin))[Quota.PER_DAY] == Used(4, 1)


async def test_a_quota_that_comes_later_counts_what_ran_before_it(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    for _ in range(3):
        await world.execute(admin, view)
    await allow(world, admin, {Quota.PER_DAY: 3})
    await refused(world.execute(admin, view), Quota.PER_DAY, 3, 3)


async def test_a_place_is_given_back_however_an_execution_ends(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await allow(world, admin, {Quota.CONCURRENT: 1})
    endings: list[Exception] = [Overloaded(), SandboxUnavailable(), RuntimeError("anything")]
    for error in endings:
        world.executor.failing = error
        with pytest.raises(type(error)):
            await world.execute(admin, view)
    world.executor.failing = None
    world.recorder.failing = RuntimeError("the disk is full")
    with pytest.raises(RuntimeError):
        await world.execute(admin, view)
    world.recorder.failing = None
    gate = asyncio.Event()

    async def waits(invocation: Invocation) -> Outcome:
        await gate.wait()
        return succeeded()

    world.executor.scripts["greet"] = waits
    running = asyncio.ensure_future(world.execute(admin, view))
    await asyncio.sleep(0)
    error = await refused(world.execute(admin, view), Quota.CONCURRENT, 1, 1)
    assert error.retry_after_s == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    gate.set()
    used = await usage(world.platform, admin)
    assert used[Quota.CONCURRENT] == Used(1, 0)
    assert (await world.execute(admin, view)).execution.status is ExecutionStatus.SUCCEEDED


async def test_what_the_sandbox_had_no_room_for_uses_nothing_up(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await allow(world, admin, {Quota.PER_MINUTE: 1})
    world.executor.failing = Overloaded()
    for _ in range(3):
        with pytest.raises(Overloaded):
            await world.execute(admin, view)
    world.executor.failing = None
    await world.execute(admin, view)
    await refused(world.execute(admin, view), Quota.PER_MINUTE, 1, 1)


async def test_one_tenant_s_executions_use_up_nothing_of_another_s(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    mine, theirs = await world.active(admin), await world.active(other)
    for one in (admin, other):
        await allow(world, one, {Quota.PER_MINUTE: 1})
    await world.execute(admin, mine)
    await refused(world.execute(admin, mine), Quota.PER_MINUTE, 1, 1)
    assert (await world.execute(other, theirs)).execution.status is ExecutionStatus.SUCCEEDED


async def test_a_repeat_under_an_idempotency_key_counts_once(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await allow(world, admin, {Quota.PER_MINUTE: 1})
    for _ in range(3):
        executed = await world.execute(admin, view, idempotency_key="once")
    assert executed.replayed
    await refused(world.execute(admin, view, idempotency_key="twice"), Quota.PER_MINUTE, 1, 1)
    world.clock.now += timedelta(minutes=1)
    assert not (await world.execute(admin, view, idempotency_key="twice")).replayed


async def test_what_is_decided_for_nobody_is_the_platform_s_quota(world: World, admin: Caller) -> None:
    defaults = Quotas(plugins=5, executions_per_minute=9)
    assert defaults.with_overrides({Quota.PLUGINS: None, Quota.PER_DAY: 7}) == Quotas(None, None, 9, 7, None)
    await allow(world, admin, {Quota.PLUGINS: 1})
    assert admin.tenant_id is not None
    changed = await change_tenant(
        world.platform, OPERATOR, admin.tenant_id, Changes(reset=frozenset({Quota.PLUGINS, Quota.PER_DAY}))
    )
    assert changed.bounds.quotas == {}


def test_places_are_counted_for_themselves_and_windows_move_with_the_clock() -> None:
    tallies, quotas = Tallies(), Quotas(concurrent_executions=2, executions_per_minute=3, executions_per_day=4)
    now = datetime(2026, 5, 4, 23, 58, 59, tzinfo=UTC)
    first = tallies.take("t", quotas, now)
    tallies.take("t", quotas, now)
    with pytest.raises(Full, match="concurrent"):
        tallies.take("t", quotas, now)
    tallies.leave(first, now, happened=True)
    third = tallies.take("t", quotas, now)
    tallies.leave(third, now, happened=True)
    with pytest.raises(Full, match="Minute"):
        tallies.take("t", quotas, now)
    later = now + timedelta(seconds=1)
    tallies.leave(tallies.take("t", quotas, later), later, happened=True)
    with pytest.raises(Full, match="Day"):
        tallies.take("t", quotas, later)
    tomorrow = now + timedelta(minutes=2)
    assert tallies.at("t", tomorrow).in_day == 0
    tallies.leave(tallies.take("t", quotas, tomorrow), later, happened=False)
    assert tallies.at("t", tomorrow).in_day == 1, "a place of yesterday is not taken off today's count"


async def test_a_met_ceiling_of_the_tenant_says_whose_it_is(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    assert admin.tenant_id is not None
    await change_tenant(world.platform, OPERATOR, admin.tenant_id, Changes(ceilings=RequestedLimits(memory_mb=64)))
    for limit, named in ((64 << 20, True), (32 << 20, False)):
        failure = ExecutionFailure("out_of_memory", "too much", limit=limit, used=limit)
        world.executor.answer("greet", Outcome(ExecutionStatus.OUT_OF_MEMORY, None, failure, USED))
        error = (await world.execute(admin, view)).execution.error
        assert error is not None
        assert ("the tenant's ceiling" in error.message) is named
    assert world.executor.invocations[-1].limits.memory_bytes == 64 << 20


async def test_of_two_uploads_at_once_one_takes_the_last_place(world: World, admin: Caller) -> None:
    await allow(world, admin, {Quota.PLUGINS: 1})
    uploads = (world.upload(admin, manifest(name), code=name) for name in ("first", "second"))
    answers = await asyncio.gather(*uploads, return_exceptions=True)
    assert sorted(type(one).__name__ for one in answers) == ["QuotaExceeded", "Uploaded"]


async def test_ceilings_hold_for_what_is_loaded_at_upload(world: World, admin: Caller) -> None:
    assert admin.tenant_id is not None
    await change_tenant(world.platform, OPERATOR, admin.tenant_id, Changes(ceilings=RequestedLimits(memory_mb=64)))
    await world.upload(admin)
    limits, _ = world.executor.probed[-1]
    assert limits is not None
    assert limits.memory_bytes == 64 << 20
