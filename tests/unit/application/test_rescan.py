"""Stored versions are checked again when the rules are others; what is found is shown beside the report."""

from dataclasses import replace
from typing import Any

import pytest

from plugyard.application import quarantine, rescan
from plugyard.application.executable import Call
from plugyard.application.execute import execute
from plugyard.application.history import judged
from plugyard.application.marketplace import install_listing, publish
from plugyard.application.ports import PageRequest
from plugyard.application.upgrade import upgrade
from plugyard.domain.errors import Forbidden, GateUnavailable, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import PluginState
from plugyard.domain.report import Consequence, Finding, Severity
from tests.memory.world import World, manifest

LATER = Finding("code.miner", Severity.ERROR, "index.js", "names a pool", "why", "mend", 4, Consequence.QUARANTINE)
OPERATOR = Caller("key:operator", Role.OPERATOR, None)


def _find_from_now_on(world: World, digest: str, *findings: Finding) -> None:
    known = world.inspector.inspections[digest]
    report = known.report.with_findings(*findings)
    world.inspector.inspections[digest] = replace(known, report=report)
    world.inspector.rules_version = "rules-2"


async def test_nothing_is_checked_again_by_the_same_rules(world: World, admin: Caller) -> None:
    await world.upload(admin, activate=True)
    assert await rescan.rescan_next(world.platform) is None


