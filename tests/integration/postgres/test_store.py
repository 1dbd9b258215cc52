"""The store when things go wrong: it outlives a restart of the server, and says what cannot be stored."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import psycopg
import pytest

from plugyard.application.ports import PluginFilter, StoredReply
from plugyard.domain.errors import InvalidInput, NotFound, StoreUnavailable
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from tests.contract.given import (
    NOW,
    a_key,
    a_plugin,
    a_rating,
    a_stored_listing,
    a_stored_plugin,
    a_tenant,
    an_entry,
    new_id,
)
from tests.integration.conftest import SECRET_KEYS, Database
from tests.integration.postgres.test_recorder import _end_connections


async def test_a_database_that_is_away_is_unavailable() -> None:
    store = PostgresStore("postgresql://nobody:x@127.0.0.1:1/none", Seals(SECRET_KEYS))
    with pytest.raises(StoreUnavailable):
        await store.open(within_s=0.3)
    await store.close()


async def test_connections_that_the_server_closed_are_replaced(database: Database) -> None:
    tenant = await a_tenant(database.store)
    for _ in range(3):
        _end_connections(database)
        async with database.store.for_tenant(tenant.id) as tx:
            assert await tx.tenant(tenant.id) == tenant
        await database.store.ping()


async def test_a_connection_that_is_lost_in_the_block_is_unavailable_and_nothing_is_written(database: Database) -> None:
    tenant = await a_tenant(database.store)
    plugin, version = a_plugin(tenant.id)

    async def lose() -> None:
        async with database.store.for_tenant(tenant.id) as tx:
            await tx.add_plugin(plugin, version)
            _end_connections(database)
            await tx.plugin(plugin.id)

    with pytest.raises(StoreUnavailable) as caught:
        await lose()
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    async with database.store.for_tenant(tenant.id) as tx:
        assert await tx.plugin(plugin.id) is None


async def test_a_cancelled_block_gives_its_connection_back(database: Database) -> None:
    tenant = await a_tenant(database.store)

    async def wait() -> None:
        async with database.store.for_tenant(tenant.id) as tx:
            await tx.audit(an_entry(tenant.id))
            await asyncio.sleep(60)

    for _ in range(25):
        task = asyncio.create_task(wait())
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await database.store.ping()


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_text_that_has_no_form_in_the_database_is_the_callers_error(database: Database, text: str) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    listing = await a_stored_listing(database.store)

    async def save() -> None:
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            await tx.save_plugin(replace(plugin, configuration={"deep": [text]}))

    async def rate() -> None:
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            await tx.rate(a_rating(plugin.tenant_id, listing.id, 3, review=text))

    async def filter_by() -> None:
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            from plugyard.application.ports import PageRequest

            await tx.list_plugins(PluginFilter(author=text), PageRequest())

    async def claim() -> None:
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            await tx.claim_key(plugin.id, text, StoredReply("h", new_id(), None, NOW))

    for act in (save, rate, filter_by, claim):
        with pytest.raises(InvalidInput):
            await act()


async def test_what_is_not_there_is_not_saved(database: Database) -> None:
    tenant = await a_tenant(database.store)
    plugin, _ = a_plugin(tenant.id)

    async def save_plugin() -> None:
        async with database.store.for_tenant(tenant.id) as tx:
            await tx.save_plugin(plugin)

    async def save_key() -> None:
        async with database.store.for_tenant(tenant.id) as tx:
            await tx.save_key(a_key(tenant.id))

    async def rate() -> None:
        async with database.store.for_tenant(tenant.id) as tx:
            await tx.rate(a_rating(tenant.id, new_id(), 3))

    for act in (save_plugin, save_key, rate):
        with pytest.raises(NotFound):
            await act()


async def test_two_requests_with_one_idempotency_key_run_once(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)

    async def claim() -> bool:
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            held = await tx.claim_key(plugin.id, "key", StoredReply("h", new_id(), None, NOW))
            await asyncio.sleep(0.01)
            return held is None

    answers = await asyncio.gather(*(claim() for _ in range(10)))
    assert answers.count(True) == 1


async def test_a_locked_plugin_is_changed_by_one_at_a_time(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)

    async def count_up() -> None:
        async with database.store.for_tenant(plugin.tenant_id) as tx:
            view = await tx.plugin(plugin.id, lock=True)
            assert view is not None
            count = view.plugin.configuration.get("count", 0)
            await tx.save_plugin(replace(view.plugin, configuration={"count": count + 1}))

    await asyncio.gather(*(count_up() for _ in range(15)))
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        view = await tx.plugin(plugin.id)
    assert view is not None
    assert view.plugin.configuration == {"count": 15}


async def test_a_tenant_that_is_no_id_sees_nothing(database: Database) -> None:
    await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    for text in ("", "x'; set plugyard.operator = 'on", "\0"):
        async with database.store.for_tenant(text) as tx:
            assert list(await tx.installed_plugins()) == []
            assert list(await tx.categories()) == []


async def test_every_statement_of_a_file_has_a_title_of_its_own() -> None:
    from plugyard.infrastructure.postgres.statements import statements

    for name in ("plugins", "executions", "marketplace", "trail"):
        found = statements(name)
        assert len(found) > 3
        assert all(text.startswith(f"/* {title} */") for title, text in found.items())


async def test_what_took_too_long_is_not_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    async def too_long(*asked: object) -> None:
        tried.append(asked)
        raise psycopg.errors.QueryCanceled

    monkeypatch.setattr(database.store, "_attempt", too_long)
    with pytest.raises(StoreUnavailable):
        await database.store.ensure_partitions()
    assert len(tried) == 1


async def test_a_pool_whose_connections_are_all_in_use_is_waited_for_once(database: Database) -> None:
    small = PostgresStore(database.urls.service_url, Seals(SECRET_KEYS), connections=2)
    small._pool.timeout = 0.3
    await small.open()
    begun = asyncio.get_running_loop().time()
    async with small.for_operator(), small.for_operator():
        with pytest.raises(StoreUnavailable):
            await small.ping()
    assert asyncio.get_running_loop().time() - begun < 0.55
    await small.close()


async def test_a_listing_is_refused_when_whoever_was_taking_it_over_has_it(database: Database) -> None:
    publisher, first, second = [await a_tenant(database.store) for _ in range(3)]
    listing, refused = new_id(), asyncio.Event()

    async def refuse() -> None:
        async with database.store.for_tenant(publisher.id) as tx:
            await tx.hold_listing(listing, alone=True)
            refused.set()

    async with database.store.for_tenant(first.id) as tx:
        await tx.hold_listing(listing)
        async with database.store.for_tenant(second.id) as beside:
            await asyncio.wait_for(beside.hold_listing(listing), 5)
        refusing = asyncio.create_task(refuse())
        await asyncio.sleep(0.3)
        assert not refused.is_set()
    await asyncio.wait_for(refusing, 5)
