"""A suspicious version waits for an operator; what was good before goes on."""

from dataclasses import replace
from typing import Any

import pytest

from plugyard.application import quarantine
from plugyard.application.activate import activate
from plugyard.application.executable import Call
from plugyard.application.execute import execute
from plugyard.application.history import judged
from plugyard.application.install import install
from plugyard.application.marketplace import install_listing, publish
from plugyard.application.ports import PageRequest, StandingFilter
from plugyard.application.upgrade import rollback, upgrade
from plugyard.application.upload import Uploaded
from plugyard.domain.errors import (
    Conflict,
    Forbidden,
    NotFound,
    StoreUnavailable,
    VersionQuarantined,
    WrongState,
)
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import PluginState
from plugyard.domain.report import Consequence, Finding, Severity
from plugyard.domain.standing import StandingState
from tests.memory.world import World, manifest

SUSPICIOUS = Finding(
    "code.eval", Severity.WARNING, "index.js", "calls eval", "it could", "do not", 3, Consequence.QUARANTINE
)
OPERATOR = Caller("key:operator", Role.OPERATOR, None, "request-9")


async def _suspicious(world: World, admin: Caller, version: str = "1.0.0", name: str = "greeter") -> Uploaded:
    return await world.upload(admin, manifest(name, version), findings=(SUSPICIOUS,), activate=True)


