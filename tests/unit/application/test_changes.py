"""What a replica does when it hears of another's change."""

from dataclasses import replace

from plugyard.application.activate import deactivate
from plugyard.application.changes import Change, Changed, heard, missed
from plugyard.application.deliveries import webhook_at
from plugyard.application.keys import authenticate, create_key, hash_of
from plugyard.application.tenants import require_active
from plugyard.application.webhooks import create_webhook
from plugyard.domain.identity import Role
from plugyard.domain.webhooks import Scheme
from tests.memory.world import World, manifest


async def test_a_changed_plugin_is_read_anew_and_its_environments_end(world: World) -> None:
    admin = await world.caller()
    view = await world.active(admin)
    await world.execute(admin, view)
    assert admin.tenant_id is not None
    name = ("plugin", admin.tenant_id, view.plugin.id)
    assert name in world.platform.copies
    await heard(world.platform, Change(Changed.PLUGIN, admin.tenant_id, view.plugin.id))
    assert name not in world.platform.copies
    assert view.plugin.id in world.executor.forgotten


async def test_a_changed_tenant_or_key_is_read_anew(world: World) -> None:
    admin = await world.caller()
    _, secret = await create_key(world.platform, admin, "ci", Role.VIEWER, None)
    await authenticate(world.platform, secret, request_id="r")
    name = ("key", hash_of(world.platform, secret))
    assert name in world.platform.copies
    await heard(world.platform, Change(Changed.KEY))
    assert name not in world.platform.copies
    await require_active(world.platform, admin)
    assert ("standing", admin.tenant_id) in world.platform.copies
    assert admin.tenant_id is not None
    await heard(world.platform, Change(Changed.TENANT, admin.tenant_id, "active"))
    assert ("standing", admin.tenant_id) not in world.platform.copies


async def test_a_changed_webhook_is_read_anew(world: World) -> None:
    admin = await world.caller()
    fields = {"api": {"endpoints": [{"method": "POST", "path": "/orders", "handler": "greet"}]}}
    view = await world.active(admin, manifest(**fields))
    made, token, _ = await create_webhook(
        world.platform, admin, view.plugin.id, "shop", "/orders", Scheme.PLUGYARD, None
    )
    assert await webhook_at(world.platform, token) == made
    async with world.store.for_tenant(made.tenant_id) as tx:
        await tx.save_webhook(replace(made, revoked_at=world.clock()))
    assert await webhook_at(world.platform, token) == made, "a copy is kept for a moment"
    await heard(world.platform, Change(Changed.WEBHOOK, made.tenant_id, made.id))
    assert await webhook_at(world.platform, token) is None


async def test_after_silence_everything_is_read_anew(world: World) -> None:
    admin = await world.caller()
    view = await world.active(admin)
    await world.execute(admin, view)
    world.platform.copies.put(("plugin", "another's", "id"), "read before", world.clock())
    await deactivate(world.platform, admin, view.plugin.id)
    assert world.platform.copies
    missed(world.platform)
    assert not world.platform.copies
