"""A plugin points at another version: forward, back, with consent where it asks for more."""

from typing import Any

import pytest

from plugyard.application.activate import ConfigurationIncomplete
from plugyard.application.install import install
from plugyard.application.upgrade import ConsentRequired, rollback, upgrade
from plugyard.domain.errors import Conflict, DependencyConflict, Forbidden, InvalidInput, NotFound, StoreUnavailable
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller, Role
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginState
from tests.memory.world import World, as_role, manifest


def asks(*permissions: object) -> dict[str, object]:
    return {"permissions": list(permissions)}


def network(*hosts: str) -> Permission:
    return Permission(Service.NETWORK, hosts)


async def two_versions(world: World, admin: Caller, first: object = None, second: object = None) -> str:
    """An active plugin at 1.0.0, and 1.1.0 beside it."""
    view = await world.active(admin, manifest(security=first or {}))
    await world.upload(admin, manifest(version="1.1.0", security=second or {}))
    return view.plugin.id


async def test_an_upgrade_points_at_the_highest_version_there_is(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin)
    view = await upgrade(world.platform, admin, plugin_id, None, None)
    assert (view.version.number, view.plugin.state) == ("1.1.0", PluginState.ACTIVE)
    assert world.events[-1].type is EventType.PLUGIN_UPGRADED
    assert world.events[-1].data["previousVersion"] == "1.0.0"
    assert plugin_id in world.executor.forgotten


async def test_an_upgrade_may_name_the_version(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin)
    await world.upload(admin, manifest(version="2.0.0"))
    assert (await upgrade(world.platform, admin, plugin_id, "1.1.0", None)).version.number == "1.1.0"


