"""The store's plugins: what is written comes back, names are the tenant's, and lists continue where they stopped."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application.ports import PageRequest, PluginFilter, ResolvedDependency
from plugyard.domain.errors import InvalidInput, NameTaken, VersionExists
from plugyard.domain.health import Health, HealthStatus
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginState, PluginView
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_manifest, a_plugin, a_stored_plugin, a_tenant, a_version, ago, new_id


async def test_a_plugin_comes_back_as_it_was_added(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin, version = a_plugin(tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_plugin(plugin, version)
        assert await tx.plugin(plugin.id) is not None
    async with stored.store.for_tenant(tenant.id) as tx:
        view = await tx.plugin(plugin.id)
        assert view is not None
        assert view.plugin == plugin
        assert view.version == version
        assert view.version.report.took_ms == version.report.took_ms
        assert view.version.report.behaviour == version.report.behaviour
        assert await tx.plugin_named("notes", lock=True) == view
        assert await tx.version(version.id) == version
        assert await tx.version_numbered(plugin.id, "1.0.0") == version
        assert await tx.version_numbered(plugin.id, "1.0.1") is None


async def test_a_changed_plugin_comes_back_as_it_was_saved(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    second = a_version(tenant.id, plugin.id, a_manifest(version="2.0.0-rc.1"))
    changed = replace(
        plugin,
        state=PluginState.SUSPENDED,
        version_id=second.id,
        previous_version_id=plugin.version_id,
        origin_listing_id=new_id(),
        configuration={"deep": {"er": [1, 2.5, None, "ß"]}},
        secrets={"token": "hidden"},
        grants=(Permission(Service.NETWORK, hosts=("a.example",), reason="why"), Permission(Service.CACHE)),
        installed_at=NOW,
        activated_at=NOW + timedelta(seconds=1),
        suspended_because="20 of 20 failed",
        health=Health(HealthStatus.UNHEALTHY, 0, NOW),
        updated_at=NOW + timedelta(hours=1),
    )
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_version(second)
        await tx.save_plugin(changed)
    async with stored.store.for_tenant(tenant.id) as tx:
        view = await tx.plugin(plugin.id, lock=True)
    assert view is not None
    assert view.plugin == changed
    assert view.version == second


async def test_a_new_judgement_of_health_leaves_the_time_of_the_last_change(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.save_plugin(plugin.with_health(Health(HealthStatus.HEALTHY, 100, NOW)))
    async with stored.store.for_tenant(tenant.id) as tx:
        view = await tx.plugin(plugin.id)
    assert view is not None
    assert view.plugin.updated_at == plugin.updated_at


async def test_an_error_in_the_block_leaves_nothing_behind(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin, version = a_plugin(tenant.id)

    async def fail() -> None:
        async with stored.store.for_tenant(tenant.id) as tx:
            await tx.add_plugin(plugin, version)
            assert await tx.version(version.id) == version
            raise KeyError("after the writes")

    with pytest.raises(KeyError):
        await fail()
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.plugin(plugin.id) is None
        assert await tx.version(version.id) is None


async def test_a_name_is_taken_until_its_plugin_is_uninstalled(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    await a_stored_plugin(stored.store, other.id)
    with pytest.raises(NameTaken):
        await a_stored_plugin(stored.store, tenant.id)
    gone = replace(plugin, state=PluginState.UNINSTALLED)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.save_plugin(gone)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.plugin_named("notes") is None
    successor = await a_stored_plugin(stored.store, tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        named, old = await tx.plugin_named("notes"), await tx.plugin(plugin.id)
        usual = await tx.list_plugins(PluginFilter(), PageRequest())
        uninstalled = await tx.list_plugins(PluginFilter(status=PluginState.UNINSTALLED), PageRequest())
    assert named is not None
    assert named.plugin == successor
    assert old is not None
    assert old.plugin == gone
    assert [view.plugin for view in usual.items] == [successor]
    assert [view.plugin for view in uninstalled.items] == [gone]


async def test_a_version_number_is_given_once(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    with pytest.raises(VersionExists):
        async with stored.store.for_tenant(tenant.id) as tx:
            await tx.add_version(a_version(tenant.id, plugin.id))


@pytest.mark.parametrize("identity", ["", "nothing", "00000000-0000-0000-0000-000000000000", "x" * 3000, "\0", "a'b"])
async def test_an_id_that_names_nothing_finds_nothing(stored: Stored, identity: str) -> None:
    tenant = await a_tenant(stored.store)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.plugin(identity) is None
        assert await tx.version(identity) is None
        assert await tx.version_numbered(identity, "1.0.0") is None
        assert await tx.execution(identity) is None
        assert await tx.listing(identity) is None
        assert await tx.listing_of(identity) is None
        assert await tx.key(identity) is None
        assert (await tx.versions(identity, PageRequest())).items == ()
        assert list(await tx.dependencies(identity)) == []
        assert (await tx.ratings(identity, PageRequest())).items == ()
    async with stored.store.for_operator() as tx:
        assert await tx.tenant(identity) is None
        assert await tx.tenant_by_slug(identity) is None


async def test_another_tenants_rows_are_not_found(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.plugin(plugin.id) is not None
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.plugin(plugin.id) is None
        assert await tx.plugin_named(plugin.name) is None
        assert await tx.version(plugin.version_id) is None
        assert await tx.version_numbered(plugin.id, "1.0.0") is None
        assert (await tx.versions(plugin.id, PageRequest())).items == ()
        assert (await tx.list_plugins(PluginFilter(), PageRequest())).items == ()
        assert list(await tx.installed_plugins()) == []
        assert await tx.tenant(tenant.id) is None


async def test_versions_come_highest_first_as_semver_orders_them(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    numbers = ["1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta.2", "1.0.0-beta.11", "1.0.0-rc.1"]
    numbers += ["1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "10.0.0"]
    async with stored.store.for_tenant(tenant.id) as tx:
        for number in sorted(numbers):
            if number != "1.0.0":
                await tx.add_version(a_version(tenant.id, plugin.id, a_manifest(version=number)))
    found, cursor = [], None
    async with stored.store.for_tenant(tenant.id) as tx:
        for _ in range(4):
            page = await tx.versions(plugin.id, PageRequest(5, cursor))
            found += [version.number for version in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == numbers[::-1]


async def test_dependencies_are_replaced_as_a_whole(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    first = [ResolvedDependency("dates", "^2.1.0", "2.3.0", new_id()), ResolvedDependency("old", "*", "1.0.0", None)]
    second = [ResolvedDependency("dates", "^2.1.0", "2.4.0", None)]
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.save_dependencies(plugin.version_id, first)
        assert list(await tx.dependencies(plugin.version_id)) == first
        await tx.save_dependencies(plugin.version_id, second)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert list(await tx.dependencies(plugin.version_id)) == second


async def test_installed_plugins_are_those_in_use(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    for state in PluginState:
        await a_stored_plugin(stored.store, tenant.id, f"in-{state.value}", state=state)
    async with stored.store.for_tenant(tenant.id) as tx:
        names = {view.plugin.name for view in await tx.installed_plugins()}
    assert names == {"in-installed", "in-active", "in-inactive", "in-suspended"}


@pytest.mark.parametrize("sort", ["createdAt", "-createdAt", "updatedAt", "-updatedAt", "name", "-name"])
async def test_pages_hold_every_plugin_once_in_order(stored: Stored, sort: str) -> None:
    tenant = await a_tenant(stored.store)
    for number in range(7):
        # Some share a time, so that the order has to fall back on the id.
        times = {"created_at": ago(hours=number // 2), "updated_at": ago(minutes=number % 3)}
        await a_stored_plugin(stored.store, tenant.id, f"plugin-{number * 5 % 7}", **times)
    found, cursor = [], None
    for _ in range(4):
        async with stored.store.for_tenant(tenant.id) as tx:
            page = await tx.list_plugins(PluginFilter(sort=sort), PageRequest(3, cursor))
        found += [view.plugin for view in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    field = {"createdAt": "created_at", "updatedAt": "updated_at", "name": "name"}[sort.removeprefix("-")]
    expected = sorted(found, key=lambda one: (getattr(one, field), one.id), reverse=sort.startswith("-"))
    assert len({one.id for one in found}) == 7
    assert [one.name for one in found] == [one.name for one in expected]


@pytest.mark.parametrize("cursor", ["", "x", "bm9uc2Vuc2U", "W10", "é", "\0", "=" * 9, "x" * 5000])
async def test_a_cursor_that_no_list_gave_is_refused(stored: Stored, cursor: str) -> None:
    tenant = await a_tenant(stored.store)
    async with stored.store.for_tenant(tenant.id) as tx:
        with pytest.raises(InvalidInput) as caught:
            await tx.list_plugins(PluginFilter(), PageRequest(3, cursor))
    assert [error.pointer for error in caught.value.errors] == ["query/cursor"]


async def test_a_cursor_of_another_list_is_refused(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    for name in ("one", "two"):
        await a_stored_plugin(stored.store, tenant.id, name)
    async with stored.store.for_tenant(tenant.id) as tx:
        page = await tx.list_plugins(PluginFilter(sort="name"), PageRequest(1))
        assert page.next_cursor is not None
        with pytest.raises(InvalidInput):
            await tx.list_plugins(PluginFilter(), PageRequest(1, page.next_cursor))
        with pytest.raises(InvalidInput):
            await tx.list_keys(PageRequest(1, page.next_cursor))


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (PluginFilter(), {"notes", "chart"}),
        (PluginFilter(category="charts"), {"chart"}),
        (PluginFilter(category="none"), set()),
        (PluginFilter(runtime=Runtime.PYTHON), {"notes", "chart"}),
        (PluginFilter(runtime=Runtime.WASM), set()),
        (PluginFilter(permission="network"), {"notes", "chart"}),
        (PluginFilter(permission="database"), set()),
        (PluginFilter(author="Grace"), {"chart"}),
        (PluginFilter(status=PluginState.ACTIVE), {"chart"}),
        (PluginFilter(q="MÜLLER rule"), {"notes"}),
        (PluginFilter(q="bars"), {"chart"}),
        (PluginFilter(q="memo chart"), {"chart"}),
        (PluginFilter(q="memo nowhere"), set()),
        (PluginFilter(q="zz & | ! ' <-> :*"), set()),
        (PluginFilter(q=""), {"notes", "chart"}),
        (PluginFilter(category="charts", author="Grace", q="memo", status=PluginState.ACTIVE), {"chart"}),
    ],
    ids=lambda value: repr(value) if isinstance(value, PluginFilter) else "",
)
async def test_filters_show_what_passes_all_of_them(stored: Stored, filters: PluginFilter, expected: set[str]) -> None:
    tenant = await a_tenant(stored.store)
    await a_stored_plugin(stored.store, tenant.id, "notes")
    chart = a_manifest("chart", description="Draws bars/lines", author="Grace", category="charts")
    await a_stored_plugin(stored.store, tenant.id, "chart", manifest=chart, state=PluginState.ACTIVE)
    async with stored.store.for_tenant(tenant.id) as tx:
        page = await tx.list_plugins(filters, PageRequest())
    assert {view.plugin.name for view in page.items} == expected


async def test_an_order_that_does_not_exist_is_refused(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    async with stored.store.for_tenant(tenant.id) as tx:
        with pytest.raises(InvalidInput):
            await tx.list_plugins(PluginFilter(sort="secrets"), PageRequest())


async def test_many_plugins_are_added_at_once_or_none_is(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    added = [a_plugin(tenant.id, f"many-{number}") for number in range(25)]
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_plugins([])
        await tx.add_plugins(added)
    async with stored.store.for_tenant(tenant.id) as tx:
        for plugin, version in added:
            assert await tx.plugin(plugin.id) == PluginView(plugin, version)
    again = [a_plugin(tenant.id, name) for name in ("new", "many-7", "newer")]
    with pytest.raises(NameTaken):
        async with stored.store.for_tenant(tenant.id) as tx:
            await tx.add_plugins(again)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.plugin_named("new") is None
        assert (await tx.holdings()).plugins == 25
