"""Stored versions are checked again when the rules are others; what is found is shown beside the report."""

from dataclasses import replace
from typing import Any

import pytest

from plugyard.application import rescan
from plugyard.application.history import judged
from plugyard.application.ports import PageRequest
from plugyard.domain.errors import Forbidden, GateUnavailable
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import PluginState
from plugyard.domain.report import Consequence, Finding, Severity
from tests.memory.world import World

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


async def test_a_check_that_could_not_run_is_tried_again(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    broken = Finding("gate.timeout", Severity.ERROR, "the package", "took long", "why", "mend", None, Consequence.BLOCK)
    known: Any = world.inspector.inspections[uploaded.version.digest]
    _find_from_now_on(world, uploaded.version.digest, broken)
    with pytest.raises(GateUnavailable):
        await rescan.rescan_next(world.platform)
    world.inspector.inspections[uploaded.version.digest] = known
    assert await rescan.rescan_next(world.platform) is not None