async def test_a_suspicious_package_is_kept_and_nothing_of_it_can_be_used(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    plugin = uploaded.view.plugin
    assert plugin.state is PluginState.QUARANTINED
    assert uploaded.standing is not None
    assert uploaded.standing.state is StandingState.QUARANTINED
    assert "in quarantine" in (uploaded.not_activated or "")
    with pytest.raises(WrongState):
        await install(world.platform, admin, plugin.id, None)
    with pytest.raises(WrongState):
        await execute(world.platform, admin, plugin.id, Call("greet"))
    with pytest.raises(WrongState):
        await publish(world.platform, admin, plugin.id, None)


async def test_a_good_version_goes_on_while_a_suspicious_one_waits(world: World, admin: Caller) -> None:
    plugin = (await world.upload(admin, activate=True)).view.plugin
    uploaded = await _suspicious(world, admin, "1.1.0")
    assert uploaded.view.plugin.state is PluginState.ACTIVE
    assert uploaded.view.version.number == "1.0.0"
    assert (await execute(world.platform, admin, plugin.id, Call("greet"))).execution.version == "1.0.0"
    with pytest.raises(VersionQuarantined, match=r"1\.1\.0 is in quarantine"):
        await upgrade(world.platform, admin, plugin.id, "1.1.0", None)
    with pytest.raises(VersionQuarantined):
        await publish(world.platform, admin, plugin.id, "1.1.0")
    with pytest.raises(Conflict, match="nothing to upgrade to"):
        await upgrade(world.platform, admin, plugin.id, None, None)


async def test_the_same_bytes_have_the_same_standing(world: World, admin: Caller) -> None:
    first = await _suspicious(world, admin)
    again = await _suspicious(world, admin)
    assert not again.created
    assert again.standing == first.standing
    assert again.view.plugin.state is PluginState.QUARANTINED


async def test_an_operator_releases_and_the_plugin_goes_on(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    waiting = await quarantine.suspects(
        world.platform, OPERATOR, StandingFilter(StandingState.QUARANTINED), PageRequest()
    )
    assert [one.version_id for one in waiting.items] == [uploaded.version.id]
    found = await quarantine.suspect(world.platform, OPERATOR, uploaded.version.id)
    assert found.version.report.findings == (SUSPICIOUS,)
    released = await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "a template engine")
    assert (released.state, released.reason, released.decided_by) == (
        StandingState.RELEASED,
        "a template engine",
        "key:operator",
    )
    view = await install(world.platform, admin, uploaded.view.plugin.id, None)
    assert view.plugin.state is PluginState.INSTALLED
    seen = await judged(world.platform, admin, uploaded.view.plugin.id, None)
    assert seen.standing is not None
    assert seen.standing.reason == "a template engine"


async def test_a_refused_version_rejects_its_plugin_until_a_good_one_comes(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    await quarantine.refuse(world.platform, OPERATOR, uploaded.version.id, "it leaks")
    again = await _suspicious(world, admin)
    assert again.view.plugin.state is PluginState.REJECTED
    assert "refused by an operator: it leaks" in (again.not_activated or "")
    good = await world.upload(admin, manifest(version="1.1.0"), activate=True)
    assert good.view.plugin.state is PluginState.ACTIVE
    assert good.view.version.number == "1.1.0"


async def test_a_word_can_be_changed_but_not_given_twice(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    await quarantine.refuse(world.platform, OPERATOR, uploaded.version.id, "it leaks")
    with pytest.raises(Conflict, match="refused already"):
        await quarantine.refuse(world.platform, OPERATOR, uploaded.version.id, "again")
    released = await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "it was a mistake")
    assert not released.blocks


async def test_every_step_is_an_event_and_an_entry_of_the_tenants_trail(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "fine")
    types = [event.type for event in world.store.tables.outbox]
    assert types == [
        EventType.PLUGIN_UPLOADED,
        EventType.PLUGIN_QUARANTINED,
        EventType.VERSION_QUARANTINED,
        EventType.VERSION_RELEASED,
        EventType.PLUGIN_VALIDATED,
    ]
    decided = next(entry for entry in world.store.tables.audit if entry.action == "version.released")
    assert (decided.actor, decided.tenant_id) == ("key:operator", admin.tenant_id)
    assert decided.detail["reason"] == "fine"


async def test_only_operators_see_the_quarantine(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    with pytest.raises(Forbidden):
        await quarantine.suspects(world.platform, admin, StandingFilter(StandingState.QUARANTINED), PageRequest())
    with pytest.raises(Forbidden):
        await quarantine.release(world.platform, admin, uploaded.version.id, "mine")
    with pytest.raises(NotFound):
        await quarantine.suspect(world.platform, OPERATOR, "no-such-version")


async def test_an_operator_gets_the_bytes(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    standing, data = await quarantine.package(world.platform, OPERATOR, uploaded.version.id)
    assert standing.digest == uploaded.version.digest
    assert data


async def test_a_version_that_was_never_suspicious_has_no_standing(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    assert uploaded.standing is None
    assert replace(uploaded.version.report, findings=()).suspicious is False


async def test_refusing_a_version_in_use_stops_it_wherever_it_runs(world: World, admin: Caller) -> None:
    uploaded = await _suspicious(world, admin)
    plugin_id = uploaded.view.plugin.id
    await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "fine")
    await _suspicious(world, admin)
    listing = await publish(world.platform, admin, plugin_id, None)
    guest, late = await world.caller("guest"), await world.caller("late")
    copy = await install_listing(world.platform, guest, listing.id, None, activate=True)
    await execute(world.platform, admin, plugin_id, Call("greet"))
    await execute(world.platform, guest, copy.plugin.id, Call("greet"))
    await quarantine.refuse(world.platform, OPERATOR, uploaded.version.id, "it leaks after all")
    for caller, one in ((admin, plugin_id), (guest, copy.plugin.id)):
        view = await world.fetch(caller, one)
        assert view.plugin.state is PluginState.SUSPENDED
        assert "it leaks after all" in (view.plugin.suspended_because or "")
        with pytest.raises(WrongState):
            await execute(world.platform, caller, one, Call("greet"))
        with pytest.raises(VersionQuarantined):
            await activate(world.platform, caller, one)
    with pytest.raises(NotFound):
        await install_listing(world.platform, late, listing.id, None, activate=True)
    await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "it does not")
    for caller, one in ((admin, plugin_id), (guest, copy.plugin.id)):
        assert (await activate(world.platform, caller, one)).plugin.state is PluginState.ACTIVE


async def test_what_is_installed_while_it_is_being_refused_is_refused_too(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded = await _suspicious(world, admin)
    await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "fine")
    await install(world.platform, admin, uploaded.view.plugin.id, None)
    await activate(world.platform, admin, uploaded.view.plugin.id)
    listing = await publish(world.platform, admin, uploaded.view.plugin.id, None)
    late, copies = await world.caller("late"), []
    write = quarantine._write_word

    async def after_an_install(*word: Any) -> None:
        if not copies:
            copies.append(await install_listing(world.platform, late, listing.id, None, activate=True))
        await write(*word)

    monkeypatch.setattr(quarantine, "_write_word", after_an_install)
    await quarantine.refuse(world.platform, OPERATOR, uploaded.version.id, "it leaks after all")
    view = await world.fetch(late, copies[0].plugin.id)
    assert view.plugin.state is PluginState.SUSPENDED
    with pytest.raises(VersionQuarantined):
        await activate(world.platform, late, view.plugin.id)


async def test_releasing_touches_nobody_who_was_never_kept_from_it(world: World, admin: Caller) -> None:
    guest = await world.caller("guest")
    theirs = await world.upload(guest, activate=True)
    uploaded = await _suspicious(world, admin)
    await quarantine.release(world.platform, OPERATOR, uploaded.version.id, "fine")
    assert (await world.fetch(guest, theirs.view.plugin.id)).plugin.state is PluginState.ACTIVE
    assert (await judged(world.platform, guest, theirs.view.plugin.id, None)).standing is None


async def _installed_elsewhere(world: World, admin: Caller) -> tuple[Uploaded, Caller, str]:
    """A version that was released and published, and a tenant that went on from it to the next one."""
    first = await _suspicious(world, admin)
    await quarantine.release(world.platform, OPERATOR, first.version.id, "fine")
    plugin_id = first.view.plugin.id
    await install(world.platform, admin, plugin_id, None)
    await activate(world.platform, admin, plugin_id)
    listing = await publish(world.platform, admin, plugin_id, None)
    guest = Caller("key:guest", Role.ADMIN, (await world.tenant("guests")).id, "request-8")
    copy = await install_listing(world.platform, guest, listing.id, None, activate=True)
    await world.upload(admin, manifest(version="1.1.0"), activate=True)
    await publish(world.platform, admin, plugin_id, None)
    await upgrade(world.platform, guest, copy.plugin.id, None, None)
    return first, guest, copy.plugin.id


async def test_what_is_refused_comes_back_by_no_rollback_elsewhere(world: World, admin: Caller) -> None:
    first, guest, copy_id = await _installed_elsewhere(world, admin)
    await quarantine.refuse(world.platform, OPERATOR, first.version.id, "it leaks")
    for caller, plugin_id in ((guest, copy_id), (admin, first.view.plugin.id)):
        with pytest.raises(VersionQuarantined, match="it leaks"):
            await rollback(world.platform, caller, plugin_id, "1.0.0")
        # What they use now is another version, and goes on.
        assert (await execute(world.platform, caller, plugin_id, Call("greet"))).execution.version == "1.1.0"


async def test_a_refusal_that_breaks_off_can_be_said_again(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, guest, copy_id = await _installed_elsewhere(world, admin)
    await rollback(world.platform, guest, copy_id, "1.0.0")
    write = quarantine._write_word

    async def breaks_off(platform: Any, caller: Caller, word: Any, plugin_id: str) -> None:
        if word.version_id == first.version.id:
            raise StoreUnavailable
        await write(platform, caller, word, plugin_id)

    monkeypatch.setattr(quarantine, "_write_word", breaks_off)
    with pytest.raises(StoreUnavailable):
        await quarantine.refuse(world.platform, OPERATOR, first.version.id, "it leaks")
    monkeypatch.setattr(quarantine, "_write_word", write)
    await quarantine.refuse(world.platform, OPERATOR, first.version.id, "it leaks")
    with pytest.raises(WrongState):
        await execute(world.platform, guest, copy_id, Call("greet"))
    with pytest.raises(VersionQuarantined):
        await rollback(world.platform, admin, first.view.plugin.id, "1.0.0")
