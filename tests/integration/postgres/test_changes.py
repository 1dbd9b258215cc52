"""What replicas tell each other, and what one of them does at a time."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta

import psycopg
import pytest

from plugyard.application.changes import Change, Changed
from plugyard.domain.health import Health, HealthStatus
from plugyard.domain.identity import TenantPolicy
from plugyard.domain.plugin import PluginState
from plugyard.domain.tenants import TenantState
from plugyard.infrastructure.postgres import migrations
from plugyard.infrastructure.postgres.changes import ChangeFeed, change_of
from plugyard.infrastructure.postgres.store import PostgresStore
from tests.contract.given import NOW, a_key, a_standing, a_stored_plugin, a_tenant, a_webhook
from tests.integration.conftest import Database


@dataclass
class Heard:
    """What a feed told, and how often everything had to be read anew."""

    changes: list[Change] = field(default_factory=list)
    missed: int = 0

    async def change(self, one: Change) -> None:
        self.changes.append(one)

    def everything(self) -> None:
        self.missed += 1

    async def until(self, wanted: Change) -> None:
        for _ in range(500):
            if wanted in self.changes:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(f"{wanted} was not heard, but {self.changes}")


@asynccontextmanager
async def listening(database: Database, replica: str) -> AsyncIterator[Heard]:
    heard = Heard()
    feed = ChangeFeed(database.urls.service_url, replica, heard.change, heard.everything)
    running = asyncio.create_task(feed.run())
    try:
        await asyncio.wait_for(feed.listening.wait(), 5)
        yield heard
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await _gone(database, replica)


async def _gone(database: Database, replica: str) -> None:
    """Wait until the server has ended the session too, and with it the lock by which the replica is known to live."""
    async with await psycopg.AsyncConnection.connect(database.urls.service_url, autocommit=True) as connection:
        for _ in range(200):
            row = await (await connection.execute("select plugyard.lives(%s)", [replica])).fetchone()
            if row == (False,):
                return
            await asyncio.sleep(0.02)
    raise AssertionError(f"the session of {replica} does not end")


async def test_what_matters_to_others_is_told_and_nothing_else(database: Database) -> None:
    store = database.store
    async with listening(database, "other") as heard:
        assert heard.missed == 1, "what changed before is not known"
        tenant = await a_tenant(store)
        plugin = await a_stored_plugin(store, tenant.id)
        key = a_key(tenant.id)
        async with store.for_tenant(tenant.id) as tx:
            await tx.add_key(key, key.id.encode())
            await tx.save_plugin(replace(plugin, health=Health(HealthStatus.HEALTHY, 99, NOW)))
        await store.touch_keys({key.id: NOW})
        async with store.for_tenant(tenant.id) as tx:
            await tx.save_plugin(replace(plugin, state=PluginState.INACTIVE))
        await heard.until(Change(Changed.PLUGIN, tenant.id, plugin.id))
        mine = [one for one in heard.changes if tenant.id == one.tenant_id or one.of is Changed.KEY]
        assert mine == [Change(Changed.PLUGIN, tenant.id, plugin.id)], (
            "health and times of use are nobody's to wait for"
        )
        async with store.for_tenant(tenant.id) as tx:
            await tx.save_key(replace(key, revoked_at=NOW))
        await heard.until(Change(Changed.KEY))
        async with store.for_operator() as operator:
            await operator.save_policy(tenant.id, TenantPolicy(frozenset()), NOW)
        await heard.until(Change(Changed.TENANT, tenant.id, "active"))
        async with store.for_operator() as operator:
            await operator.save_state(tenant.id, TenantState.SUSPENDED, "unpaid", NOW)
            await operator.tell_of_halt(tenant.id)
        await heard.until(Change(Changed.HALTED, tenant.id))
        assert heard.changes[-2:] == [Change(Changed.TENANT, tenant.id, "suspended"), Change(Changed.HALTED, tenant.id)]
        heard.changes.clear()
        async with store.for_tenant(tenant.id) as tx:
            view = await tx.plugin(plugin.id)
            assert view is not None
            await tx.save_standing(a_standing(view))
        await heard.until(Change(Changed.PLUGIN, tenant.id, plugin.id))


async def test_a_change_that_is_taken_back_is_not_told(database: Database) -> None:
    tenant = await a_tenant(database.store)
    plugin = await a_stored_plugin(database.store, tenant.id)
    async with listening(database, "other") as heard:

        async def change_and_fail() -> None:
            async with database.store.for_tenant(tenant.id) as tx:
                await tx.save_plugin(replace(plugin, state=PluginState.INACTIVE))
                raise RuntimeError("taken back")

        with pytest.raises(RuntimeError, match="taken back"):
            await change_and_fail()
        await asyncio.sleep(0.2)
        assert not [one for one in heard.changes if one.id == plugin.id]


async def test_a_replica_is_not_told_what_it_did_itself(database: Database) -> None:
    tenant = await a_tenant(database.store)
    plugin = await a_stored_plugin(database.store, tenant.id)
    own = PostgresStore(database.urls.service_url, database.store._seals, replica="own")
    await own.open()
    try:
        async with listening(database, "own") as same, listening(database, "other") as other:
            async with own.for_tenant(tenant.id) as tx:
                await tx.save_plugin(replace(plugin, state=PluginState.INACTIVE))
            await other.until(Change(Changed.PLUGIN, tenant.id, plugin.id))
            await asyncio.sleep(0.1)
            assert not [one for one in same.changes if one.id == plugin.id]
    finally:
        await own.close()


async def test_a_lost_connection_is_made_again_and_said(database: Database) -> None:
    async with listening(database, "other") as heard:
        with database.as_service() as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'plugyard changes'"
            )
        for _ in range(500):
            if heard.missed == 2:
                break
            await asyncio.sleep(0.01)
        assert heard.missed == 2
        tenant = await a_tenant(database.store)
        plugin = await a_stored_plugin(database.store, tenant.id)
        async with database.store.for_tenant(tenant.id) as tx:
            await tx.save_plugin(replace(plugin, state=PluginState.INACTIVE))
        await heard.until(Change(Changed.PLUGIN, tenant.id, plugin.id))


def test_what_a_newer_replica_tells_may_not_be_understood() -> None:
    assert change_of("plugin t p") == Change(Changed.PLUGIN, "t", "p")
    assert change_of("key k -") == Change(Changed.KEY)
    for line in ("", "plugin", "plugin t", "galaxy t p", "plugin t p more"):
        assert change_of(line) is None


async def test_one_replica_at_a_time_does_a_work_and_the_next_takes_it_over(database: Database) -> None:
    store = database.store
    async with store.alone("a work") as first:
        async with store.alone("a work") as second, store.alone("another work") as other:
            assert (first, second, other) == (True, False, True)
        async with store.alone("a work") as still:
            assert not still

    async def fail() -> None:
        async with store.alone("a work") as again:
            assert again
            raise RuntimeError("the work failed")

    with pytest.raises(RuntimeError):
        await fail()
    async with store.alone("a work") as after:
        assert after, "a work that failed is given back"


async def test_the_phase_after_does_what_is_left_and_nothing_twice(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.as_owner() as owner:
        owner.execute("create table plugyard.of_old_code (id integer)")
    step = (
        "a table of old code",
        "select 1 from pg_class where relname = 'of_old_code'",
        "drop table plugyard.of_old_code",
    )
    monkeypatch.setattr(migrations, "AFTER", (step,))
    assert database.urls.owner_url is not None
    assert await migrations.clean_up_after(database.urls.owner_url) == ["a table of old code"]
    assert await migrations.clean_up_after(database.urls.owner_url) == []


async def test_a_webhook_that_was_rotated_or_revoked_is_told_and_one_that_was_used_is_not(database: Database) -> None:
    store = database.store
    async with listening(database, "other") as heard:
        tenant = await a_tenant(store)
        webhook = a_webhook(await a_stored_plugin(store, tenant.id))
        told = Change(Changed.WEBHOOK, tenant.id, webhook.id)
        async with store.for_tenant(tenant.id) as tx:
            await tx.add_webhook(webhook, secrets.token_bytes(32))
            await tx.claim_delivery(webhook.id, b"s" * 32, NOW, NOW)
        async with store.for_tenant(tenant.id) as tx:
            await tx.save_webhook(webhook.rotated("n" * 16, NOW, timedelta(hours=1)))
        await heard.until(told)
        async with store.for_tenant(tenant.id) as tx:
            await tx.save_webhook(replace(webhook, revoked_at=NOW))
        for _ in range(500):
            if heard.changes.count(told) == 2:
                break
            await asyncio.sleep(0.01)
    assert heard.changes.count(told) == 2
