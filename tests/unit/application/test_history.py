"""What there is and what there was, for its own tenant alone; and how a running execution is ended."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application import audit, history
from plugyard.application.ports import (
    AuditFilter,
    ExecutionFilter,
    Invocation,
    Outcome,
    PageRequest,
    PluginFilter,
)
from plugyard.application.uninstall import uninstall
from plugyard.domain.errors import Conflict, InvalidInput, NotFound
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Caller
from plugyard.domain.manifest import Runtime
from plugyard.domain.plugin import PluginState
from tests.memory.sandbox import failed, succeeded
from tests.memory.world import World, manifest

FIRST = PageRequest()


async def test_a_plugin_is_shown_with_its_resolved_dependencies(world: World, admin: Caller) -> None:
    await world.active(admin, manifest("tax"))
    view = await world.active(admin, manifest(dependencies={"plugins": {"tax": "^1.0.0"}}))
    found, resolved = await history.plugin(world.platform, admin, view.plugin.id)
    assert found == view
    assert [(one.name, one.resolved_version) for one in resolved] == [("tax", "1.0.0")]


async def test_plugins_are_listed_with_filters_and_cursors(world: World, admin: Caller) -> None:
    for number, name in enumerate(("alpha", "beta", "gamma")):
        security = {"permissions": ["cache"]} if number else {}
        await world.upload(admin, manifest(name, runtime="python" if number == 2 else "javascript", security=security))
        world.clock.forward(seconds=1)

    async def names(page: PageRequest = FIRST, **filters: object) -> list[str]:
        found = await history.plugins(world.platform, admin, PluginFilter(**filters), page)  # type: ignore[arg-type]
        return [view.plugin.name for view in found.items]

    assert await names() == ["gamma", "beta", "alpha"]
    assert await names(sort="name") == ["alpha", "beta", "gamma"]
    assert await names(runtime=Runtime.PYTHON) == ["gamma"]
    assert await names(permission="cache", sort="updatedAt") == ["beta", "gamma"]
    assert await names(q="alpha GREETS") == ["alpha"]
    assert await names(author="Ada", category="utility", status=PluginState.ACTIVE) == []
    page = await history.plugins(world.platform, admin, PluginFilter(), PageRequest(2))
    assert await names(PageRequest(2, page.next_cursor)) == ["alpha"]
    for wrong in (PageRequest(2, "rubbish"), PageRequest(2, "bnVsbA")):
        with pytest.raises(InvalidInput):
            await names(wrong)
    with pytest.raises(InvalidInput):
        await names(sort="colour")


async def test_an_uninstalled_plugin_is_listed_only_where_it_is_asked_for(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await uninstall(world.platform, admin, view.plugin.id)
    assert (await history.plugins(world.platform, admin, PluginFilter(), FIRST)).items == ()
    (gone,) = (await history.plugins(world.platform, admin, PluginFilter(status=PluginState.UNINSTALLED), FIRST)).items
    assert gone.plugin.id == view.plugin.id
    assert (await history.plugin(world.platform, admin, view.plugin.id))[0].plugin.state is PluginState.UNINSTALLED


async def test_versions_come_highest_first_with_their_reports(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    for number in ("1.10.0", "1.9.0", "2.0.0-rc.1"):
        await world.upload(admin, manifest(version=number))
    page = await history.versions(world.platform, admin, view.plugin.id, PageRequest(3))
    assert [one.number for one in page.items] == ["2.0.0-rc.1", "1.10.0", "1.9.0"]
    rest = await history.versions(world.platform, admin, view.plugin.id, PageRequest(3, page.next_cursor))
    assert [one.number for one in rest.items] == ["1.0.0"]
    assert (await history.version(world.platform, admin, view.plugin.id, None)).id == view.version.id
    assert (await history.version(world.platform, admin, view.plugin.id, "1.9.0")).report.digest
    with pytest.raises(NotFound, match="no version 9"):
        await history.version(world.platform, admin, view.plugin.id, "9")


async def test_executions_are_listed_newest_first(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    ids = [(await world.execute(admin, view)).execution.id]
    world.clock.forward(minutes=1)
    world.executor.answer("greet", failed())
    ids.append((await world.execute(admin, view)).execution.id)

    async def listed(**filters: object) -> list[str]:
        wanted = ExecutionFilter(**filters)  # type: ignore[arg-type]
        page = await history.executions(world.platform, admin, view.plugin.id, wanted, FIRST)
        return [one.id for one in page.items]

    assert await listed() == ids[::-1]
    assert await listed(status=ExecutionStatus.FAILED) == ids[1:]
    assert await listed(until=world.clock()) == ids[:1]
    assert await listed(since=world.clock(), function="greet", version="1.0.0") == ids[1:]
    assert await listed(since=world.clock() + timedelta(seconds=1)) == []


async def test_another_tenant_s_things_are_missing(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    done = await world.execute(admin, view)
    stranger, platform = await world.caller("other"), world.platform
    for attempt in (
        history.plugin(platform, stranger, view.plugin.id),
        history.versions(platform, stranger, view.plugin.id, FIRST),
        history.version(platform, stranger, view.plugin.id, None),
        history.executions(platform, stranger, view.plugin.id, ExecutionFilter(), FIRST),
        history.execution(platform, stranger, done.execution.id),
        history.cancel(platform, stranger, done.execution.id),
    ):
        with pytest.raises(NotFound):
            await attempt
    assert (await history.plugins(platform, stranger, PluginFilter(), FIRST)).items == ()
    assert (await audit.entries(platform, stranger, AuditFilter(), FIRST)).items == ()


async def test_a_running_execution_is_seen_and_cancelled(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait(invocation: Invocation) -> Outcome:
        world.executor.cancellable.add(invocation.execution_id)
        began.set()
        await go_on.wait()
        return failed(ExecutionStatus.CANCELLED)

    world.executor.scripts["greet"] = wait
    task = asyncio.create_task(world.execute(admin, view))
    await began.wait()
    running = ExecutionFilter(status=ExecutionStatus.RUNNING)
    (one,) = (await history.executions(world.platform, admin, view.plugin.id, running, FIRST)).items
    for other in (
        replace(running, function="wave"),
        replace(running, version="2.0.0"),
        replace(running, until=world.clock()),
        replace(running, since=world.clock() + timedelta(seconds=1)),
    ):
        assert (await history.executions(world.platform, admin, view.plugin.id, other, FIRST)).items == ()
    assert await history.execution(world.platform, admin, one.id) == one
    stranger = await world.caller("other")
    with pytest.raises(NotFound):
        await history.cancel(world.platform, stranger, one.id)
    assert await history.cancel(world.platform, admin, one.id) == one
    go_on.set()
    assert (await task).execution.status is ExecutionStatus.CANCELLED
    with pytest.raises(Conflict, match="has ended: cancelled"):
        await history.cancel(world.platform, admin, one.id)


async def test_an_execution_that_ended_is_kept(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b"1"))
    done = await world.execute(admin, view)
    assert await history.execution(world.platform, admin, done.execution.id) == done.execution


async def test_the_trail_shows_who_did_what_newest_first(world: World, admin: Caller) -> None:
    await world.active(admin)
    page = await audit.entries(world.platform, admin, AuditFilter(), PageRequest(2))
    assert [entry.action for entry in page.items] == ["plugin.activated", "plugin.installed"]
    assert {entry.actor for entry in page.items} == {admin.actor}
    assert page.next_cursor is not None
