"""What the store keeps of tenants: what an operator decided, how they stand, and what they hold."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application.ports import Holdings, ListingFilter, PageRequest
from plugyard.domain.errors import NotFound
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import PluginState
from plugyard.domain.tenants import Quota, TenantBounds, TenantState
from tests.contract.conftest import Stored
from tests.contract.given import (
    NOW,
    a_plugin,
    a_stored_listing,
    a_stored_plugin,
    a_tenant,
    a_version,
    ago,
    an_execution,
    new_id,
)

BOUNDS = TenantBounds(
    RequestedLimits(memory_mb=64, in_flight=2),
    frozenset({Service.CACHE}),
    frozenset(),
    {Quota.PLUGINS: 3, Quota.PER_DAY: None},
)


async def test_what_an_operator_decides_is_kept(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    async with stored.store.for_operator() as tx:
        await tx.save_bounds(tenant.id, BOUNDS, NOW)
        await tx.save_state(tenant.id, TenantState.SUSPENDED, "because", NOW)
        assert (await tx.tenant_locked(tenant.id)) is not None
    async with stored.store.for_tenant(tenant.id) as tx:
        found = await tx.tenant(tenant.id)
    changed = replace(tenant, bounds=BOUNDS, state=TenantState.SUSPENDED, suspended_because="because", suspended_at=NOW)
    assert found == changed
    async with stored.store.for_operator() as tx:
        await tx.save_state(tenant.id, TenantState.SUSPENDED, "again", NOW + timedelta(hours=1))
        assert (await tx.tenant(tenant.id)) == replace(changed, suspended_because="again")
        assert replace(changed, suspended_because="again") in (await tx.list_tenants(PageRequest(100))).items
        await tx.save_state(tenant.id, TenantState.ACTIVE, None, NOW)
        await tx.save_bounds(tenant.id, TenantBounds(), NOW)
        assert await tx.tenant(tenant.id) == tenant


async def test_a_tenant_that_is_not_there_cannot_be_changed(stored: Stored) -> None:
    for tenant_id in (new_id(), "none"):
        with pytest.raises(NotFound):
            async with stored.store.for_operator() as tx:
                await tx.save_bounds(tenant_id, BOUNDS, NOW)
        with pytest.raises(NotFound):
            async with stored.store.for_operator() as tx:
                await tx.save_state(tenant_id, TenantState.SUSPENDED, "because", NOW)
        async with stored.store.for_operator() as tx:
            assert await tx.tenant_locked(tenant_id) is None


async def test_what_a_tenant_holds_are_its_plugins_and_each_package_once(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    await a_stored_plugin(stored.store, other.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.holdings() == Holdings(1, 1000)
        first = (await tx.versions(plugin.id, PageRequest())).items[0]
        again = a_version(tenant.id, plugin.id, replace(first.manifest, version=first.manifest.version.parse("1.1.0")))
        await tx.add_version(replace(again, digest=first.digest))
        newest = a_version(tenant.id, plugin.id, replace(first.manifest, version=first.manifest.version.parse("1.2.0")))
        await tx.add_version(newest)
        assert await tx.holdings(lock=True) == Holdings(1, 2000)
        assert await tx.holdings(beside=first.digest) == Holdings(1, 1000)
        await tx.save_plugin(replace(plugin, state=PluginState.UNINSTALLED))
        assert await tx.holdings() == Holdings(0, 0)


async def test_of_two_who_count_at_once_the_second_sees_what_the_first_has_added(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)

    async def add(name: str) -> int:
        async with stored.store.for_tenant(tenant.id) as tx:
            held = await tx.holdings(lock=True)
            await asyncio.sleep(0.01)
            await tx.add_plugin(*a_plugin(tenant.id, name))
            return held.plugins

    assert sorted(await asyncio.gather(*(add(name) for name in ("one", "two", "three")))) == [0, 1, 2]


async def test_executions_are_counted_over_all_plugins_of_one_tenant(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    plugins = [await a_stored_plugin(stored.store, tenant.id, name) for name in ("one", "two")]
    foreign = await a_stored_plugin(stored.store, other.id)
    for plugin, seconds in ((plugins[0], 30), (plugins[1], 20), (plugins[0], 10), (foreign, 20)):
        await stored.recorder.record(an_execution(plugin, started_at=ago(seconds=seconds)), (), (), ())
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.count_executions(ago(seconds=30), ago(seconds=10)) == 2
        assert await tx.count_executions(ago(seconds=30), NOW) == 3
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.count_executions(ago(seconds=60), NOW) == 1


async def test_listings_of_a_tenant_that_is_not_active_are_shown_to_itself_alone(stored: Stored) -> None:
    listing = await a_stored_listing(stored.store)
    other = await a_tenant(stored.store)
    wanted = ListingFilter(q=listing.name)
    async with stored.store.for_operator() as tx:
        await tx.save_state(listing.tenant_id, TenantState.SUSPENDED, "because", NOW)
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.listing(listing.id, withdrawn=True) is None
        assert await tx.listing_named(listing.name) is None
        assert (await tx.search_listings(wanted, PageRequest())).items == ()
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        assert await tx.listing(listing.id) == listing
    async with stored.store.for_operator() as tx:
        await tx.save_state(listing.tenant_id, TenantState.ACTIVE, None, NOW)
    async with stored.store.for_tenant(other.id) as tx:
        assert (await tx.search_listings(wanted, PageRequest())).items == (listing,)
