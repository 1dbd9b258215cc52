"""Whether what a replica claimed is anybody's, because it is not there any more."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application.ports import StoredReply
from plugyard.domain.webhooks import Webhook
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from tests.contract.given import NOW, a_stored_plugin, a_tenant, a_webhook, new_id
from tests.integration.conftest import SECRET_KEYS, Database
from tests.integration.postgres.test_changes import listening

SIGNED = b"s" * 32


@pytest.fixture
async def mortal(database: Database) -> AsyncIterator[PostgresStore]:
    """The store of a replica that may die."""
    store = PostgresStore(database.urls.service_url, Seals(SECRET_KEYS), connections=2, replica="mortal")
    await store.open()
    yield store
    await store.close()


async def test_a_key_is_abandoned_when_its_replica_is_not_there_and_not_before(
    database: Database, mortal: PostgresStore
) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    claim, other = (StoredReply("hash", new_id(), None, NOW) for _ in range(2))
    async with listening(database, "mortal"):
        async with mortal.for_tenant(plugin.tenant_id) as tx:
            assert await tx.claim_key(plugin.id, "key", claim) is None
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            assert await tx.claim_key(plugin.id, "key", other) == claim
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.claim_key(plugin.id, "key", other) == replace(claim, abandoned=True)
    async with listening(database, "mortal"), database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.claim_key(plugin.id, "key", other) == claim


async def test_an_answer_is_not_abandoned_and_neither_is_what_older_code_claimed(
    database: Database, mortal: PostgresStore
) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    claim, other = (StoredReply("hash", new_id(), None, NOW) for _ in range(2))
    async with mortal.for_tenant(plugin.tenant_id) as tx:
        await tx.claim_key(plugin.id, "answered", claim)
        await tx.settle_key(plugin.id, "answered", claim.execution_id, {"output": None})
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        # This store has no name, as the connections of older code have none that is written down.
        await tx.claim_key(plugin.id, "nameless", claim)
        for key in ("answered", "nameless"):
            held = await tx.claim_key(plugin.id, key, other)
            assert held is not None
            assert not held.abandoned


async def _delivered(database: Database, mortal: PostgresStore) -> tuple[str, Webhook]:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    webhook = a_webhook(plugin)
    async with mortal.for_tenant(plugin.tenant_id) as tx:
        await tx.add_webhook(webhook, secrets.token_bytes(32))
        assert await tx.claim_delivery(webhook.id, SIGNED, NOW, NOW - timedelta(hours=1))
    return plugin.tenant_id, webhook


async def test_a_delivery_is_taken_over_from_a_replica_that_is_not_there_and_once(
    database: Database, mortal: PostgresStore
) -> None:
    async with listening(database, "mortal"):
        tenant_id, webhook = await _delivered(database, mortal)
        async with database.store.for_tenant(tenant_id) as tx:
            assert not await tx.delivery_abandoned(webhook.id, SIGNED)
            assert not await tx.take_over_delivery(webhook.id, SIGNED)
    async with database.store.for_tenant(tenant_id) as tx:
        assert await tx.delivery_abandoned(webhook.id, SIGNED)
        assert await tx.take_over_delivery(webhook.id, SIGNED)
        assert not await tx.take_over_delivery(webhook.id, SIGNED)


async def test_who_lost_a_delivery_to_another_replica_neither_ends_it_nor_gives_it_free(
    database: Database, mortal: PostgresStore
) -> None:
    tenant_id, webhook = await _delivered(database, mortal)
    async with database.store.for_tenant(tenant_id) as tx:
        assert await tx.take_over_delivery(webhook.id, SIGNED)
    async with mortal.for_tenant(tenant_id) as tx:
        await tx.settle_delivery(webhook.id, SIGNED)
        await tx.release_delivery(webhook.id, SIGNED)
        assert not await tx.claim_delivery(webhook.id, SIGNED, NOW, NOW - timedelta(hours=1))


async def test_a_delivery_that_was_carried_out_is_nobodys_to_take_over(
    database: Database, mortal: PostgresStore
) -> None:
    tenant_id, webhook = await _delivered(database, mortal)
    async with mortal.for_tenant(tenant_id) as tx:
        await tx.settle_delivery(webhook.id, SIGNED)
    async with database.store.for_tenant(tenant_id) as tx:
        assert not await tx.delivery_abandoned(webhook.id, SIGNED)
        assert not await tx.take_over_delivery(webhook.id, SIGNED)
