"""Webhooks and what they took, as every store keeps them."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import replace
from datetime import timedelta

from plugyard.application.ports import PageRequest
from plugyard.domain.plugin import Plugin
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_stored_plugin, a_tenant, a_webhook, ago, new_id

SIGNED = b"s" * 32
LONG_AGO = ago(hours=1)


async def _a_plugin(stored: Stored) -> Plugin:
    return await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)


async def test_a_webhook_is_found_by_its_id_and_from_anywhere_by_the_hash_of_its_address(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    other = await a_tenant(stored.store)
    webhook, hashed = a_webhook(plugin), secrets.token_bytes(32)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.add_webhook(webhook, hashed)
        assert await tx.webhook(webhook.id) == webhook
        assert await tx.webhook("no id") is None
    assert await stored.store.webhook_by_hash(hashed) == webhook
    assert await stored.store.webhook_by_hash(secrets.token_bytes(32)) is None
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.webhook(webhook.id) is None
        assert (await tx.webhooks(plugin.id, PageRequest())).items == ()
        assert (await tx.webhooks(None, PageRequest())).items == ()
        assert await tx.count_webhooks(plugin.id) == 0


async def test_secrets_change_and_a_webhook_that_was_revoked_stays_so(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    webhook, hashed = a_webhook(plugin), secrets.token_bytes(32)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.add_webhook(webhook, hashed)
        rotated = webhook.rotated("n" * 16, NOW, timedelta(hours=1))
        await tx.save_webhook(rotated)
        assert await tx.webhook(webhook.id, lock=True) == rotated
        await tx.save_webhook(replace(rotated, revoked_at=NOW))
        assert await tx.count_webhooks(plugin.id) == 0
        await tx.save_webhook(rotated)
    held = await stored.store.webhook_by_hash(hashed)
    assert held is not None
    assert (held.revoked_at, dict(held.secrets)) == (NOW, {"current": "n" * 16, "previous": "s" * 16})


async def test_webhooks_are_listed_newest_first_page_by_page(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    beside = await a_stored_plugin(stored.store, plugin.tenant_id, "beside")
    made = [a_webhook(plugin, created_at=ago(hours=hours)) for hours in (2, 3, 1)]
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        for one in (*made, a_webhook(beside, created_at=ago(hours=4))):
            await tx.add_webhook(one, secrets.token_bytes(32))
        first = await tx.webhooks(plugin.id, PageRequest(limit=2))
        rest = await tx.webhooks(plugin.id, PageRequest(limit=2, cursor=first.next_cursor))
        every = await tx.webhooks(None, PageRequest())
        assert await tx.count_webhooks(plugin.id) == 3
    assert (*first.items, *rest.items) == (made[2], made[0], made[1])
    assert len(every.items) == 4


async def test_a_delivery_is_taken_once_and_again_when_it_is_old_or_came_to_nothing(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    one, other = a_webhook(plugin), a_webhook(plugin)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        for webhook in (one, other):
            await tx.add_webhook(webhook, secrets.token_bytes(32))
        assert await tx.claim_delivery(one.id, SIGNED, NOW, LONG_AGO)
        assert not await tx.claim_delivery(one.id, SIGNED, NOW, LONG_AGO)
        assert await tx.claim_delivery(one.id, b"t" * 32, NOW, LONG_AGO)
        assert await tx.claim_delivery(other.id, SIGNED, NOW, LONG_AGO)
        await tx.release_delivery(one.id, SIGNED)
        assert await tx.claim_delivery(one.id, SIGNED, NOW, LONG_AGO)
        later = NOW + timedelta(hours=2)
        assert await tx.claim_delivery(one.id, SIGNED, later, NOW + timedelta(seconds=1))
        assert not await tx.claim_delivery(other.id, SIGNED, NOW, LONG_AGO)


async def test_the_last_use_is_noted_once_a_minute(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    webhook = a_webhook(plugin)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.add_webhook(webhook, secrets.token_bytes(32))
        for seconds, used in ((0, 0), (59, 0), (61, 61)):
            at = NOW + timedelta(seconds=seconds)
            await tx.claim_delivery(webhook.id, secrets.token_bytes(32), at, LONG_AGO)
            held = await tx.webhook(webhook.id)
            assert held is not None
            assert held.last_used_at == NOW + timedelta(seconds=used)


async def test_of_many_at_once_one_takes_the_delivery(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    webhook = a_webhook(plugin, id=new_id())
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.add_webhook(webhook, secrets.token_bytes(32))

    async def take() -> bool:
        async with stored.store.for_tenant(plugin.tenant_id) as tx:
            return await tx.claim_delivery(webhook.id, SIGNED, NOW, LONG_AGO)

    assert sorted(await asyncio.gather(*(take() for _ in range(8)))) == [False] * 7 + [True]


async def test_many_deliveries_at_once_hinder_each_other_in_nothing(stored: Stored) -> None:
    plugin = await _a_plugin(stored)
    webhook = a_webhook(plugin)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        await tx.add_webhook(webhook, secrets.token_bytes(32))
        for number in range(30):
            await tx.claim_delivery(webhook.id, bytes([number]) * 32, LONG_AGO, LONG_AGO - timedelta(hours=1))

    async def take(number: int) -> bool:
        async with stored.store.for_tenant(plugin.tenant_id) as tx:
            return await tx.claim_delivery(webhook.id, bytes([number]) * 32, NOW, ago(minutes=1))

    # Old ones are forgotten meanwhile, and some of them come again, each of them twice.
    taken = await asyncio.gather(*(take(number % 20 + 20) for number in range(40)))
    assert sorted(taken) == [False] * 20 + [True] * 20
