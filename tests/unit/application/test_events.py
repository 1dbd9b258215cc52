"""Every event that the service can send is sent by some use case, in the transaction of what it tells of."""

from dataclasses import replace
from pathlib import Path

import pytest

from plugyard.application import quarantine
from plugyard.application.activate import activate, deactivate
from plugyard.application.configure import configure
from plugyard.application.consent import consent, decline
from plugyard.application.marketplace import install_listing, publish, rate, withdraw
from plugyard.application.observe import check_health
from plugyard.application.platform import Policies
from plugyard.application.publish import Published
from plugyard.application.publish import publish as publish_event
from plugyard.application.rescan import rescan_next
from plugyard.application.rights import drop_rights
from plugyard.application.uninstall import uninstall
from plugyard.application.upgrade import ConsentRequired, rollback, upgrade
from plugyard.domain.events import EventType
from plugyard.domain.execution import Violation
from plugyard.domain.health import SuspensionRule
from plugyard.domain.identity import Caller, Role
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import Plugin, PluginState
from plugyard.domain.report import Consequence, Finding, Severity
from plugyard.domain.rights import Right
from tests.memory.chance import START
from tests.memory.sandbox import failed, succeeded
from tests.memory.transaction import MemoryTransaction
from tests.memory.world import World, manifest

# What no use case sends, and why.
NOT_SENT: dict[EventType, str] = {}


async def a_whole_life(folder: Path) -> World:
    """A platform on which all has happened to a plugin that can."""
    world = World(folder, Policies(suspension=SuspensionRule(minimum=3, ratio=0.5, window_s=300)))
    admin, guest = await world.caller(), await world.caller("guest")
    platform = world.platform
    document = manifest(configuration={"type": "object", "properties": {"a": {}}})
    plugin_id = (await world.active(admin, document)).plugin.id
    await configure(platform, admin, plugin_id, {"a": 1})
    await world.upload(admin, manifest(version="1.1.0"))
    await upgrade(platform, admin, plugin_id, None, None)
    await rollback(platform, admin, plugin_id, None)
    await world.upload(admin, manifest(version="1.2.0", security={"permissions": ["database", "events"]}))
    with pytest.raises(ConsentRequired):
        await upgrade(platform, admin, plugin_id, "1.2.0", None)
    await decline(platform, admin, plugin_id, "1.2.0", "not needed")
    await consent(platform, admin, plugin_id, "1.2.0", None)
    await drop_rights(platform, admin, plugin_id, [Right(Service.EVENTS)])
    await rollback(platform, admin, plugin_id, None)
    listing = await publish(platform, admin, plugin_id, None)
    await install_listing(platform, guest, listing.id, None, activate=True)
    await rate(platform, guest, listing.id, 5, "good")
    await withdraw(platform, admin, plugin_id)
    world.executor.answer("greet", succeeded())
    view = await world.fetch(admin, plugin_id)
    await world.execute(admin, view)
    await publish_event(platform, view.plugin.tenant_id, plugin_id, "e", Published("a.b", {"c": 1}, 1))
    await check_health(platform, view.plugin.tenant_id, plugin_id)
    world.executor.answer("greet", failed(violations=(Violation("service_denied", "network"),)))
    await world.execute(admin, view)
    await world.execute(admin, view)
    await world.quiet()
    await activate(platform, admin, plugin_id)
    await deactivate(platform, admin, plugin_id)
    await uninstall(platform, admin, plugin_id)
    await _suspected(world, admin)
    return world


async def _suspected(world: World, admin: Caller) -> None:
    """A plugin of the same name whose only version is suspicious, refused, released, and found out later."""
    finding = Finding("code.eval", Severity.ERROR, "index.js", "what", "why", "mend", 1, Consequence.QUARANTINE)
    uploaded = await world.upload(admin, manifest(version="2.0.0"), findings=(finding,), code="suspicious")
    operator = replace(admin, role=Role.OPERATOR, actor="key:operator")
    await quarantine.refuse(world.platform, operator, uploaded.version.id, "it looks bad")
    await quarantine.release(world.platform, operator, uploaded.version.id, "it is not")
    known = world.inspector.inspections[uploaded.version.digest]
    later = replace(finding, rule="code.miner")
    world.inspector.inspections[uploaded.version.digest] = replace(known, report=known.report.with_findings(later))
    world.inspector.rules_version = "rules-2"
    while await rescan_next(world.platform):
        pass


async def test_every_event_is_sent_or_listed_with_the_reason_why_not(tmp_path: Path) -> None:
    world = await a_whole_life(tmp_path)
    sent = set(world.event_types)
    assert sent | set(NOT_SENT) == set(EventType)
    assert sent & set(NOT_SENT) == set()


async def test_every_event_names_the_plugin_and_its_state(tmp_path: Path) -> None:
    world = await a_whole_life(tmp_path)
    assert len({event.id for event in world.events}) == len(world.events)
    for event in world.events:
        assert event.data["name"] == "greeter"
        assert event.data["state"] in set(PluginState)


def test_a_rejection_is_a_transition_of_the_domain() -> None:
    plugin = Plugin("p", "t", "greeter", PluginState.PENDING, "v", START, START)
    assert plugin.rejected(START)[1] is EventType.PLUGIN_REJECTED


async def test_an_event_exists_only_when_its_row_does(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    admin = await world.caller()
    plugin_id = (await world.upload(admin)).view.plugin.id
    rows = world.store.tables.copy()

    async def fails(*_: object) -> None:
        raise ConnectionError

    # The audit entry is the last thing written; when it fails, row and event go with it.
    monkeypatch.setattr(MemoryTransaction, "audit", fails)
    with pytest.raises(ConnectionError):
        await activate(world.platform, admin, plugin_id)
    assert world.store.tables == rows
