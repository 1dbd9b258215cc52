"""Logs, metrics and health are folded from executions; a plugin that keeps failing is suspended."""

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from plugyard.application import observe
from plugyard.application.activate import activate, deactivate
from plugyard.application.marketplace import listing, publish
from plugyard.application.observe import check_all_health, check_health, logs, logs_after, metrics, suspend_if_failing
from plugyard.application.platform import Platform, Policies
from plugyard.application.ports import LogFilter, PageRequest
from plugyard.domain.errors import NotFound, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.execution import ExecutionStatus, LogLine, Usage
from plugyard.domain.health import HealthStatus, SuspensionRule
from plugyard.domain.identity import Caller
from plugyard.domain.plugin import PluginState, PluginView
from tests.memory.sandbox import failed, succeeded
from tests.memory.world import World, manifest

RULE = SuspensionRule(minimum=4, ratio=0.5, window_s=300)


@pytest.fixture
def strict(tmp_path: Path) -> World:
    """A platform that suspends after four executions of which more than half failed."""
    return World(tmp_path, Policies(suspension=RULE))


async def run(world: World, caller: Caller, view: PluginView, *, good: int = 0, bad: int = 0) -> None:
    world.executor.answer("greet", succeeded())
    for _ in range(good):
        await world.execute(caller, view)
    world.executor.answer("greet", failed())
    for _ in range(bad):
        await world.execute(caller, view)
    await world.quiet()


async def test_a_plugin_that_keeps_failing_is_suspended(strict: World) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    await run(strict, admin, view, good=1, bad=3)
    now = await strict.fetch(admin, view.plugin.id)
    assert now.plugin.state is PluginState.SUSPENDED
    assert now.plugin.suspended_because is not None
    assert now.plugin.suspended_because.startswith("3 of 4 executions failed")
    assert strict.events[-1].type is EventType.PLUGIN_ERROR_THRESHOLD_EXCEEDED
    assert strict.store.tables.audit[-1].actor == "service:health"
    assert view.plugin.id in strict.executor.forgotten
    with pytest.raises(WrongState):
        await strict.execute(admin, view)


@pytest.mark.parametrize(("good", "bad"), [(0, 3), (2, 2)])
async def test_too_few_or_not_enough_failures_suspend_nothing(strict: World, good: int, bad: int) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    await run(strict, admin, view, good=good, bad=bad)
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.ACTIVE


async def test_old_failures_do_not_suspend(strict: World) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    await run(strict, admin, view, bad=3)
    strict.clock.forward(seconds=RULE.window_s + 1)
    await run(strict, admin, view, bad=1)
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.ACTIVE


async def test_a_plugin_that_is_activated_again_has_a_second_chance(strict: World) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    await run(strict, admin, view, bad=4)
    strict.clock.forward(seconds=1)
    again = await activate(strict.platform, admin, view.plugin.id)
    assert again.plugin.suspended_because is None
    await run(strict, admin, view, bad=3)
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.ACTIVE
    await run(strict, admin, view, bad=1)
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.SUSPENDED


async def test_only_active_plugins_are_suspended_or_checked(strict: World) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    await run(strict, admin, view, bad=3)
    await deactivate(strict.platform, admin, view.plugin.id)
    for look in (suspend_if_failing, check_health):
        await look(strict.platform, view.plugin.tenant_id, view.plugin.id)
        await look(strict.platform, view.plugin.tenant_id, "no-such-id")
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.INACTIVE
    assert EventType.PLUGIN_HEALTH_CHECKED not in strict.event_types


