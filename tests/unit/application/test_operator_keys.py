"""Operators' own keys: made, rotated, revoked, and never all of them."""

from datetime import timedelta

import pytest

from plugyard.application.keys import authenticate, key_of
from plugyard.application.operatorkeys import (
    create_operator_key,
    operator_keys,
    revoke_operator_key,
    rotate_operator_key,
)
from plugyard.application.ports import PageRequest
from plugyard.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from plugyard.domain.identity import Action, Caller, Role
from plugyard.domain.scopes import Scope
from tests.memory.world import World, as_role

PAGE = PageRequest()
REVIEW = Scope(frozenset({Action.REVIEW.value}))


@pytest.fixture
async def operator(world: World) -> Caller:
    """Who holds the first operator key, which works without end."""
    _, secret = await create_operator_key(world.platform, as_role(Role.OPERATOR, None), "first", None)
    return await authenticate(world.platform, secret, request_id="r")


async def test_a_new_key_makes_an_operator_of_no_tenant(world: World, operator: Caller) -> None:
    key, secret = await create_operator_key(world.platform, operator, "Grace", None)
    found = await authenticate(world.platform, secret, request_id="r")
    assert (found.role, found.tenant_id, found.actor) == (Role.OPERATOR, None, f"key:{key.id}")
    listed = await operator_keys(world.platform, operator, PAGE)
    assert [one.name for one in listed.items] == ["Grace", "first"]
    entry = world.store.tables.audit[-1]
    assert (entry.tenant_id, entry.action, entry.target) == (None, "key.created", key.id)


async def test_a_rotated_key_works_until_the_overlap_ends(world: World, operator: Caller) -> None:
    key, old = await create_operator_key(world.platform, operator, "Grace", None)
    new, secret = await rotate_operator_key(world.platform, operator, key.id, timedelta(hours=1))
    assert new.succeeds == key.id
    await authenticate(world.platform, old, request_id="r")
    world.clock.forward(hours=1)
    with pytest.raises(Unauthenticated):
        await authenticate(world.platform, old, request_id="r")
    await authenticate(world.platform, secret, request_id="r")
    with pytest.raises(Conflict):
        await rotate_operator_key(world.platform, operator, key.id, timedelta(0))


async def test_the_last_that_works_is_kept(world: World, operator: Caller) -> None:
    first = operator.actor.removeprefix("key:")
    await create_operator_key(world.platform, operator, "narrow", None, (REVIEW,))
    await create_operator_key(world.platform, operator, "short", world.clock() + timedelta(days=1))
    with pytest.raises(Conflict, match="last operator key"):
        await revoke_operator_key(world.platform, operator, first)
    assert (await operator_keys(world.platform, operator, PAGE)).items[-1].revoked_at is None
    _, secret = await create_operator_key(world.platform, operator, "second", None)
    assert (await revoke_operator_key(world.platform, operator, first)).revoked_at is not None
    await authenticate(world.platform, secret, request_id="r")


async def test_tenants_keys_and_operators_are_not_found_as_each_other(world: World, operator: Caller) -> None:
    admin = await world.caller()
    key, _ = await create_operator_key(world.platform, operator, "Grace", None)
    with pytest.raises(NotFound):
        await key_of(world.platform, admin, key.id)
    tenants_key = next(iter(world.store.tables.keys.values()))
    assert admin.tenant_id is not None
    async with world.store.for_tenant(admin.tenant_id) as tx:
        await tx.add_key(own := type(key)("own", admin.tenant_id, "own", Role.ADMIN, world.clock()), b"own")
    for use in (rotate_operator_key(world.platform, operator, own.id, timedelta(0)),):
        with pytest.raises(NotFound):
            await use
    with pytest.raises(NotFound):
        await revoke_operator_key(world.platform, operator, own.id)
    assert tenants_key.tenant_id is None


async def test_a_narrowed_operator_makes_and_ends_no_wider_key(world: World, operator: Caller) -> None:
    narrow = Caller(operator.actor, Role.OPERATOR, None, "r", (REVIEW,))
    with pytest.raises(Forbidden):
        await create_operator_key(world.platform, narrow, "wider", None)
    with pytest.raises(Forbidden):
        await revoke_operator_key(world.platform, narrow, operator.actor.removeprefix("key:"))
    with pytest.raises(InvalidInput):
        await create_operator_key(world.platform, operator, "late", world.clock())


async def test_it_is_written_in_the_platforms_trail_though_the_operator_named_a_tenant(
    world: World, operator: Caller
) -> None:
    tenant = await world.tenant()
    acting = Caller(operator.actor, Role.OPERATOR, tenant.id, "r")
    key, _ = await create_operator_key(world.platform, acting, "Grace", None)
    await revoke_operator_key(world.platform, acting, key.id)
    assert [one.tenant_id for one in world.store.tables.audit[-2:]] == [None, None]
