"""Whether a plugin may execute: activated, deactivated, uninstalled, and never against those that need it."""

import pytest

from plugyard.application.activate import ConfigurationIncomplete, activate, deactivate
from plugyard.application.configure import configure
from plugyard.application.uninstall import uninstall
from plugyard.domain.errors import DependencyConflict, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller
from plugyard.domain.plugin import PluginState
from tests.memory.world import World, manifest

NEEDS_URL = {
    "type": "object",
    "required": ["url", "token"],
    "properties": {"url": {"type": "string"}, "token": {"type": "string", "writeOnly": True}, "n": {"default": 3}},
}


async def test_an_installed_plugin_is_activated_and_leaves_its_trail(world: World, admin: Caller) -> None:
    plugin_id = (await world.upload(admin)).view.plugin.id
    view = await activate(world.platform, admin, plugin_id)
    assert (view.plugin.state, view.plugin.activated_at) == (PluginState.ACTIVE, world.clock())
    assert world.events[-1].type is EventType.PLUGIN_ACTIVATED
    entry = world.store.tables.audit[-1]
    assert (entry.action, entry.target, entry.actor, entry.request_id) == (
        "plugin.activated",
        plugin_id,
        "key:admin",
        "request-1",
    )


async def test_a_configuration_that_lacks_something_stops_the_activation(world: World, admin: Caller) -> None:
    plugin_id = (await world.upload(admin, manifest(configuration=NEEDS_URL))).view.plugin.id
    with pytest.raises(ConfigurationIncomplete) as caught:
        await activate(world.platform, admin, plugin_id)
    assert len(caught.value.errors) == 2
    await configure(world.platform, admin, plugin_id, {"url": "https://acme.com", "token": "s"})
    assert (await activate(world.platform, admin, plugin_id)).plugin.state is PluginState.ACTIVE


async def test_an_active_plugin_that_is_activated_says_what_would_be_allowed(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(WrongState) as caught:
        await activate(world.platform, admin, view.plugin.id)
    assert caught.value.state == "active"
    assert "deactivate" in caught.value.allowed


async def test_a_deactivated_plugin_executes_no_more_and_its_environments_end(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.execute(admin, view)
    off = await deactivate(world.platform, admin, view.plugin.id)
    assert off.plugin.state is PluginState.INACTIVE
    assert world.executor.forgotten == [view.plugin.id]
    assert world.event_types[-1] is EventType.PLUGIN_DEACTIVATED
    with pytest.raises(WrongState):
        await world.execute(admin, view)
    assert (await activate(world.platform, admin, view.plugin.id)).plugin.state is PluginState.ACTIVE


async def test_a_plugin_that_is_not_active_cannot_be_deactivated(world: World, admin: Caller) -> None:
    plugin_id = (await world.upload(admin)).view.plugin.id
    with pytest.raises(WrongState):
        await deactivate(world.platform, admin, plugin_id)


@pytest.mark.parametrize("leave", [deactivate, uninstall])
async def test_a_plugin_that_active_ones_need_stays(world: World, admin: Caller, leave: object) -> None:
    tax = await world.active(admin, manifest("tax"))
    dependent = await world.active(admin, manifest(dependencies={"plugins": {"tax": "^1.0.0"}}))
    with pytest.raises(DependencyConflict) as caught:
        await leave(world.platform, admin, tax.plugin.id)  # type: ignore[operator]
    assert caught.value.explanation == ("greeter depends on tax",)
    assert (await world.fetch(admin, tax.plugin.id)).plugin.state is PluginState.ACTIVE
    await deactivate(world.platform, admin, dependent.plugin.id)
    await leave(world.platform, admin, tax.plugin.id)  # type: ignore[operator]


async def test_a_plugin_that_names_itself_can_still_be_deactivated(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(dependencies={"plugins": {"greeter": "*"}}))
    assert (await deactivate(world.platform, admin, view.plugin.id)).plugin.state is PluginState.INACTIVE


async def test_an_uninstalled_plugin_is_kept_for_the_audit_without_rights_and_secrets(
    world: World, admin: Caller
) -> None:
    document = manifest(configuration=NEEDS_URL, security={"permissions": ["cache"]})
    plugin_id = (await world.upload(admin, document)).view.plugin.id
    await configure(world.platform, admin, plugin_id, {"url": "https://acme.com", "token": "s3cret"})
    gone = await uninstall(world.platform, admin, plugin_id)
    assert (gone.plugin.state, gone.plugin.secrets, gone.plugin.grants) == (PluginState.UNINSTALLED, {}, ())
    assert world.event_types[-1] is EventType.PLUGIN_UNINSTALLED
    assert len(world.objects.held) == 2
    assert plugin_id in world.executor.forgotten
    with pytest.raises(WrongState):
        await uninstall(world.platform, admin, plugin_id)
