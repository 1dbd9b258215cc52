"""Places and counts in the database: what was there before the functions changed, and how much is counted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from plugyard.domain.plugin import Plugin
from plugyard.infrastructure.postgres.migrations.run import upgrade
from plugyard.infrastructure.postgres.urls import Urls
from tests.contract.given import a_stored_plugin, a_tenant, new_id
from tests.contract.test_queue import an_entry_of
from tests.integration.conftest import SERVICE_ROLE, Database
from tests.integration.postgres.test_migrations import downgrade

MANY = 1_200


@pytest.fixture
async def plugin(database: Database) -> Plugin:
    with database.as_owner() as owner:
        owner.execute("delete from queued_executions")
        owner.execute("delete from queue_waiting")
        owner.execute("delete from plugyard_queue.procrastinate_jobs")
    return await a_stored_plugin(database.store, (await a_tenant(database.store)).id)


def keep(database: Database) -> None:
    with database.as_service() as service:
        service.execute("select plugyard.keep_queue(0)")


async def queue(database: Database, plugin: Plugin, count: int, **changes: Any) -> int | None:
    before = None
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        for _ in range(count):
            before = await tx.enqueue(an_entry_of(plugin, **changes))
    return before


async def test_beyond_two_hundred_what_was_counted_last_holds_whatever_it_waits_for(
    database: Database, plugin: Plugin
) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert await queue(database, plugin, MANY, due_at=in_an_hour) == 200
    keep(database)
    assert await queue(database, plugin, 1) == MANY
    with database.as_owner() as owner:
        owner.execute("delete from queued_executions where due_at > now()")
        # It is counted by one at a time, every few seconds.
        keep(database)
        assert owner.execute("select waiting from queue_waiting").fetchall() == [(MANY,)]
        owner.execute("update queue_waiting set counted_at = now() - interval '5 seconds'")
    keep(database)
    assert await queue(database, plugin, 1) == 1


async def test_another_tenant_sees_nothing_of_what_was_counted(database: Database, plugin: Plugin) -> None:
    await queue(database, plugin, MANY)
    keep(database)
    with database.as_service() as service:
        assert service.execute("select count(*) from queue_waiting").fetchone() == (0,)


async def test_so_much_that_comes_due_at_once_is_placed_by_and_by(database: Database, plugin: Plugin) -> None:
    other = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    await queue(database, plugin, MANY, due_at=datetime.now(UTC) + timedelta(hours=1))
    await queue(database, other, 1)
    with database.as_owner() as owner:
        owner.execute("update plugyard_queue.procrastinate_jobs set scheduled_at = now() where scheduled_at > now()")
    with database.as_service() as service:
        taken = service.execute("select tenant_id::text from plugyard.take_queued(null, 2, 0)").fetchall()
        assert (other.tenant_id,) in taken
        assert len(service.execute("select from plugyard.take_queued(null, 2000, 0)").fetchall()) >= 500
        for _ in range(3):
            service.execute("select plugyard.take_queued(null, 500, 0)")
    with database.as_owner() as owner:
        rows = owner.execute("select count(*) from queued_executions where state = 'running' and tag is not null")
        assert rows.fetchone() == (MANY + 1,)


async def test_what_waits_already_goes_on_by_the_changed_functions_and_back(
    postgres_urls: Urls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database placeless owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/placeless"
    tenant = new_id()

    def queued(connection: psycopg.Connection, due_at: datetime) -> str:
        entry = {
            "id": new_id(), "tenant_id": tenant, "plugin_id": new_id(), "version": "1.0.0", "call": {}, "level": 1,
            "queued_at": datetime.now(UTC).isoformat(), "due_at": due_at.isoformat(), "once": None,
        }  # fmt: skip
        connection.execute("select plugyard.enqueue(%s, '{}')", [Jsonb(entry)])
        return str(entry["id"])

    def crossing() -> psycopg.Connection:
        return psycopg.connect(url, autocommit=True, options="-c plugyard.operator=on")

    try:
        upgrade(url, SERVICE_ROLE, to="0014")
        soon, later = datetime.now(UTC) + timedelta(seconds=1), datetime.now(UTC) + timedelta(seconds=3)
        with crossing() as connection:
            first, second, third = (queued(connection, due) for due in (soon, later, datetime.now(UTC)))
        upgrade(url, SERVICE_ROLE, to="0015")
        await asyncio.sleep(max(0.0, (soon - datetime.now(UTC)).total_seconds()) + 0.1)
        with crossing() as connection:
            connection.execute("select plugyard.take_queued(null, 10, 0)")
            taken = connection.execute(
                "select id::text, tag from plugyard.queued_executions where state = 'running'"
            ).fetchall()
            assert sorted(taken) == sorted([(third, 0), (first, 1)])
            fourth = queued(connection, later)
        downgrade(url, "0014")
        await asyncio.sleep(max(0.0, (later - datetime.now(UTC)).total_seconds()) + 0.1)
        with crossing() as connection:
            rest = connection.execute("select id::text from plugyard.take_queued(null, 10, 0)").fetchall()
            assert sorted(rest) == sorted([(second,), (fourth,)])
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database placeless")
