"""What waits on a plugin, and which rights were used, as every store keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from plugyard.application.ports import MOST_NAMES, PageRequest, PluginFilter, UpgradeFilter, UsedBy
from plugyard.domain.consent import WaitingUpgrade
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import Plugin, PluginState
from plugyard.domain.rights import Right
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_manifest, a_stored_listing, a_stored_plugin, a_tenant, a_version, new_id

DATABASE = Right(Service.DATABASE)
NETWORK = Permission(Service.NETWORK, ("*.acme.com", "old.example"))
WAITING = WaitingUpgrade(new_id(), "2.0.0", (NETWORK,), NOW, "key:1")


async def kept(stored: Stored, plugin: Plugin) -> Plugin:
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.save_plugin(plugin)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        view = await tx.plugin(plugin.id)
    assert view is not None
    return view.plugin


async def names(stored: Stored, tenant_id: str, which: UpgradeFilter) -> list[str]:
    async with stored.store.for_tenant(tenant_id) as tx:
        page = await tx.list_plugins(PluginFilter(upgrade=which, sort="name"), PageRequest())
    return [view.plugin.name for view in page.items]


async def test_what_waits_and_since_when_rights_are_held_is_kept(stored: Stored) -> None:
    plugin = await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)
    changed = replace(plugin, waiting=WAITING, granted_at={"database": NOW, "network a.b": NOW - timedelta(days=1)})
    assert await kept(stored, changed) == changed
    declined = replace(WAITING, declined_because="no", decided_by="key:2", decided_at=NOW)
    assert await kept(stored, replace(changed, waiting=declined)) == replace(changed, waiting=declined)
    assert (await kept(stored, replace(changed, waiting=None))).waiting is None


async def test_plugins_are_found_by_what_waits(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    await a_stored_plugin(stored.store, tenant.id, "a", waiting=WAITING)
    await a_stored_plugin(stored.store, tenant.id, "b", waiting=replace(WAITING, decided_at=NOW))
    await a_stored_plugin(stored.store, tenant.id, "c")
    assert await names(stored, tenant.id, UpgradeFilter.WAITING) == ["a"]


async def test_plugins_are_found_by_a_higher_version_of_their_own_or_on_offer(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    own = await a_stored_plugin(stored.store, tenant.id, "own", state=PluginState.ACTIVE)
    await a_stored_plugin(stored.store, tenant.id, "same", state=PluginState.ACTIVE)
    higher = await a_stored_listing(stored.store, manifest=a_manifest("listed", version="1.10.0"))
    await a_stored_plugin(stored.store, tenant.id, "offered", origin_listing_id=higher.id, state=PluginState.INACTIVE)
    await a_stored_plugin(stored.store, tenant.id, "asked", origin_listing_id=higher.id)  # not installed yet
    equal = await a_stored_listing(stored.store)
    await a_stored_plugin(stored.store, tenant.id, "equal", origin_listing_id=equal.id, state=PluginState.ACTIVE)
    withdrawn = await a_stored_listing(stored.store, manifest=a_manifest("listed", version="3.0.0"), withdrawn_at=NOW)
    await a_stored_plugin(
        stored.store, tenant.id, "withdrawn", origin_listing_id=withdrawn.id, state=PluginState.ACTIVE
    )
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_version(a_version(tenant.id, own.id, a_manifest("own", version="1.9.0")))
    assert await names(stored, tenant.id, UpgradeFilter.AVAILABLE) == ["offered", "own"]


async def test_the_last_use_of_rights_of_many_tenants_is_noted_at_once(stored: Stored) -> None:
    plugins = [await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id) for _ in range(2)]
    later = NOW + timedelta(hours=1)
    await stored.store.touch_rights({})
    await stored.store.touch_rights({UsedBy(one.tenant_id, one.id, DATABASE): later for one in plugins})
    await stored.store.touch_rights({UsedBy(plugins[0].tenant_id, plugins[0].id, DATABASE): NOW})
    for mine, other in (plugins, plugins[::-1]):
        async with stored.store.for_tenant(mine.tenant_id) as tx:
            assert await tx.used_rights([mine.id, other.id, "no id"]) == {mine.id: {DATABASE: later}}
            assert await tx.used_rights([]) == {}


async def test_a_use_of_what_is_not_there_is_not_noted(stored: Stored) -> None:
    plugin, other = [await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id) for _ in range(2)]
    await stored.store.touch_rights(
        {UsedBy(other.tenant_id, plugin.id, DATABASE): NOW, UsedBy(plugin.tenant_id, new_id(), DATABASE): NOW}
    )
    for one in (plugin, other):
        async with stored.store.for_tenant(one.tenant_id) as tx:
            assert await tx.used_rights([plugin.id]) == {}


async def test_names_without_end_are_not_kept_and_those_that_the_grant_spells_out_are(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id, grants=(NETWORK,))

    def used(*hosts: str) -> dict[UsedBy, datetime]:
        return {UsedBy(tenant.id, plugin.id, Right(Service.NETWORK, host)): NOW for host in hosts}

    await stored.store.touch_rights(used(*(f"h{number}.acme.com" for number in range(MOST_NAMES + 30))))
    await stored.store.touch_rights(used("late.acme.com", "old.example", ""))
    await stored.store.touch_rights({UsedBy(tenant.id, plugin.id, DATABASE): NOW})
    async with stored.store.for_tenant(tenant.id) as tx:
        found = (await tx.used_rights([plugin.id]))[plugin.id]
    assert len(found) == MOST_NAMES + 3
    assert {DATABASE, Right(Service.NETWORK), Right(Service.NETWORK, "old.example")} <= found.keys()
    assert Right(Service.NETWORK, "late.acme.com") not in found
