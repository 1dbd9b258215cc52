"""What schedules have due is queued once, for the version and the state that a plugin has then."""

import json
from datetime import timedelta
from typing import Any

import pytest

from plugyard.application.activate import activate, deactivate
from plugyard.application.enqueue import enqueue
from plugyard.application.executable import Call
from plugyard.application.schedules import run_due
from plugyard.application.upgrade import upgrade
from plugyard.domain.identity import Caller
from plugyard.domain.plugin import PluginView
from tests.memory.world import World, manifest


async def scheduled(world: World, caller: Caller, version: str = "1.0.0", **more: Any) -> PluginView:
    entry = {"cron": "*/10 * * * *", "function": "greet", **more}
    return await world.active(caller, manifest(version=version, schedules=[entry]))


async def pass_time(world: World, **how_long: float) -> list[dict[str, Any]]:
    """Look at schedules every second for a while; the inputs of what was queued."""
    before = set(world.store.tables.queued)
    end = world.clock() + timedelta(**how_long)
    while world.clock() < end:
        await run_due(world.platform)
        world.clock.forward(seconds=15)
    await run_due(world.platform)
    return [json.loads(one.input or "") for key, one in world.store.tables.queued.items() if key not in before]


async def test_each_due_time_has_one_run_with_the_time_that_was_due(world: World, admin: Caller) -> None:
    await scheduled(world, admin)
    found = await pass_time(world, minutes=40)
    assert len(found) == 4
    assert all(one["scheduledAt"][14:16] in ("00", "10", "20", "30", "40", "50") for one in found)
    await world.work()
    assert {one.function for one in world.executor.invocations} == {"greet"}
    assert {one.actor for one in world.store.tables.executions.values()} == {"schedule"}


async def test_a_schedule_has_an_input_of_its_own(world: World, admin: Caller) -> None:
    await scheduled(world, admin, input={"report": "daily"})
    assert await pass_time(world, minutes=11) == [{"report": "daily"}]


@pytest.mark.parametrize(("missed", "runs"), [({}, 0), ({"missed": "skip"}, 0), ({"missed": "runOnce"}, 1)])
async def test_times_at_which_nobody_looked_are_skipped_or_run_once(
    world: World, admin: Caller, missed: dict[str, str], runs: int
) -> None:
    await scheduled(world, admin, **missed)
    await run_due(world.platform)
    world.clock.forward(hours=5, minutes=3)
    await run_due(world.platform)
    assert len(world.store.tables.queued) == runs
    assert len(await pass_time(world, minutes=20)) == 2


async def test_a_plugin_that_is_deactivated_has_none_and_none_is_made_up_for(world: World, admin: Caller) -> None:
    view = await scheduled(world, admin, missed="runOnce")
    await run_due(world.platform)
    await deactivate(world.platform, admin, view.plugin.id)
    assert await pass_time(world, hours=1) == []
    await activate(world.platform, admin, view.plugin.id)
    assert len(await pass_time(world, minutes=20)) == 2


async def test_an_upgrade_changes_them_at_once(world: World, admin: Caller) -> None:
    view = await scheduled(world, admin)
    await run_due(world.platform)
    entry = {"cron": "0 * * * *", "function": "greet", "input": {"new": True}}
    await world.upload(admin, manifest(version="1.1.0", schedules=[entry]), code="second")
    await upgrade(world.platform, admin, view.plugin.id, "1.1.0", None)
    assert await pass_time(world, hours=2) == [{"new": True}] * 2


async def test_the_jitter_delays_a_run_and_never_the_next_time(world: World, admin: Caller) -> None:
    await scheduled(world, admin, jitterS=300)
    await pass_time(world, minutes=30)
    entries = list(world.store.tables.queued.values())
    assert len(entries) == 3
    delays = [(one.due_at - one.queued_at).total_seconds() for one in entries]
    assert all(0 <= delay < 300 for delay in delays)
    assert max(delays) > 15


@pytest.mark.parametrize(("missed", "runs"), [("skip", 0), ("runOnce", 1)])
async def test_a_time_that_finds_the_queue_full_is_a_missed_one(
    world: World, admin: Caller, missed: str, runs: int
) -> None:
    object.__setattr__(world.platform.policies, "queued_per_tenant", 1)
    view = await scheduled(world, admin, missed=missed)
    other = await world.caller("other")
    theirs = await scheduled(world, other)
    await run_due(world.platform)
    await enqueue(world.platform, admin, view.plugin.id, Call("greet", b"1"))
    while not any(one.plugin_id == theirs.plugin.id for one in world.store.tables.queued.values()):
        world.clock.forward(seconds=15)
        await run_due(world.platform)
    waiting = [one for one in world.store.tables.queued.values() if one.plugin_id == view.plugin.id]
    assert [one.call.origin for one in waiting] == ["call"]
    # There is room again long before the next time.
    world.store.tables.queued.clear()
    assert len(await pass_time(world, minutes=5)) == runs
