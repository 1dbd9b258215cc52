"""Where suspicious versions stand, and what later checks found, as every store keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from plugyard.application.ports import PageRequest, StandingFilter
from plugyard.domain.plugin import PluginState
from plugyard.domain.standing import Rescan, StandingState
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_standing, a_stored_plugin, a_tenant, new_id


async def test_a_standing_is_kept_and_changed_and_anothers_is_not_found(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        view = await tx.plugin(plugin.id)
        assert view is not None
        standing = a_standing(view)
        await tx.save_standing(standing)
        assert await tx.standings([view.version.id, new_id(), "no id"]) == {view.version.id: standing}
        released = standing.decided(StandingState.RELEASED, "key:1", "fine", NOW)
        await tx.save_standing(released)
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.standings([view.version.id]) == {}
    async with stored.store.for_operator() as operator:
        assert await operator.standing(view.version.id) == released
        assert await operator.standing(new_id()) is None
        assert await operator.standing("no id") is None


async def test_operators_list_the_longest_waiting_first_page_by_page(stored: Stored) -> None:
    ids = []
    for hours in (3, 1, 2):
        tenant = await a_tenant(stored.store)
        plugin = await a_stored_plugin(stored.store, tenant.id)
        async with stored.store.for_tenant(tenant.id) as tx:
            view = await tx.plugin(plugin.id)
            assert view is not None
            since = NOW - timedelta(days=4000, hours=hours)
            await tx.save_standing(a_standing(view, since=since))
        ids.append((since, view.version.id))
    async with stored.store.for_operator() as operator:
        first = await operator.list_standings(StandingFilter(), PageRequest(limit=2))
        assert first.next_cursor is not None
        rest = await operator.list_standings(StandingFilter(), PageRequest(limit=1, cursor=first.next_cursor))
    assert [one.version_id for one in (*first.items, *rest.items)] == [version for _, version in sorted(ids)]


async def test_operators_filter_the_quarantine_by_tenant_and_by_name(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    versions = {}
    for name in ("one", "two"):
        plugin = await a_stored_plugin(stored.store, tenant.id, name)
        async with stored.store.for_tenant(tenant.id) as tx:
            view = await tx.plugin(plugin.id)
            assert view is not None
            await tx.save_standing(a_standing(view))
        versions[name] = view.version.id

    async def found(filters: StandingFilter) -> set[str]:
        async with stored.store.for_operator() as operator:
            return {one.version_id for one in (await operator.list_standings(filters, PageRequest())).items}

    assert await found(StandingFilter(tenant_id=tenant.id)) == set(versions.values())
    assert await found(StandingFilter(tenant_id=tenant.id, name="two")) == {versions["two"]}
    assert await found(StandingFilter(StandingState.REFUSED, tenant.id)) == set()
    assert await found(StandingFilter(tenant_id="no id")) == set()


async def test_versions_in_use_that_other_rules_let_in_wait_for_a_check(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id, state=PluginState.ACTIVE)
    unused = await a_stored_plugin(stored.store, tenant.id, "unused", state=PluginState.UNINSTALLED)
    async with stored.store.for_operator() as operator:
        waiting = await operator.versions_to_rescan("rules-2", 10_000)
        count = await operator.count_to_rescan("rules-2")
    assert count == len(waiting)
    found = {one.version_id: one for one in waiting}
    assert unused.version_id not in found
    seen = found[plugin.version_id]
    assert (seen.tenant_id, seen.plugin_id) == (tenant.id, plugin.id)
    assert seen.report.findings
    rescan = Rescan(plugin.version_id, tenant.id, "rules-2", NOW + timedelta(seconds=1), seen.report.findings)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.save_rescan(replace(rescan, rules_version="rules-1"))
        await tx.save_rescan(rescan)
        assert await tx.rescans([plugin.version_id]) == {plugin.version_id: rescan}
    async with stored.store.for_operator() as operator:
        assert plugin.version_id not in {one.version_id for one in await operator.versions_to_rescan("rules-2", 10_000)}
        await operator.demand_rescan(new_id(), NOW + timedelta(seconds=2))
        assert plugin.version_id in {one.version_id for one in await operator.versions_to_rescan("rules-2", 10_000)}
        affected = await operator.affected(PageRequest(limit=100))
    (mine,) = [one for one in affected.items if one.rescan == rescan]
    assert mine.installations == ((tenant.id, plugin.id, "active"),)
    assert (mine.name, mine.version) == ("notes", "1.0.0")
