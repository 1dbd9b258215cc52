"""An upgrade that asks for more waits, durably, until an admin answers what they were shown."""

import pytest

from plugyard.application.consent import asks_of_listings, consent, decline, standing
from plugyard.application.install import install
from plugyard.application.marketplace import install_listing, publish
from plugyard.application.ports import PageRequest, PluginFilter, UpgradeFilter
from plugyard.application.uninstall import uninstall
from plugyard.application.upgrade import ConsentRequired, upgrade
from plugyard.domain.consent import AskStatus
from plugyard.domain.errors import Conflict, InvalidInput
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller, Role
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.tenants import TenantBounds
from tests.memory.world import World, as_role, manifest

DATABASE = Permission(Service.DATABASE, reason="keeps notes")
ASKS_MORE = {"permissions": [{"service": "database", "reason": "keeps notes"}]}


def network(*hosts: str) -> Permission:
    return Permission(Service.NETWORK, hosts)


async def waiting(world: World, admin: Caller, version: str = "1.1.0") -> str:
    """An active plugin whose next version a developer asked for, in vain as yet."""
    view = await world.active(admin)
    await world.upload(as_role(Role.DEVELOPER, admin.tenant_id), manifest(version=version, security=ASKS_MORE))
    with pytest.raises(ConsentRequired):
        await upgrade(world.platform, as_role(Role.DEVELOPER, admin.tenant_id), view.plugin.id, None, None)
    return view.plugin.id


async def found(world: World, admin: Caller, which: UpgradeFilter) -> list[str]:
    async with world.store.for_tenant(admin.tenant_id or "") as tx:
        page = await tx.list_plugins(PluginFilter(upgrade=which), PageRequest())
    return [view.plugin.name for view in page.items]


async def test_asking_for_a_version_that_wants_more_leaves_a_waiting_upgrade(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin)
    view = await world.fetch(admin, plugin_id)
    upgrade_ = view.plugin.waiting
    assert upgrade_ is not None
    assert (upgrade_.version, upgrade_.asks, upgrade_.declined) == ("1.1.0", (DATABASE,), False)
    assert (upgrade_.since, upgrade_.requested_by) == (world.clock(), "key:developer")
    assert view.version.number == "1.0.0"
    await world.execute(admin, view)
    assert world.executor.invocations[-1].version == "1.0.0"
    event = next(one for one in world.events if one.type is EventType.PLUGIN_UPGRADE_WAITING)
    assert event.data["permissions"] == [DATABASE.to_document()]
    assert world.actions.count("plugin.upgrade_waiting") == 1
    assert await found(world, admin, UpgradeFilter.WAITING) == ["greeter"]


async def test_an_upload_that_should_be_active_leaves_one_too(world: World, admin: Caller) -> None:
    await world.active(admin)
    developer = as_role(Role.DEVELOPER, admin.tenant_id)
    uploaded = await world.upload(developer, manifest(version="1.1.0", security=ASKS_MORE), activate=True)
    assert uploaded.consent_needed == (DATABASE,)
    assert "waits" in (uploaded.not_activated or "")
    kept = (await world.fetch(admin, uploaded.view.plugin.id)).plugin.waiting
    assert kept is not None
    assert kept.version == "1.1.0"


async def test_asking_again_changes_nothing_and_another_version_takes_its_place(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin)
    before = (await world.fetch(admin, plugin_id)).plugin.waiting
    world.clock.forward(hours=1)
    with pytest.raises(ConsentRequired):
        await upgrade(world.platform, admin, plugin_id, "1.1.0", None)
    assert (await world.fetch(admin, plugin_id)).plugin.waiting == before
    await world.upload(admin, manifest(version="1.2.0", security=ASKS_MORE))
    with pytest.raises(ConsentRequired):
        await upgrade(world.platform, admin, plugin_id, None, None)
    after = (await world.fetch(admin, plugin_id)).plugin.waiting
    assert after is not None
    assert after.version == "1.2.0"
    assert world.events[-1].data["supersedes"] == "1.1.0"
    # The admin still looks at the older one.
    with pytest.raises(Conflict, match=r"version 1\.2\.0 does by now"):
        await consent(world.platform, admin, plugin_id, "1.1.0", None)
    assert (await world.fetch(admin, plugin_id)).version.number == "1.0.0"


