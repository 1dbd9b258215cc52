"""A deleted tenant is gone altogether, whatever interrupts the deleting, and nobody else misses anything."""

import json
from typing import Any

import pytest

from plugyard.application.erase import delete_tenant, finish_deletions
from plugyard.application.export import export_tenant
from plugyard.application.marketplace import install_listing, publish, rate
from plugyard.application.ports import PageRequest
from plugyard.application.tenants import resume, suspend, tenant, tenants
from plugyard.application.upload import bundle_key, package_key
from plugyard.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, StoreUnavailable, TenantSuspended
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Caller, Role
from plugyard.domain.tenants import TenantState
from tests.memory.world import World, as_role, manifest
from tests.unit.application.test_export import a_busy_tenant, read

OPERATOR = as_role(Role.OPERATOR, None)


async def delete(world: World, caller: Caller, *, forced_because: str | None = "they asked", **how: Any) -> Any:
    assert caller.tenant_id is not None
    return await delete_tenant(
        world.platform,
        OPERATOR,
        caller.tenant_id,
        confirmation=how.get("confirmation"),
        forced_because=forced_because,
    )


async def suspended(world: World, admin: Caller) -> None:
    assert admin.tenant_id is not None
    await suspend(world.platform, OPERATOR, admin.tenant_id, "leaving")
    await world.quiet()


def left_of(world: World, tenant_id: str) -> set[str]:
    """Where something of the tenant is still found."""
    tables = world.store.tables
    found = {
        name
        for name in ("keys", "plugins", "versions", "executions", "listings", "ratings")
        if any(one.tenant_id == tenant_id for one in getattr(tables, name).values())
    }
    found |= {"outbox"} if any(event.tenant_id == tenant_id for event in tables.outbox) else set()
    found |= {"replies"} if any(place[0] == tenant_id for place in tables.replies) else set()
    found |= {"files"} if any(tenant_id in key for key in world.objects.held) else set()
    found |= {"databases"} if any(owner == tenant_id for owner, _ in world.databases.places) else set()
    return found


async def test_nothing_of_a_deleted_tenant_is_left_and_nothing_of_another_is_missed(
    world: World, admin: Caller
) -> None:
    mine, theirs = await a_busy_tenant(world, admin)
    assert admin.tenant_id is not None
    await world.platform.databases.provide(admin.tenant_id, mine.plugin.id)
    await world.platform.databases.provide(theirs.plugin.tenant_id, theirs.plugin.id)
    world.clock.forward(hours=2)
    shared = theirs.version.digest  # admin's copy from the marketplace names the same package
    others = {
        name: {key: one for key, one in getattr(world.store.tables, name).items() if one.tenant_id != admin.tenant_id}
        for name in ("keys", "plugins", "versions", "executions", "listings", "ratings")
    }
    await suspended(world, admin)
    going = await delete(world, admin)
    assert going.state is TenantState.DELETING
    await world.quiet()
    assert left_of(world, admin.tenant_id) == set()
    assert package_key(mine.version.digest) not in world.objects.held
    assert bundle_key(mine.version.digest) not in world.objects.held
    assert package_key(shared) in world.objects.held
    for name, rows in others.items():
        assert getattr(world.store.tables, name) == rows, name
    assert set(world.databases.places) == {(theirs.plugin.tenant_id, theirs.plugin.id)}
    with pytest.raises(NotFound):
        await tenant(world.platform, OPERATOR, admin.tenant_id)
    assert [one.slug for one in (await tenants(world.platform, OPERATOR, PageRequest())).items] == ["other"]
    other = as_role(Role.ADMIN, theirs.plugin.tenant_id)
    assert (await world.execute(other, theirs)).execution.status is ExecutionStatus.SUCCEEDED
    about = [entry for entry in world.store.tables.audit if entry.tenant_id == admin.tenant_id]
    assert about, "the trail stays"
    assert world.actions[-1] == "tenant.deleted"