async def test_a_check_writes_the_judgement_down(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await run(world, admin, view, good=9, bad=1)
    await check_health(world.platform, view.plugin.tenant_id, view.plugin.id)
    health = (await world.fetch(admin, view.plugin.id)).plugin.health
    assert (health.status, health.score, health.checked_at) == (HealthStatus.DEGRADED, 90, world.clock())
    assert world.events[-1].type is EventType.PLUGIN_HEALTH_CHECKED
    assert (world.events[-1].data["status"], world.events[-1].data["score"]) == ("degraded", 90)


async def test_a_listing_follows_its_publisher_s_health(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    published = await publish(world.platform, admin, view.plugin.id, None)
    assert published.health_score is None
    await run(world, admin, view, good=1)
    await check_health(world.platform, view.plugin.tenant_id, view.plugin.id)
    assert (await listing(world.platform, admin, published.id)).health_score == 100


async def test_every_plugin_that_ran_lately_is_checked(world: World, admin: Caller) -> None:
    ran = await world.active(admin)
    idle = await world.active(admin, manifest("idle"))
    await run(world, admin, ran, good=1)
    since = world.clock() - timedelta(minutes=1)
    assert await check_all_health(world.platform, ran_since=since) == 1
    assert (await world.fetch(admin, ran.plugin.id)).plugin.health.score == 100
    assert (await world.fetch(admin, idle.plugin.id)).plugin.health.score is None
    world.clock.forward(minutes=5)
    assert await check_all_health(world.platform, ran_since=world.clock() - timedelta(minutes=1)) == 0


async def test_metrics_aggregate_a_window_and_judge_the_present(world: World, admin: Caller) -> None:
    view = await world.active(admin, exports=("greet", "wave"))
    for wall in (1.0, 2.0, 9.0):
        world.executor.answer("greet", succeeded(usage=Usage(wall, 0.5, 100, 0, "warm")))
        await world.execute(admin, view)
    world.executor.answer("wave", failed(ExecutionStatus.TIMED_OUT))
    await world.execute(admin, view, "wave")
    found, health = await metrics(world.platform, admin, view.plugin.id, None, world.clock() + timedelta(seconds=1))
    assert found.by_status == {ExecutionStatus.SUCCEEDED: 3, ExecutionStatus.TIMED_OUT: 1}
    assert found.by_function == {"greet": 3, "wave": 1}
    assert found.wall_ms["max"] == 9.0
    assert found.wall_ms["p50"] == 1.75
    assert found.since == found.until - timedelta(days=1)
    assert health.score == 63


async def test_metrics_of_a_window_without_executions_are_empty(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    since = world.clock() - timedelta(hours=2)
    found, health = await metrics(world.platform, admin, view.plugin.id, since, None)
    assert (found.by_status, found.wall_ms["p99"], found.cpu_ms_mean, found.since) == ({}, None, None, since)
    assert health.status is HealthStatus.UNKNOWN


async def test_logs_come_newest_first_and_follow_oldest_first(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    lines = tuple(LogLine(world.clock(), level, f"line {level}", {}) for level in ("debug", "info", "error"))
    world.executor.answer("greet", succeeded(logs=lines))
    await world.execute(admin, view)
    page = await logs(world.platform, admin, view.plugin.id, LogFilter(level="info"), PageRequest())
    assert [row.line.level for row in page.items] == ["error", "info"]
    (newest,) = (await logs_after(world.platform, admin, view.plugin.id, LogFilter(), None)).lines
    assert newest.line.level == "error"
    await world.execute(admin, view)
    behind = await logs_after(world.platform, admin, view.plugin.id, LogFilter(), newest.id)
    assert [row.line.level for row in behind.lines] == ["debug", "info", "error"]


async def test_another_tenant_s_logs_and_metrics_are_missing(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin)).plugin.id
    stranger = await world.caller("other")
    with pytest.raises(NotFound):
        await logs(world.platform, stranger, plugin_id, LogFilter(), PageRequest())
    with pytest.raises(NotFound):
        await logs_after(world.platform, stranger, plugin_id, LogFilter(), None)
    with pytest.raises(NotFound):
        await metrics(world.platform, stranger, plugin_id, None, None)


async def test_a_plugin_that_fails_at_a_high_rate_has_one_check_at_a_time(
    strict: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    strict.executor.answer("greet", failed())
    real, checks, most = observe.suspend_if_failing, [0, 0], [0]

    async def counted(platform: Platform, tenant_id: str, plugin_id: str) -> None:
        checks[0] += 1
        checks[1] += 1
        most[0] = max(most[0], checks[1])
        await real(platform, tenant_id, plugin_id)
        checks[1] -= 1

    monkeypatch.setattr(observe, "suspend_if_failing", counted)
    await asyncio.gather(*(strict.execute(admin, view) for _ in range(40)))
    await strict.quiet()
    assert most == [1]
    assert checks[0] < 40
    assert strict.platform.watched == {}
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.SUSPENDED


async def test_a_check_that_could_not_be_made_stands_in_nobody_s_way(strict: World) -> None:
    admin = await strict.caller()
    view = await strict.active(admin)
    await run(strict, admin, view, bad=3)
    strict.executor.answer("greet", failed())
    await strict.execute(admin, view)
    strict.store.available = False
    await strict.quiet()
    assert strict.platform.watched == {}
    strict.store.available = True
    await strict.execute(admin, view)
    await strict.quiet()
    assert (await strict.fetch(admin, view.plugin.id)).plugin.state is PluginState.SUSPENDED
