"""Any two versions of a plugin are compared, the one that its listing offers included."""

import pytest

from plugyard.application.compare import difference
from plugyard.application.marketplace import install_listing, publish
from plugyard.domain.errors import NotFound
from plugyard.domain.identity import Caller
from tests.memory.world import World, manifest


async def test_two_versions_are_compared_in_either_direction(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.upload(admin, manifest(version="1.1.0", security={"permissions": ["database"]}))
    there = await difference(world.platform, admin, view.plugin.id, "1.0.0", "1.1.0")
    back = await difference(world.platform, admin, view.plugin.id, "1.1.0", "1.0.0")
    assert [one.shift.value for one in (*there.permissions, *back.permissions)] == ["added", "removed"]


async def test_what_a_listing_offers_is_compared_before_it_is_taken(world: World, admin: Caller) -> None:
    guest = await world.caller("guest")
    view = await world.active(admin)
    listing = await publish(world.platform, admin, view.plugin.id, None)
    copy = await install_listing(world.platform, guest, listing.id, None, activate=True)
    await world.upload(admin, manifest(version="1.1.0", security={"permissions": ["database"]}))
    await publish(world.platform, admin, view.plugin.id, "1.1.0")
    rows = world.store.tables.copy()
    found = await difference(world.platform, guest, copy.plugin.id, "1.0.0", "1.1.0")
    assert world.store.tables == rows
    assert [one.service.value for one in found.permissions] == ["database"]
    assert found.appeared is None


@pytest.mark.parametrize(("a", "b"), [("1.0.0", "9.9.9"), ("9.9.9", "1.0.0"), ("1.0.0", "\0")])
async def test_a_version_that_is_not_there_is_missing(world: World, admin: Caller, a: str, b: str) -> None:
    view = await world.active(admin)
    with pytest.raises(NotFound):
        await difference(world.platform, admin, view.plugin.id, a, b)


async def test_another_tenant_s_plugin_is_missing(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(NotFound, match="no plugin"):
        await difference(world.platform, await world.caller("other"), view.plugin.id, "1.0.0", "1.0.0")