async def test_an_admin_consents_to_what_was_shown(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin)
    view = await consent(world.platform, admin, plugin_id, "1.1.0", None)
    assert (view.version.number, view.plugin.grants, view.plugin.waiting) == ("1.1.0", (DATABASE,), None)
    assert world.events[-1].data["grants"] == [DATABASE.to_document()]
    assert list(world.databases.places) == [(admin.tenant_id, plugin_id)]
    assert await found(world, admin, UpgradeFilter.WAITING) == []


async def test_an_admin_may_narrow_or_leave_out_what_is_new(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    wide = {"permissions": [{"service": "network", "hosts": ["*.acme.com"]}, "database"]}
    await world.upload(admin, manifest(version="1.1.0", security=wide))
    with pytest.raises(ConsentRequired):
        await upgrade(world.platform, admin, view.plugin.id, None, None)
    with pytest.raises(InvalidInput):
        await consent(world.platform, admin, view.plugin.id, "1.1.0", [network("evil.com")])
    changed = await consent(world.platform, admin, view.plugin.id, "1.1.0", [network("api.acme.com")])
    assert changed.plugin.grants == (network("api.acme.com"),)
    stands = await standing(world.platform, admin, changed)
    assert [one.status for one in stands.asks] == [AskStatus.NARROWED, AskStatus.DECLINED]


async def test_a_declined_upgrade_waits_no_longer_and_says_why_to_who_asks_again(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin)
    view = await decline(world.platform, admin, plugin_id, "1.1.0", "no need for it")
    assert view.version.number == "1.0.0"
    assert await found(world, admin, UpgradeFilter.WAITING) == []
    assert (world.events[-1].type, world.events[-1].data["reason"]) == (
        EventType.PLUGIN_UPGRADE_DECLINED, "no need for it",
    )  # fmt: skip
    with pytest.raises(ConsentRequired, match="no need for it"):
        await upgrade(world.platform, admin, plugin_id, None, None)
    declined = (await world.fetch(admin, plugin_id)).plugin.waiting
    assert declined is not None
    assert (declined.declined, declined.decided_by) == (True, "key:admin")
    with pytest.raises(Conflict):
        await decline(world.platform, admin, plugin_id, "1.1.0", "twice")
    assert (await consent(world.platform, admin, plugin_id, "1.1.0", None)).version.number == "1.1.0"


@pytest.mark.parametrize("number", ["1.0.0", "9.9.9"])
async def test_nothing_but_what_waits_is_consented_to_or_declined(world: World, admin: Caller, number: str) -> None:
    plugin_id = await waiting(world, admin)
    with pytest.raises(Conflict):
        await consent(world.platform, admin, plugin_id, number, None)
    with pytest.raises(Conflict):
        await decline(world.platform, admin, plugin_id, number, "no")


async def test_consent_is_refused_before_the_first_install(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, manifest(security=ASKS_MORE))
    with pytest.raises(Conflict, match="installing"):
        await consent(world.platform, admin, uploaded.view.plugin.id, "1.0.0", None)


async def test_a_consent_that_cannot_be_followed_leaves_the_upgrade_waiting(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    schema = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
    await world.upload(admin, manifest(version="1.1.0", security=ASKS_MORE, configuration=schema))
    with pytest.raises(ConsentRequired):
        await upgrade(world.platform, admin, view.plugin.id, None, None)
    with pytest.raises(Conflict, match="configuration"):
        await consent(world.platform, admin, view.plugin.id, "1.1.0", None)
    kept = await world.fetch(admin, view.plugin.id)
    assert kept.plugin.waiting is not None
    assert kept.version.number == "1.0.0"


async def test_a_version_that_was_passed_waits_no_longer_and_a_higher_one_does(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin, "2.0.0")
    await world.upload(admin, manifest(version="1.1.0"))
    await upgrade(world.platform, admin, plugin_id, "1.1.0", None)
    kept = (await world.fetch(admin, plugin_id)).plugin.waiting
    assert kept is not None
    assert kept.version == "2.0.0"
    await world.upload(admin, manifest(version="3.0.0"))
    assert (await upgrade(world.platform, admin, plugin_id, "3.0.0", None)).plugin.waiting is None


async def test_an_uninstalled_plugin_waits_for_nothing(world: World, admin: Caller) -> None:
    plugin_id = await waiting(world, admin)
    assert (await uninstall(world.platform, admin, plugin_id)).plugin.waiting is None


async def test_an_install_says_of_which_version_it_was_shown_the_requests(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, manifest(security=ASKS_MORE))
    await world.upload(admin, manifest(version="1.1.0", security=ASKS_MORE))
    with pytest.raises(Conflict, match=r"version 1\.1\.0 by now"):
        await install(world.platform, admin, uploaded.view.plugin.id, None, "1.0.0")
    assert (await install(world.platform, admin, uploaded.view.plugin.id, None, "1.1.0")).plugin.grants == (DATABASE,)


async def test_what_waits_is_shown_by_the_grants_of_now(world: World) -> None:
    tenant = await world.tenant("shifting", auto_grant=frozenset())
    admin = as_role(Role.ADMIN, tenant.id)
    plugin_id = await waiting(world, admin)
    async with world.store.for_operator() as tx:
        policy = type(tenant.policy)(frozenset({Service.DATABASE}))
        await tx.save_policy(tenant.id, policy, world.clock())
    stands = await standing(world.platform, admin, await world.fetch(admin, plugin_id))
    assert stands.waiting is not None
    assert stands.waiting.asks == ()


# what a publisher offers to those who installed it


async def test_a_publisher_s_new_version_is_available_to_those_who_installed_it(world: World, admin: Caller) -> None:
    guest = await world.caller("guest")
    view = await world.active(admin)
    listing = await publish(world.platform, admin, view.plugin.id, None)
    copy = await install_listing(world.platform, guest, listing.id, None, activate=True)
    assert (await standing(world.platform, guest, copy)).available is None
    await world.upload(admin, manifest(version="1.1.0", security=ASKS_MORE))
    await publish(world.platform, admin, view.plugin.id, "1.1.0")
    rows = world.store.tables.copy()
    offered = (await standing(world.platform, guest, copy)).available
    assert world.store.tables == rows  # looking stores nothing
    assert offered is not None
    assert (offered.version.number, offered.from_marketplace, offered.asks) == ("1.1.0", True, (DATABASE,))
    assert await found(world, guest, UpgradeFilter.AVAILABLE) == ["greeter"]
    assert await found(world, guest, UpgradeFilter.WAITING) == []
    upgraded = await consent(world.platform, guest, copy.plugin.id, "1.1.0", None)
    assert (upgraded.version.number, upgraded.version.tenant_id) == ("1.1.0", guest.tenant_id)
    assert await found(world, guest, UpgradeFilter.AVAILABLE) == []


async def test_a_listing_shows_what_installing_it_would_ask_of_the_caller_s_tenant(world: World, admin: Caller) -> None:
    guest = await world.caller("guest")
    view = await world.active(admin, manifest(security={"permissions": ["cache", "database"]}))
    listing = await publish(world.platform, admin, view.plugin.id, None)
    (asked,) = await asks_of_listings(world.platform, guest, [listing])
    assert [(one.permission.service, one.status) for one in asked] == [
        (Service.CACHE, AskStatus.POLICY), (Service.DATABASE, AskStatus.WAITING),
    ]  # fmt: skip


async def test_a_listing_is_installed_as_it_was_shown(world: World, admin: Caller) -> None:
    guest = await world.caller("guest")
    view = await world.active(admin)
    listing = await publish(world.platform, admin, view.plugin.id, None)
    with pytest.raises(Conflict, match=r"version 1\.0\.0 by now"):
        await install_listing(world.platform, guest, listing.id, None, activate=False, number="0.9.0")
    copy = await install_listing(world.platform, guest, listing.id, None, activate=False, number="1.0.0")
    assert copy.version.number == "1.0.0"


async def test_what_the_operator_withholds_is_said_so(world: World, admin: Caller) -> None:
    view = (await world.upload(admin, manifest(security={"permissions": ["cache", "database"]}))).view
    async with world.store.for_operator() as tx:
        bounds = TenantBounds(grantable=frozenset({Service.CACHE}))
        await tx.save_bounds(admin.tenant_id or "", bounds, world.clock())
    stands = await standing(world.platform, admin, view)
    assert [one.grantable for one in stands.asks] == [True, False]


async def test_an_own_version_that_was_uploaded_is_available(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.upload(admin, manifest(version="1.1.0"))
    offered = (await standing(world.platform, admin, view)).available
    assert offered is not None
    assert (offered.version.number, offered.from_marketplace, offered.asks) == ("1.1.0", False, ())
