"""Objects that no version names are swept, once they are too old to be part of an upload under way."""

from datetime import timedelta
from typing import Any

import pytest

from plugyard.application import housekeeping
from plugyard.application.housekeeping import YOUNGEST, drop_data, sweep_orphans
from plugyard.application.uninstall import uninstall
from plugyard.application.upload import bundle_key, package_key
from plugyard.domain.errors import StoreUnavailable
from plugyard.domain.identity import Caller
from tests.memory.world import World, manifest

ORPHAN = "0f" * 32


async def leave_orphan(world: World, digest: str = ORPHAN) -> None:
    await world.objects.put(package_key(digest), b"package")
    await world.objects.put(bundle_key(digest), b"{}")


async def test_what_no_version_names_is_swept_and_the_rest_stays(world: World, admin: Caller) -> None:
    named = (await world.upload(admin)).version.digest
    await leave_orphan(world)
    await world.objects.put("elsewhere/x", b"not ours to judge")
    world.clock.forward(seconds=YOUNGEST.total_seconds() + 1)
    assert await sweep_orphans(world.platform) == 2
    assert set(world.objects.held) == {package_key(named), bundle_key(named), "elsewhere/x"}
    assert await sweep_orphans(world.platform) == 0


async def test_young_objects_may_still_get_their_row(world: World) -> None:
    await leave_orphan(world)
    world.clock.forward(seconds=YOUNGEST.total_seconds())
    assert await sweep_orphans(world.platform) == 0


async def test_packages_of_uninstalled_plugins_are_kept_for_the_audit(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin)
    await uninstall(world.platform, admin, uploaded.view.plugin.id)
    world.clock.forward(days=30)
    assert await sweep_orphans(world.platform) == 0


async def test_what_comes_again_while_it_is_swept_stays(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of a bucket is seconds old when its last key is deleted."""
    digest = (await world.upload(admin)).version.digest
    await leave_orphan(world)
    world.clock.forward(days=1)
    deleted, unnamed = world.objects.delete, housekeeping._unnamed
    looks = 0

    async def seen(platform: Any, keys: list[str]) -> list[str]:
        nonlocal looks
        looks += 1
        # At the first look the row of the upload is not there yet.
        return keys if looks == 1 else await unnamed(platform, keys)

    async def delete(key: str) -> None:
        await deleted(key)
        # The other key of the orphan is put again at this moment.
        await world.objects.put(bundle_key(ORPHAN), b"{}")

    monkeypatch.setattr(housekeeping, "_unnamed", seen)
    monkeypatch.setattr(world.objects, "delete", delete)
    assert await sweep_orphans(world.platform) == 1
    assert set(world.objects.held) == {package_key(digest), bundle_key(digest), bundle_key(ORPHAN)}


async def test_many_orphans_are_swept_in_batches(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(housekeeping, "_BATCH", 3)
    for number in range(7):
        await leave_orphan(world, f"{number:064x}")
    world.clock.forward(days=1)
    assert await sweep_orphans(world.platform) == 14
    assert world.objects.held == {}


async def test_data_of_a_plugin_outlives_it_for_a_while_and_not_longer(world: World, admin: Caller) -> None:
    asks = manifest(security={"permissions": ["database", "filesystem"]})
    kept = (await world.active(admin, asks)).plugin
    gone = (await world.active(admin, manifest("other", security={"permissions": ["database"]}), code="b")).plugin
    for plugin in (kept, gone):
        await world.objects.put(f"files/{plugin.tenant_id}/{plugin.id}/a", b"data")
    assert set(world.databases.places) == {(one.tenant_id, one.id) for one in (kept, gone)}
    await uninstall(world.platform, admin, gone.id)
    world.clock.forward(days=7)
    assert await drop_data(world.platform, timedelta(days=7)) == 0
    world.clock.forward(seconds=1)
    assert await drop_data(world.platform, timedelta(days=7)) == 1
    assert set(world.databases.places) == {(kept.tenant_id, kept.id)}
    left = [key async for key, _ in world.objects.list("files/")]
    assert left == [f"files/{kept.tenant_id}/{kept.id}/a"]
    assert await drop_data(world.platform, timedelta(days=7)) == 0


async def test_one_whose_data_cannot_be_dropped_holds_up_no_other(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks = {"permissions": ["database"]}
    plugins = [
        (await world.active(admin, manifest(name, security=asks), code=name)).plugin for name in ("one", "two", "three")
    ]
    for one in plugins:
        await uninstall(world.platform, admin, one.id)
    world.clock.forward(days=8)
    dropped, stuck = world.databases.drop, sorted(one.id for one in plugins)[1]

    async def drop(tenant_id: str, plugin_id: str) -> None:
        if plugin_id == stuck:
            raise StoreUnavailable
        await dropped(tenant_id, plugin_id)

    monkeypatch.setattr(world.databases, "drop", drop)
    with pytest.raises(StoreUnavailable):
        await drop_data(world.platform, timedelta(days=7))
    assert [plugin_id for _, plugin_id in world.databases.places] == [stuck]


async def test_a_plugin_that_was_not_granted_the_database_has_none(world: World, admin: Caller) -> None:
    await world.active(admin, manifest(security={"permissions": ["cache"]}))
    assert world.databases.places == {}