async def test_a_later_finding_is_shown_with_the_installations_and_changes_nothing(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    _find_from_now_on(world, uploaded.version.digest, LATER)
    assert (await rescan.progress(world.platform, OPERATOR, PageRequest())).waiting == 1
    found = await rescan.rescan_next(world.platform)
    assert found is not None
    assert found.findings == (LATER,)
    assert await rescan.rescan_next(world.platform) is None
    seen = await judged(world.platform, admin, uploaded.view.plugin.id, None)
    assert seen.rescan == found
    assert seen.version.report.findings == ()
    progress = await rescan.progress(world.platform, OPERATOR, PageRequest())
    assert progress.waiting == 0
    (affected,) = progress.affected.items
    assert affected.installations == ((admin.tenant_id, uploaded.view.plugin.id, "active"),)
    assert world.store.tables.outbox[-1].type is EventType.VERSION_RESCANNED
    assert world.store.tables.audit[-1].detail["rules"] == ["code.miner"]


async def test_a_weighty_finding_suspends_where_the_operator_wants_it(world: World, admin: Caller) -> None:
    world.platform = replace(world.platform, policies=replace(world.platform.policies, rescan_suspends=True))
    uploaded = await world.upload(admin, activate=True)
    _find_from_now_on(world, uploaded.version.digest, LATER)
    await rescan.rescan_next(world.platform)
    plugin = world.store.tables.plugins[uploaded.view.plugin.id]
    assert plugin.state is PluginState.SUSPENDED
    assert "code.miner" in (plugin.suspended_because or "")


async def test_an_operators_demand_checks_everything_in_use_once(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    world.clock.forward(seconds=5)
    assert (await rescan.demand(world.platform, OPERATOR)).waiting == 1
    world.clock.forward(seconds=5)
    found = await rescan.rescan_next(world.platform)
    assert found is not None
    assert found.findings == ()
    assert found.version_id == uploaded.version.id
    assert await rescan.rescan_next(world.platform) is None
    with pytest.raises(Forbidden):
        await rescan.demand(world.platform, admin)


async def test_a_package_that_is_gone_is_a_finding(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    world.inspector.rules_version = "rules-2"
    for key in [key for key in world.objects.held if uploaded.version.digest in key and key.startswith("packages/")]:
        await world.objects.delete(key)
    found = await rescan.rescan_next(world.platform)
    assert found is not None
    assert [one.rule for one in found.findings] == ["gate.package-gone"]


async def test_a_check_that_ends_without_a_result_is_shown_and_holds_up_no_other(world: World, admin: Caller) -> None:
    world.platform = replace(world.platform, policies=replace(world.platform.policies, rescan_suspends=True))
    older = await world.upload(admin, manifest("older"), activate=True)
    world.clock.forward(seconds=1)
    uploaded = await world.upload(admin, activate=True)
    broken = Finding("gate.timeout", Severity.ERROR, "the package", "took long", "why", "mend", None, Consequence.BLOCK)
    _find_from_now_on(world, uploaded.version.digest, broken)
    first, second = [await rescan.rescan_next(world.platform) for _ in range(2)]
    assert first is not None
    assert (first.version_id, first.findings) == (uploaded.version.id, (broken,))
    assert second is not None
    assert second.version_id == older.version.id
    assert await rescan.rescan_next(world.platform) is None
    assert world.store.tables.plugins[uploaded.view.plugin.id].state is PluginState.ACTIVE


async def test_where_no_process_can_be_had_the_version_waits_on(world: World, admin: Caller) -> None:
    await world.upload(admin, activate=True)
    world.inspector.rules_version, world.inspector.failing = "rules-2", GateUnavailable()
    with pytest.raises(GateUnavailable):
        await rescan.rescan_next(world.platform)
    world.inspector.failing = None
    assert await rescan.rescan_next(world.platform) is not None


async def test_a_copy_from_the_marketplace_is_judged_by_its_publishers_report(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, findings=(LATER,), activate=True)
    await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "it is fine")
    await world.upload(admin, findings=(LATER,), activate=True)
    listing = await publish(world.platform, admin, uploaded.view.plugin.id, None)
    guest = await world.caller("guest")
    copy = await install_listing(world.platform, guest, listing.id, None, activate=True)
    assert await rescan.rescan_next(world.platform) is None
    world.inspector.rules_version = "rules-2"
    for _ in range(2):
        checked = await rescan.rescan_next(world.platform)
        assert checked is not None
        assert checked.findings == ()
    assert (await world.fetch(guest, copy.plugin.id)).plugin.state is PluginState.ACTIVE


async def test_a_plugin_that_moved_on_meanwhile_is_not_suspended(world: World, admin: Caller) -> None:
    world.platform = replace(world.platform, policies=replace(world.platform.policies, rescan_suspends=True))
    uploaded = await world.upload(admin, activate=True)
    await world.upload(admin, manifest(version="1.1.0"), code="second")
    _find_from_now_on(world, uploaded.version.digest, LATER)
    inspect = world.inspector.inspect

    async def inspect_while_it_moves(path: Any, *, digest: str, size: int) -> Any:
        if digest == uploaded.version.digest:
            await upgrade(world.platform, admin, uploaded.view.plugin.id, "1.1.0", None)
        return await inspect(path, digest=digest, size=size)

    world.inspector.inspect = inspect_while_it_moves  # type: ignore[method-assign]
    await rescan.rescan_next(world.platform)
    view = await world.fetch(admin, uploaded.view.plugin.id)
    assert (view.version.number, view.plugin.state) == ("1.1.0", PluginState.ACTIVE)
    told = world.store.tables.audit[-1]
    assert (told.action, told.detail["version"]) == ("version.rescanned", "1.0.0")


async def test_what_was_told_is_not_told_again(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    _find_from_now_on(world, uploaded.version.digest, LATER)
    await rescan.rescan_next(world.platform)
    world.inspector.rules_version = "rules-3"
    again = await rescan.rescan_next(world.platform)
    assert again is not None
    assert again.findings == (LATER,)
    assert [one.type for one in world.events].count(EventType.VERSION_RESCANNED) == 1


async def test_a_suspension_holds_for_the_next_execution(world: World, admin: Caller) -> None:
    world.platform = replace(world.platform, policies=replace(world.platform.policies, rescan_suspends=True))
    uploaded = await world.upload(admin, activate=True)
    await execute(world.platform, admin, uploaded.view.plugin.id, Call("greet"))
    _find_from_now_on(world, uploaded.version.digest, LATER)
    await rescan.rescan_next(world.platform)
    with pytest.raises(WrongState):
        await execute(world.platform, admin, uploaded.view.plugin.id, Call("greet"))


async def test_what_a_listing_offers_is_checked_though_its_publisher_moved_on(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    await publish(world.platform, admin, uploaded.view.plugin.id, None)
    await world.upload(admin, manifest(version="1.1.0"), code="second", activate=True)
    _find_from_now_on(world, uploaded.version.digest, LATER)
    checked = {one.version_id for one in [await rescan.rescan_next(world.platform) for _ in range(2)] if one}
    assert uploaded.version.id in checked
