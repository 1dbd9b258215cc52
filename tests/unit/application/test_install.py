"""A tenant consents to what a plugin asks for, to less, and never to more."""

import pytest

from plugyard.application.install import install
from plugyard.application.uninstall import uninstall
from plugyard.domain.errors import DependencyConflict, InvalidInput, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller, Role, Tenant
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginState
from tests.memory.world import World, as_role, manifest

ASKS = {"permissions": [{"service": "network", "hosts": ["a.com", "b.com"], "methods": ["GET"]}, "database", "cache"]}


def network(*hosts: str, methods: tuple[str, ...] = ()) -> Permission:
    return Permission(Service.NETWORK, hosts, methods)


async def waiting(world: World, admin: Caller) -> str:
    return (await world.upload(admin, manifest(security=ASKS))).view.plugin.id


async def test_without_grants_an_admin_consents_to_all_that_is_asked(world: World, admin: Caller) -> None:
    view = await install(world.platform, admin, await waiting(world, admin), None)
    assert view.plugin.state is PluginState.INSTALLED
    assert view.plugin.grants == view.version.manifest.permissions
    assert view.plugin.installed_at == world.clock()
    assert world.events[-1].type is EventType.PLUGIN_INSTALLED
    assert world.events[-1].data["grants"] == [grant.to_document() for grant in view.plugin.grants]


async def test_an_admin_may_leave_services_out_and_narrow_the_others(world: World, admin: Caller) -> None:
    view = await install(world.platform, admin, await waiting(world, admin), [network("a.com")])
    # The methods that the grant leaves open are narrowed as the author narrowed them.
    assert view.plugin.grants == (network("a.com", methods=("GET",)),)


async def test_an_admin_may_grant_nothing(world: World, admin: Caller) -> None:
    view = await install(world.platform, admin, await waiting(world, admin), [])
    assert (view.plugin.state, view.plugin.grants) == (PluginState.INSTALLED, ())


@pytest.mark.parametrize(
    ("grants", "word"),
    [
        ([network("evil.com")], "evil.com"),
        ([network("a.com", methods=("POST",))], "POST"),
        ([Permission(Service.EVENTS)], "does not ask for events"),
        ([network("a.com"), network("b.com")], "granted twice"),
    ],
)
async def test_a_grant_beyond_what_is_asked_is_refused_and_changes_nothing(
    world: World, admin: Caller, grants: list[Permission], word: str
) -> None:
    plugin_id = await waiting(world, admin)
    before = await world.fetch(admin, plugin_id)
    with pytest.raises(InvalidInput) as caught:
        await install(world.platform, admin, plugin_id, grants)
    assert any(word in error.message for error in caught.value.errors)
    assert {error.pointer for error in caught.value.errors} == {"/grants"}
    assert await world.fetch(admin, plugin_id) == before


async def test_the_grants_of_an_active_plugin_change_at_once(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(security=ASKS))
    await world.execute(admin, view)
    changed = await install(world.platform, admin, view.plugin.id, [Permission(Service.CACHE)])
    assert changed.plugin.state is PluginState.ACTIVE
    await world.execute(admin, view)
    granted = [{grant.service.value for grant in one.grants} for one in world.executor.invocations]
    assert granted == [{"network", "database", "cache"}, {"cache"}]


async def test_a_plugin_that_left_cannot_be_installed(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin)
    await uninstall(world.platform, admin, plugin_id)
    with pytest.raises(WrongState):
        await install(world.platform, admin, plugin_id, None)


async def test_a_dependency_that_left_meanwhile_stops_the_install(world: World, admin: Caller) -> None:
    tax = await world.upload(admin, manifest("tax"))
    document = manifest(security=ASKS, dependencies={"plugins": {"tax": "*"}})
    plugin_id = (await world.upload(admin, document)).view.plugin.id
    await uninstall(world.platform, admin, tax.view.plugin.id)
    with pytest.raises(DependencyConflict) as caught:
        await install(world.platform, admin, plugin_id, None)
    assert "greeter 1.0.0 needs tax" in caught.value.explanation[0]
    assert (await world.fetch(admin, plugin_id)).plugin.state is PluginState.VALIDATED


async def test_a_tenant_without_a_row_has_the_default_policy(world: World) -> None:
    nobody = Tenant(world.ids(), "gone", "Gone", world.clock())
    caller = as_role(Role.DEVELOPER, nobody.id)
    uploaded = await world.upload(caller, manifest(security={"permissions": ["cache"]}))
    assert uploaded.view.plugin.grants == (Permission(Service.CACHE),)
