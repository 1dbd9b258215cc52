"""The store's tenants, keys, trail and idempotency."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application.ports import AuditFilter, PageRequest, StoredReply
from plugyard.domain.errors import NameTaken, NotFound
from plugyard.domain.identity import Role, Tenant, TenantPolicy
from plugyard.domain.permissions import Service
from plugyard.domain.scopes import Scope
from plugyard.domain.tenants import TenantState
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_key, a_plugin, a_stored_plugin, a_tenant, ago, an_entry, an_event, new_id


async def test_a_tenant_is_found_by_id_and_by_slug_with_its_policy(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    policy = TenantPolicy(frozenset({Service.NETWORK, Service.CACHE}))
    async with stored.store.for_operator() as tx:
        await tx.save_policy(tenant.id, policy, NOW + timedelta(hours=1))
    expected = replace(tenant, policy=policy)
    async with stored.store.for_operator() as tx:
        assert await tx.tenant(tenant.id) == expected
        assert await tx.tenant_by_slug(tenant.slug) == expected
        assert await tx.tenant_by_slug("nobody") is None
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.tenant(tenant.id) == expected


async def test_a_tenant_is_denied_modules_whatever_its_policy(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    async with stored.store.for_operator() as tx:
        await tx.deny_modules(tenant.id, ["pickle", "node:crypto"], NOW)
        await tx.save_policy(tenant.id, TenantPolicy(frozenset()), NOW)
    expected = replace(tenant, policy=TenantPolicy(frozenset()), modules_denied=("pickle", "node:crypto"))
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.tenant(tenant.id) == expected
    async with stored.store.for_operator() as tx:
        assert expected in (await tx.list_tenants(PageRequest())).items
        await tx.deny_modules(tenant.id, [], NOW)
        assert await tx.tenant(tenant.id) == replace(expected, modules_denied=())


@pytest.mark.parametrize("missing", [new_id(), "no id"], ids=["an id", "no id"])
async def test_nobody_is_denied_modules_who_is_not_there(stored: Stored, missing: str) -> None:
    with pytest.raises(NotFound):
        async with stored.store.for_operator() as tx:
            await tx.deny_modules(missing, ["pickle"], NOW)


async def test_a_slug_is_given_once(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    with pytest.raises(NameTaken):
        async with stored.store.for_operator() as tx:
            await tx.add_tenant(Tenant(new_id(), tenant.slug, "Another", NOW))


async def test_the_operator_lists_every_tenant_newest_first(stored: Stored) -> None:
    tenants = [await a_tenant(stored.store) for _ in range(3)]
    found: list[Tenant] = []
    cursor: str | None = None
    async with stored.store.for_operator() as tx:
        while True:
            page = await tx.list_tenants(PageRequest(2, cursor))
            found += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
    assert found == sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)
    assert {one.id for one in tenants} <= {one.id for one in found}


async def test_a_key_is_found_by_its_hash_whatever_its_tenant(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    key, operator = a_key(tenant.id, expires_at=NOW + timedelta(days=1)), a_key(None, role=Role.OPERATOR)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_key(key, key.id.encode())
    async with stored.store.for_operator() as tx:
        await tx.add_key(operator, operator.id.encode())
    assert await stored.store.key_by_hash(key.id.encode()) == key
    assert await stored.store.key_by_hash(operator.id.encode()) == operator
    assert await stored.store.key_by_hash(b"\0unknown") is None


async def test_a_key_is_its_tenants_and_the_operators_key_is_no_tenants(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    key, operator = a_key(tenant.id), a_key(None, role=Role.OPERATOR)
    async with stored.store.for_operator() as tx:
        await tx.add_key(key, new_id().encode())
        await tx.add_key(operator, new_id().encode())
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.key(key.id) is None
        assert await tx.key(operator.id) is None
        assert (await tx.list_keys(PageRequest())).items == ()
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.key(key.id) == key


async def test_a_narrowed_key_and_its_successor_are_kept_as_they_are(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    scopes = (Scope(frozenset({"execute", "read"}), new_id(), frozenset({"f"})), Scope(frozenset({"read"})))
    old = replace(a_key(tenant.id, created_at=ago(days=1)), scopes=scopes)
    new = replace(a_key(tenant.id), scopes=scopes, succeeds=old.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        for key in (old, new):
            await tx.add_key(key, key.id.encode())
    async with stored.store.for_tenant(tenant.id) as tx:
        assert (await tx.key(old.id), await tx.successor_of(old.id), await tx.successor_of(new.id)) == (old, new, None)
        assert (await tx.list_keys(PageRequest())).items == (new, old)
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.successor_of(old.id) is None
    assert await stored.store.key_by_hash(new.id.encode()) == new


async def test_a_key_that_is_revoked_stays_so_whatever_is_saved_of_it_later(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    key = a_key(tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_key(key, key.id.encode())
        await tx.save_key(replace(key, revoked_at=NOW))
        await tx.save_key(replace(key, name="another"))
        kept = await tx.key(key.id)
    assert kept is not None
    assert (kept.name, kept.revoked_at) == ("another", NOW)


async def test_keys_that_succeed_each_other_are_erased_in_pieces(stored: Stored) -> None:
    tenant, last = await a_tenant(stored.store), None
    async with stored.store.for_tenant(tenant.id) as tx:
        for _ in range(12):
            key = replace(a_key(tenant.id), succeeds=last)
            await tx.add_key(key, key.id.encode())
            last = key.id
    async with stored.store.for_operator() as tx:
        await tx.save_state(tenant.id, TenantState.DELETING, None, NOW)
    went = 1
    while went:
        async with stored.store.for_operator() as tx:
            went = await tx.erase(tenant.id, 5)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert (await tx.list_keys(PageRequest())).items == ()


async def test_a_revoked_key_stays_in_the_list_newest_first(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    keys = [a_key(tenant.id, created_at=ago(days=days)) for days in (2, 1, 0)]
    async with stored.store.for_tenant(tenant.id) as tx:
        for key in keys:
            await tx.add_key(key, new_id().encode())
        revoked = replace(keys[0], revoked_at=NOW)
        await tx.save_key(revoked)
    async with stored.store.for_tenant(tenant.id) as tx:
        page = await tx.list_keys(PageRequest(2))
        rest = await tx.list_keys(PageRequest(2, page.next_cursor))
    assert page.items + rest.items == (keys[2], keys[1], revoked)


async def test_the_last_use_of_keys_of_many_tenants_is_noted_at_once(stored: Stored) -> None:
    keys = []
    for _ in range(2):
        tenant = await a_tenant(stored.store)
        key = a_key(tenant.id)
        async with stored.store.for_tenant(tenant.id) as tx:
            await tx.add_key(key, key.id.encode())
        keys.append(key)
    await stored.store.touch_keys({})
    await stored.store.touch_keys({key.id: NOW + timedelta(minutes=1) for key in keys} | {new_id(): NOW})
    for key in keys:
        found = await stored.store.key_by_hash(key.id.encode())
        assert found == replace(key, last_used_at=NOW + timedelta(minutes=1))


async def test_the_trail_is_the_tenants_newest_first(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    entries = [an_entry(tenant.id, at=ago(hours=hours)) for hours in (3, 2, 1)]
    async with stored.store.for_tenant(tenant.id) as tx:
        for entry in entries:
            await tx.audit(entry)
    async with stored.store.for_operator() as tx:
        await tx.audit(an_entry(None, action="tenant.create"))
        await tx.audit(an_entry(other.id))
    async with stored.store.for_tenant(tenant.id) as tx:
        page = await tx.list_audit(AuditFilter(), PageRequest(2))
        rest = await tx.list_audit(AuditFilter(), PageRequest(2, page.next_cursor))
    assert page.items + rest.items == tuple(entries[::-1])


async def test_an_event_is_emitted_with_the_row_that_it_tells_of(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    plugin, version = a_plugin(tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_plugin(plugin, version)
        await tx.emit(an_event(plugin))


async def test_known_digests_are_those_that_a_version_of_any_tenant_names(stored: Stored) -> None:
    plugin, version = a_plugin((await a_tenant(stored.store)).id)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.add_plugin(plugin, version)
    async with stored.store.for_operator() as tx:
        assert await tx.known_digests([version.digest, "sha256:unknown"]) == {version.digest}
        assert await tx.known_digests([]) == frozenset()


async def test_an_idempotency_key_is_held_once_and_keeps_its_response(stored: Stored) -> None:
    plugin = await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)
    reply = StoredReply("hash", new_id(), None, NOW)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.claim_key(plugin.id, "key", reply) is None
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.claim_key(plugin.id, "key", StoredReply("other", new_id(), None, NOW)) == reply
        await tx.settle_key(plugin.id, "key", reply.execution_id, {"output": [1, None]})
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        kept = await tx.claim_key(plugin.id, "key", StoredReply("hash", new_id(), None, NOW))
    assert kept == replace(reply, response={"output": [1, None]})


async def test_an_idempotency_key_is_free_again_when_given_up_or_a_day_old(stored: Stored) -> None:
    plugin = await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        given_up = StoredReply("a", new_id(), None, NOW)
        assert await tx.claim_key(plugin.id, "given up", given_up) is None
        await tx.settle_key(plugin.id, "given up", new_id(), None)
        assert await tx.claim_key(plugin.id, "given up", given_up) == given_up
        await tx.settle_key(plugin.id, "given up", given_up.execution_id, None)
        assert await tx.claim_key(plugin.id, "given up", StoredReply("b", new_id(), None, NOW)) is None
        old = StoredReply("a", new_id(), {"done": True}, ago(days=1, seconds=1))
        assert await tx.claim_key(plugin.id, "old", old) is None
        assert await tx.claim_key(plugin.id, "old", StoredReply("b", new_id(), None, NOW)) is None


async def test_the_same_idempotency_key_of_two_tenants_is_two_keys(stored: Stored) -> None:
    for _ in range(2):
        plugin = await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)
        async with stored.store.for_tenant(plugin.tenant_id) as tx:
            assert await tx.claim_key(plugin.id, "key", StoredReply("hash", new_id(), None, NOW)) is None
