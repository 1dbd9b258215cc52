"""Publishers, their keys and where versions come from, as every store keeps them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application.ports import PageRequest
from plugyard.domain.errors import Conflict, NameTaken
from plugyard.domain.imitation import likeness
from plugyard.domain.signatures import Origin, Publisher, Signature, Trust
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_publisher_key, a_stored_listing, a_stored_plugin, a_tenant, ago, new_id


def a_signature(key_id: str) -> Signature:
    return Signature(key_id, "A" * 43 + "=", "B" * 86 + "==", NOW)


async def test_a_key_is_kept_once_and_revoked_and_another_tenant_does_not_find_it(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    key = a_publisher_key(tenant.id)
    async with stored.store.for_tenant(tenant.id) as tx:
        await tx.add_publisher_key(key)
        assert await tx.publisher_key(key.id) == key
        revoked = key.revoked(NOW, ago(hours=1), "it leaked")
        await tx.save_publisher_key(revoked)
    with pytest.raises(Conflict):
        async with stored.store.for_tenant(tenant.id) as tx:
            await tx.add_publisher_key(key)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.publisher_key(key.id, lock=True) == revoked
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.publisher_key(key.id) is None
        assert (await tx.publisher_keys(PageRequest())).items == ()
        await tx.add_publisher_key(replace(key, tenant_id=other.id))


async def test_keys_are_listed_newest_first_page_by_page(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    keys = [a_publisher_key(tenant.id, created_at=ago(hours=hours)) for hours in (2, 3, 1)]
    async with stored.store.for_tenant(tenant.id) as tx:
        for key in keys:
            await tx.add_publisher_key(key)
        first = await tx.publisher_keys(PageRequest(limit=2))
        assert first.next_cursor is not None
        rest = await tx.publisher_keys(PageRequest(limit=2, cursor=first.next_cursor))
    assert (*first.items, *rest.items) == (keys[2], keys[0], keys[1])
    assert rest.next_cursor is None


async def test_a_verified_name_is_one_publishers(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    name = f"Publisher {new_id()}"
    verified = Publisher(tenant.id, name, NOW, "key:1")
    async with stored.store.for_operator() as operator:
        assert await operator.publisher(tenant.id) is None
        await operator.save_publisher(verified)
        assert await operator.publisher(tenant.id) == verified
        await operator.save_publisher(Publisher(other.id, name.upper()))
    with pytest.raises(NameTaken):
        async with stored.store.for_operator() as operator:
            await operator.save_publisher(Publisher(other.id, name.upper(), NOW, "key:1"))
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.publisher(tenant.id) == verified, "publishers are known to everybody"
        assert await tx.publisher("no id") is None


async def test_trust_in_a_version_follows_its_signature_its_key_and_its_publisher(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    plugin = await a_stored_plugin(stored.store, tenant.id)
    key = a_publisher_key(tenant.id)
    signature = a_signature(key.id)
    publisher = Publisher(tenant.id, f"Publisher {new_id()}", NOW, "key:1")
    async with stored.store.for_tenant(tenant.id) as tx:
        view = await tx.plugin(plugin.id)
        assert view is not None
        assert await tx.trust([view.version.id, new_id(), "no id"]) == {view.version.id: Trust()}
        assert await tx.origins([view.version.id, "no id"]) == {}
        await tx.add_publisher_key(key)
        origin = Origin(view.version.id, tenant.id, tenant.id, signature)
        await tx.save_origin(Origin(view.version.id, tenant.id, tenant.id))
        await tx.save_origin(origin)
        assert await tx.origins([view.version.id]) == {view.version.id: origin}
    async with stored.store.for_operator() as operator:
        await operator.save_publisher(publisher)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.trust([view.version.id]) == {view.version.id: Trust(publisher, signature, key)}
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.trust([view.version.id]) == {}
        assert await tx.origins([view.version.id]) == {}


async def test_a_copy_is_trusted_as_its_publisher_is_and_sees_the_key_revoked(stored: Stored) -> None:
    listing = await a_stored_listing(stored.store)
    installer = await a_tenant(stored.store)
    key = a_publisher_key(listing.tenant_id)
    signature = a_signature(key.id)
    publisher = Publisher(listing.tenant_id, f"Publisher {new_id()}", NOW, "key:1")
    async with stored.store.for_operator() as operator:
        await operator.save_publisher(publisher)
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        await tx.add_publisher_key(key)
        await tx.save_listing(replace(listing, signature=signature))
    plugin = await a_stored_plugin(stored.store, installer.id)
    async with stored.store.for_tenant(installer.id) as tx:
        view = await tx.plugin(plugin.id)
        assert view is not None
        found = await tx.listing(listing.id)
        assert found is not None
        assert found.signature == signature
        await tx.save_origin(Origin(view.version.id, installer.id, listing.tenant_id, found.signature))
        assert await tx.trust_of_listings([listing.id, "no id"]) == {listing.id: Trust(publisher, signature, key)}
    revoked = key.revoked(NOW, NOW - timedelta(hours=1), "it leaked")
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        await tx.save_publisher_key(revoked)
    async with stored.store.for_tenant(installer.id) as tx:
        trust = (await tx.trust([view.version.id]))[view.version.id]
    assert trust == Trust(publisher, signature, revoked)
    assert not trust.signed


async def test_names_that_may_be_alike_are_found_by_their_beginning_or_end(stored: Stored) -> None:
    word = new_id().replace("-", "")[-12:]
    name = f"words-{word}-totals"
    listing = await a_stored_listing(stored.store, name)
    own = await a_tenant(stored.store)
    async with stored.store.for_operator() as operator:
        await operator.save_publisher(Publisher(listing.tenant_id, "The House"))
    likely = [
        f"words-{word}-total",
        f"words-{word}-totalz",
        f"xwords-{word}-totals",
        f"w0rds-{word}-totals",
        f"words{word}totals",
    ]
    async with stored.store.for_tenant(own.id) as tx:
        for one in likely:
            found = await tx.names_near(one)
            assert found.get(name) == "The House", one
            assert {other for other in found if likeness(one, other)} == {name}
        assert name not in await tx.names_near("something-else")
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        assert await tx.names_near(likely[0]) == {}, "one's own names are imitated by nobody"
        await tx.save_listing(replace(listing, withdrawn_at=NOW))
    async with stored.store.for_tenant(own.id) as tx:
        assert await tx.names_near(likely[0]) == {}


async def test_verified_publishers_are_found_by_what_their_names_read_as(stored: Stored) -> None:
    tenant, other = await a_tenant(stored.store), await a_tenant(stored.store)
    word = new_id()[-12:]
    verified = Publisher(tenant.id, f"House {word} Inc.", NOW, "key:1")
    async with stored.store.for_operator() as operator:
        await operator.save_publisher(verified)
    async with stored.store.for_tenant(other.id) as tx:
        assert list(await tx.publishers_read_as(f"HOUSE-{word}")) == [verified]
        assert list(await tx.publishers_read_as("Another")) == []
        assert list(await tx.publishers_read_as("!")) == []
    async with stored.store.for_tenant(tenant.id) as tx:
        assert list(await tx.publishers_read_as(f"House {word}")) == []
    async with stored.store.for_operator() as operator:
        await operator.save_publisher(replace(verified, verified_at=None, verified_by=None))
    async with stored.store.for_tenant(other.id) as tx:
        assert list(await tx.publishers_read_as(f"House {word}")) == []
