"""API keys: shown once, known by a keyed hash, revoked at once, bound to their tenant."""

from datetime import datetime, timedelta

import pytest

from plugyard.application.keys import PREFIX, authenticate, create_key, hash_of, keys, new_secret, revoke_key
from plugyard.application.platform import Platform
from plugyard.application.ports import PageRequest
from plugyard.application.tenants import ensure_key
from plugyard.domain.errors import Forbidden, InvalidInput, NotFound, StoreUnavailable, Unauthenticated
from plugyard.domain.identity import ApiKey, Caller, Role
from tests.memory.world import World


async def made(world: World, admin: Caller, role: Role = Role.DEVELOPER, **how: datetime) -> tuple[ApiKey, str]:
    return await create_key(world.platform, admin, "ci", role, how.get("expires_at"))


async def known(world: World, secret: str, wanted: str | None = None) -> Caller:
    return await authenticate(world.platform, secret, request_id="r", wanted_tenant=wanted)


async def test_a_key_says_who_asks_with_which_role_in_which_tenant(world: World, admin: Caller) -> None:
    key, secret = await made(world, admin)
    assert await known(world, secret) == Caller(f"key:{key.id}", Role.DEVELOPER, admin.tenant_id, "r")


async def test_the_secret_is_random_long_and_nowhere_stored(world: World, admin: Caller) -> None:
    _, secret = await made(world, admin)
    assert secret.startswith(PREFIX)
    assert len(secret) >= len(PREFIX) + 43
    assert new_secret() != secret
    assert secret not in repr(world.store.tables)
    assert list(world.store.tables.key_hashes) == [hash_of(world.platform, secret)]


def test_the_hash_depends_on_the_pepper(world: World) -> None:
    other = Platform(**{**vars(world.platform), "pepper": b"another"})
    assert hash_of(world.platform, "secret") != hash_of(other, "secret")
    assert len(hash_of(world.platform, "secret")) == 32


@pytest.mark.parametrize("secret", ["", "plugyard_", "plugyard_unknown", "Bearer x", "plugyard_" + "a" * 500])
async def test_a_key_that_is_not_known_is_refused(world: World, secret: str) -> None:
    with pytest.raises(Unauthenticated):
        await known(world, secret)
    assert not world.platform.copies


async def test_a_key_of_another_shape_costs_no_look_at_the_store(world: World) -> None:
    world.store.available = False
    with pytest.raises(Unauthenticated):
        await known(world, "password")
    with pytest.raises(StoreUnavailable):
        await known(world, new_secret())


async def test_a_key_ends_when_it_expires(world: World, admin: Caller) -> None:
    _, secret = await made(world, admin, expires_at=world.clock() + timedelta(minutes=1))
    await known(world, secret)
    world.clock.forward(seconds=60)
    with pytest.raises(Unauthenticated):
        await known(world, secret)


async def test_a_key_cannot_be_made_expired_or_without_an_offset(world: World, admin: Caller) -> None:
    for expires_at in (world.clock(), world.clock().replace(tzinfo=None) + timedelta(days=1)):
        with pytest.raises(InvalidInput) as caught:
            await made(world, admin, expires_at=expires_at)
        assert caught.value.errors[0].pointer == "/expiresAt"


async def test_a_revoked_key_is_refused_at_once_and_stays_listed(world: World, admin: Caller) -> None:
    key, secret = await made(world, admin)
    await known(world, secret)
    await world.quiet()
    revoked = await revoke_key(world.platform, admin, key.id)
    assert revoked.revoked_at == world.clock()
    with pytest.raises(Unauthenticated):
        await known(world, secret)
    assert await revoke_key(world.platform, admin, key.id) == revoked
    assert (await keys(world.platform, admin, PageRequest())).items == (revoked,)
    assert world.actions == ["key.created", "key.revoked"]


async def test_a_key_revoked_by_another_process_is_refused_when_its_copy_is_old(world: World, admin: Caller) -> None:
    key, secret = await made(world, admin)
    await known(world, secret)
    await world.quiet()
    world.store.tables.keys.pop(key.id)
    await known(world, secret)
    world.clock.forward(seconds=world.policies.key_cache_s)
    with pytest.raises(Unauthenticated):
        await known(world, secret)


async def test_the_last_use_is_written_down_at_most_once_a_minute(world: World, admin: Caller) -> None:
    key, secret = await made(world, admin)
    first = world.clock()
    for _ in range(4):
        await known(world, secret)
        await world.quiet()
        world.clock.forward(seconds=20)
    assert world.store.tables.keys[key.id].last_used_at == first
    world.clock.forward(seconds=1)
    await known(world, secret)
    await world.quiet()
    assert world.store.tables.keys[key.id].last_used_at == world.clock()


async def test_a_last_use_that_this_process_knows_is_not_forgotten_with_its_copy(world: World, admin: Caller) -> None:
    key, secret = await made(world, admin)
    touched: list[object] = []

    async def touch_keys(used: object) -> None:
        touched.append(used)

    world.store.touch_keys = touch_keys  # type: ignore[method-assign]
    for _ in range(3):
        await known(world, secret)
        world.clock.forward(seconds=2)
    await world.quiet()
    assert len(touched) == 1, key


async def test_an_operator_key_cannot_be_made_by_a_tenant(world: World, admin: Caller) -> None:
    with pytest.raises(Forbidden):
        await made(world, admin, Role.OPERATOR)


async def test_another_tenant_s_key_is_a_missing_one(world: World, admin: Caller) -> None:
    key, _ = await made(world, admin)
    stranger = await world.caller("other")
    with pytest.raises(NotFound):
        await revoke_key(world.platform, stranger, key.id)
    assert (await keys(world.platform, stranger, PageRequest())).items == ()


async def test_a_tenant_s_key_may_name_its_own_tenant_and_no_other(world: World, admin: Caller) -> None:
    _, secret = await made(world, admin)
    await world.tenant("other")
    assert admin.tenant_id is not None
    for name in (None, "acme", admin.tenant_id):
        assert (await known(world, secret, name)).tenant_id == admin.tenant_id
    with pytest.raises(NotFound) as foreign:
        await known(world, secret, "other")
    with pytest.raises(NotFound) as missing:
        await known(world, secret, "nowhere")
    assert foreign.value.message == missing.value.message


async def test_an_operator_names_the_tenant_to_act_in(world: World, admin: Caller) -> None:
    secret = new_secret()
    await ensure_key(world.platform, secret, name="operator", role=Role.OPERATOR, tenant_id=None)
    assert admin.tenant_id is not None
    assert (await known(world, secret)).tenant_id is None
    for name in ("acme", admin.tenant_id):
        assert (await known(world, secret, name)).tenant_id == admin.tenant_id
    with pytest.raises(NotFound):
        await known(world, secret, "nowhere")
