"""Rotations of one key at the same time, on every store."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plugyard.application.keys import rotate_key
from plugyard.application.ports import PageRequest
from plugyard.application.tenants import ensure_key, ensure_tenant
from plugyard.domain.errors import Conflict
from plugyard.domain.identity import Caller, Role
from tests.contract.conftest import Stored
from tests.contract.given import a_key, a_tenant, new_id
from tests.memory.world import World


async def test_of_rotations_at_once_one_succeeds(stored: Stored, tmp_path: Path) -> None:
    tenant = await a_tenant(stored.store)
    key = a_key(tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_key(key, key.id.encode())
    platform = replace(World(tmp_path).platform, store=stored.store, ids=new_id, clock=lambda: datetime.now(UTC))
    caller = Caller("key:admin", Role.ADMIN, tenant.id)
    rotations = [rotate_key(platform, caller, key.id, timedelta(days=1)) for _ in range(8)]
    ended = await asyncio.gather(*rotations, return_exceptions=True)
    assert [type(one) for one in ended].count(Conflict) == 7
    async with stored.store.for_tenant(tenant.id) as tx:
        assert [one.succeeds for one in (await tx.list_keys(PageRequest())).items].count(key.id) == 1


async def test_operators_keys_are_those_of_no_tenant(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    own, operators = a_key(tenant.id), a_key(None, role=Role.OPERATOR)
    successor = a_key(None, role=Role.OPERATOR, succeeds=operators.id)
    async with stored.store.for_operator() as tx:
        await tx.add_key(own, own.id.encode())
        await tx.add_key(operators, operators.id.encode())
        await tx.add_key(successor, successor.id.encode())
        assert await tx.key(operators.id) == operators
        assert await tx.key(own.id) is None
        assert await tx.successor_of(operators.id) == successor
        listed = await tx.list_keys(PageRequest(100))
        assert own.id not in {one.id for one in listed.items}
        assert {operators.id, successor.id} <= {one.id for one in listed.items}
        revoked = replace(operators, revoked_at=datetime.now(UTC))
        await tx.save_key(revoked)
        assert await tx.key(operators.id) == revoked
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.key(operators.id) is None
        assert [one.id for one in (await tx.list_keys(PageRequest())).items] == [own.id]


async def test_a_secret_is_one_keys(stored: Stored) -> None:
    tenant, secret_hash = await a_tenant(stored.store), new_id().encode()
    async with stored.store.for_operator() as tx:
        await tx.add_key(a_key(tenant.id), secret_hash)
    with pytest.raises(Conflict):
        async with stored.store.for_operator() as tx:
            await tx.add_key(a_key(tenant.id), secret_hash)


async def test_replicas_that_start_at_once_make_their_keys_once(stored: Stored, tmp_path: Path) -> None:
    platform = replace(World(tmp_path).platform, store=stored.store, ids=new_id, clock=lambda: datetime.now(UTC))
    tenant, secret = await a_tenant(stored.store), f"plugyard_{new_id()}"
    made = (ensure_key(platform, secret, name="own", role=Role.ADMIN, tenant_id=tenant.id) for _ in range(5))
    await asyncio.gather(*made)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert [one.name for one in (await tx.list_keys(PageRequest())).items] == ["own"]
    slug = f"made-{new_id()}"
    tenants = await asyncio.gather(*(ensure_tenant(platform, slug, "Made") for _ in range(5)))
    assert len({one.id for one in tenants}) == 1