@pytest.mark.parametrize("step", ["forget", "held", "objects", "erase", "packages", "bury"])
async def test_a_deletion_that_was_interrupted_at_any_step_is_finished(
    world: World, admin: Caller, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_busy_tenant(world, admin)
    assert admin.tenant_id is not None
    world.clock.forward(hours=2)
    await suspended(world, admin)

    def interrupted(*given: Any, **named: Any) -> Any:
        raise StoreUnavailable

    places = {
        "forget": (world.executor, "forget"),
        "held": (world.databases, "held"),
        "objects": (world.objects, "delete"),
        "erase": ("tests.memory.store.MemoryOperatorTransaction", "erase"),
        "packages": ("tests.memory.store.MemoryOperatorTransaction", "known_digests"),
        "bury": ("tests.memory.store.MemoryOperatorTransaction", "bury"),
    }
    owner, name = places[step]
    with monkeypatch.context() as patch:
        if isinstance(owner, str):
            patch.setattr(f"{owner}.{name}", interrupted)
        else:
            patch.setattr(owner, name, interrupted)
        await delete(world, admin)
        await world.quiet()
    assert (await tenant(world.platform, OPERATOR, admin.tenant_id)).state is TenantState.DELETING
    assert await finish_deletions(world.platform) == 1
    assert left_of(world, admin.tenant_id) == set()
    with pytest.raises(NotFound):
        await tenant(world.platform, OPERATOR, admin.tenant_id)
    assert await finish_deletions(world.platform) == 0


async def test_only_a_suspended_tenant_is_deleted_and_only_with_its_export_or_a_reason(
    world: World, admin: Caller
) -> None:
    assert admin.tenant_id is not None
    with pytest.raises(Conflict):
        await delete(world, admin)
    await suspended(world, admin)
    for confirmation in (None, "0" * 64, "ÿ"):
        with pytest.raises(InvalidInput):
            await delete(world, admin, forced_because=None, confirmation=confirmation)
    archive = await read(await export_tenant(world.platform, OPERATOR, admin.tenant_id))
    confirmation = json.loads(archive.read("manifest.json"))["confirmation"]
    await resume(world.platform, OPERATOR, admin.tenant_id)
    world.clock.forward(minutes=1)
    await suspended(world, admin)
    with pytest.raises(InvalidInput):
        await delete(world, admin, forced_because=None, confirmation=confirmation)
    archive = await read(await export_tenant(world.platform, OPERATOR, admin.tenant_id))
    confirmation = json.loads(archive.read("manifest.json"))["confirmation"]
    going = await delete(world, admin, forced_because=None, confirmation=confirmation)
    assert going.state is TenantState.DELETING
    with pytest.raises(Forbidden):
        await delete_tenant(world.platform, admin, admin.tenant_id, confirmation=None, forced_because="mine")
    with pytest.raises(NotFound):
        await delete_tenant(world.platform, OPERATOR, "gone", confirmation=None, forced_because="x")


async def test_a_tenant_that_is_being_deleted_cannot_come_back(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    assert admin.tenant_id is not None
    await suspended(world, admin)
    await delete(world, admin)
    with pytest.raises(Conflict):
        await resume(world.platform, OPERATOR, admin.tenant_id)
    assert (await delete(world, admin)).state is TenantState.DELETING, "asking again changes nothing"
    with pytest.raises((TenantSuspended, NotFound)):
        await world.execute(admin, view)
    await world.quiet()


async def test_what_others_installed_and_said_of_its_listings_stays_theirs(world: World, admin: Caller) -> None:
    listing = await publish(world.platform, admin, (await world.active(admin)).plugin.id, None)
    other = await world.caller("other")
    copy = await install_listing(world.platform, other, listing.id, None, activate=True)
    await rate(world.platform, other, listing.id, 5, "fine")
    world.clock.forward(hours=2)
    await suspended(world, admin)
    await delete(world, admin)
    await world.quiet()
    assert (await world.execute(other, copy)).execution.status is ExecutionStatus.SUCCEEDED
    assert package_key(copy.version.digest) in world.objects.held
    assert [one.stars for one in world.store.tables.ratings.values()] == [5]


async def test_a_young_package_is_left_to_the_sweep_of_orphans(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest())
    await suspended(world, admin)
    await delete(world, admin)
    await world.quiet()
    assert package_key(view.version.digest) in world.objects.held


async def test_a_deletion_that_cannot_go_on_holds_up_no_other(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = await world.caller("other")
    for caller in (admin, other):
        assert caller.tenant_id is not None
        await world.platform.databases.provide(caller.tenant_id, "plugin")
        await suspended(world, caller)
    dropped = world.databases.drop

    async def drop(tenant_id: str, plugin_id: str) -> None:
        if tenant_id == admin.tenant_id:
            raise StoreUnavailable
        await dropped(tenant_id, plugin_id)

    with monkeypatch.context() as patch:
        patch.setattr(world.databases, "drop", drop)
        for caller in (admin, other):
            await delete(world, caller)
        await world.quiet()
        assert await finish_deletions(world.platform) == 0
    assert [one.slug for one in (await tenants(world.platform, OPERATOR, PageRequest())).items] == ["acme"]
    assert await finish_deletions(world.platform) == 1