async def test_an_upgrade_to_what_is_there_already_or_nowhere_is_said_so(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(Conflict, match="nothing to upgrade"):
        await upgrade(world.platform, admin, view.plugin.id, None, None)
    with pytest.raises(Conflict, match="nothing to upgrade"):
        await upgrade(world.platform, admin, view.plugin.id, "1.0.0", None)
    with pytest.raises(NotFound, match=r"9\.9\.9"):
        await upgrade(world.platform, admin, view.plugin.id, "9.9.9", None)


async def test_executions_run_the_new_version_at_once(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin)
    view = await world.fetch(admin, plugin_id)
    await world.execute(admin, view)
    await upgrade(world.platform, admin, plugin_id, None, None)
    await world.execute(admin, view)
    assert [one.version for one in world.executor.invocations] == ["1.0.0", "1.1.0"]


async def test_a_version_that_asks_for_more_waits_for_consent(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin, asks("cache"), asks("cache", "database"))
    with pytest.raises(ConsentRequired) as caught:
        await upgrade(world.platform, admin, plugin_id, None, None)
    assert caught.value.permissions == (Permission(Service.DATABASE),)
    assert (await world.fetch(admin, plugin_id)).version.number == "1.0.0"
    # What was granted before stays; the admin names what comes in addition.
    view = await upgrade(world.platform, admin, plugin_id, None, [Permission(Service.DATABASE)])
    assert view.plugin.grants == (Permission(Service.CACHE), Permission(Service.DATABASE))


async def test_the_consent_that_is_asked_for_names_what_the_new_version_asks(world: World, admin: Caller) -> None:
    first = asks({"service": "network", "hosts": ["a.com"]})
    plugin_id = await two_versions(world, admin, first, asks({"service": "network", "hosts": ["a.com", "b.com"]}))
    with pytest.raises(ConsentRequired) as caught:
        await upgrade(world.platform, admin, plugin_id, None, None)
    assert caught.value.permissions == (network("a.com", "b.com"),)


async def test_a_version_that_asks_for_less_loses_what_it_no_longer_asks_for(world: World, admin: Caller) -> None:
    first = asks({"service": "network", "hosts": ["a.com", "b.com"]}, "cache")
    plugin_id = await two_versions(world, admin, first, asks({"service": "network", "hosts": ["a.com"]}))
    view = await upgrade(world.platform, admin, plugin_id, None, None)
    assert view.plugin.grants == (network("a.com"),)


async def test_hosts_that_an_admin_named_stay_named(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin, asks("network"), asks("network"))
    await install(world.platform, admin, plugin_id, [network("api.acme.com")])
    view = await upgrade(world.platform, admin, plugin_id, None, None)
    assert view.plugin.grants == (network("api.acme.com"),)


async def test_a_service_that_an_admin_left_out_stays_out(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin, asks("database", "cache"), asks("database", "cache"))
    await install(world.platform, admin, plugin_id, [])
    view = await upgrade(world.platform, admin, plugin_id, None, None)
    assert view.plugin.grants == ()


async def test_what_the_policy_grants_needs_no_consent(world: World) -> None:
    tenant = await world.tenant("open", auto_grant=frozenset({Service.DATABASE, Service.NETWORK}))
    admin = as_role(Role.ADMIN, tenant.id)
    first = asks({"service": "network", "hosts": ["a.com"]})
    second = asks({"service": "network", "hosts": ["b.com"]}, "database")
    plugin_id = await two_versions(world, admin, first, second)
    view = await upgrade(world.platform, admin, plugin_id, None, None)
    assert view.plugin.grants == (network("b.com"), Permission(Service.DATABASE))


async def test_grants_beyond_what_the_version_asks_are_refused(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin, asks("database"), asks("database"))
    with pytest.raises(InvalidInput):
        await upgrade(world.platform, admin, plugin_id, None, [network("a.com")])


async def test_an_admin_may_upgrade_and_decline_what_is_new(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin, asks("database"), asks("database", "events"))
    view = await upgrade(world.platform, admin, plugin_id, None, [])
    assert view.plugin.grants == (Permission(Service.DATABASE),)


async def test_grants_that_an_admin_names_take_the_place_of_those_before(world: World, admin: Caller) -> None:
    first = asks({"service": "network", "hosts": ["a.com", "b.com"]}, "database")
    plugin_id = await two_versions(world, admin, first, first)
    view = await upgrade(world.platform, admin, plugin_id, None, [network("b.com")])
    assert view.plugin.grants == (network("b.com"), Permission(Service.DATABASE))


@pytest.mark.parametrize("change", [upgrade, rollback])
async def test_only_an_admin_sends_grants(world: World, admin: Caller, change: Any) -> None:
    plugin_id = await two_versions(world, admin)
    developer = as_role(Role.DEVELOPER, admin.tenant_id)
    with pytest.raises(Forbidden):
        await change(world.platform, developer, plugin_id, None, [])
    assert (await upgrade(world.platform, developer, plugin_id, None, None)).version.number == "1.1.0"


async def test_a_configuration_that_does_not_fit_the_new_version_stops_an_active_plugin_s_upgrade(
    world: World, admin: Caller
) -> None:
    view = await world.active(admin)
    schema = {"type": "object", "required": ["url"]}
    await world.upload(admin, manifest(version="2.0.0", configuration=schema))
    with pytest.raises(ConfigurationIncomplete):
        await upgrade(world.platform, admin, view.plugin.id, None, None)
    assert (await world.fetch(admin, view.plugin.id)).version.number == "1.0.0"


async def test_an_upgrade_that_would_break_an_active_dependent_is_refused(world: World, admin: Caller) -> None:
    tax = await world.active(admin, manifest("tax"))
    await world.active(admin, manifest(dependencies={"plugins": {"tax": "^1.0.0"}}))
    await world.upload(admin, manifest("tax", "1.1.0"))
    await world.upload(admin, manifest("tax", "2.0.0"))
    with pytest.raises(DependencyConflict) as caught:
        await upgrade(world.platform, admin, tax.plugin.id, None, None)
    assert caught.value.explanation == ("greeter needs tax ^1.0.0, and this is 2.0.0",)
    assert (await upgrade(world.platform, admin, tax.plugin.id, "1.1.0", None)).version.number == "1.1.0"


async def test_a_plugin_that_nobody_consented_to_may_be_upgraded_and_still_waits(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, manifest(security=asks("database")))
    await world.upload(admin, manifest(version="1.1.0", security=asks("database")))
    view = await upgrade(world.platform, admin, uploaded.view.plugin.id, "1.0.0", None)
    assert (view.version.number, view.plugin.state, view.plugin.grants) == ("1.0.0", PluginState.VALIDATED, ())


# back again


async def test_a_rollback_returns_to_the_version_before(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin)
    await upgrade(world.platform, admin, plugin_id, None, None)
    view = await rollback(world.platform, admin, plugin_id, None)
    assert (view.version.number, view.plugin.state) == ("1.0.0", PluginState.ACTIVE)
    assert world.event_types[-1] is EventType.PLUGIN_ROLLED_BACK
    assert (await rollback(world.platform, admin, plugin_id, None)).version.number == "1.1.0"


async def test_a_rollback_may_name_the_version(world: World, admin: Caller) -> None:
    plugin_id = await two_versions(world, admin)
    await upgrade(world.platform, admin, plugin_id, None, None)
    assert (await rollback(world.platform, admin, plugin_id, "1.0.0")).version.number == "1.0.0"


async def test_a_rollback_to_nowhere_is_said_so(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(NotFound, match="no version before"):
        await rollback(world.platform, admin, view.plugin.id, None)
    with pytest.raises(NotFound, match=r"no version 0\.1\.0"):
        await rollback(world.platform, admin, view.plugin.id, "0.1.0")
    with pytest.raises(Conflict, match="already"):
        await rollback(world.platform, admin, view.plugin.id, "1.0.0")


async def test_a_rollback_to_a_version_that_asks_for_what_was_dropped_takes_an_admin_s_grants(
    world: World, admin: Caller
) -> None:
    plugin_id = await two_versions(world, admin, asks("database"), asks())
    await upgrade(world.platform, admin, plugin_id, None, None)
    with pytest.raises(ConsentRequired):
        await rollback(world.platform, admin, plugin_id, None)
    view = await rollback(world.platform, admin, plugin_id, None, [Permission(Service.DATABASE)])
    assert view.plugin.grants == (Permission(Service.DATABASE),)


async def test_a_version_that_is_granted_the_database_has_one_before_it_runs(world: World) -> None:
    admin = await world.caller()
    plugin = (await world.active(admin)).plugin
    await world.upload(admin, manifest(version="2.0.0", security={"permissions": ["database"]}))
    world.databases.available = False
    with pytest.raises(StoreUnavailable):
        await upgrade(world.platform, admin, plugin.id, None, [Permission(Service.DATABASE)])
    assert (await world.fetch(admin, plugin.id)).version.number == "1.0.0"
    world.databases.available = True
    await upgrade(world.platform, admin, plugin.id, None, [Permission(Service.DATABASE)])
    assert list(world.databases.places) == [(plugin.tenant_id, plugin.id)]
