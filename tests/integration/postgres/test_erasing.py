"""The function that takes a tenant away: all of it in every table, nothing of another, and not for everybody."""

from __future__ import annotations

import secrets
from dataclasses import replace

import psycopg
import pytest

from plugyard.application.ports import StoredReply
from plugyard.domain.errors import PlugyardError
from plugyard.domain.identity import Role
from plugyard.domain.plugin import PluginState
from plugyard.domain.tenants import TenantState
from tests.contract.given import (
    NOW,
    a_key,
    a_listing,
    a_log_line,
    a_plugin,
    a_rating,
    a_tenant,
    a_version,
    a_webhook,
    an_entry,
    an_event,
    an_execution,
    new_id,
)
from tests.integration.conftest import Database

KEPT = {"audit_log", "audit_links", "audit_heads", "listing_names"}


def tables(connection: psycopg.Connection) -> list[str]:
    """Every table of tenants' rows."""
    rows = connection.execute(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid where a.attname = 'tenant_id' "
        "and c.relnamespace = 'plugyard'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition"
    ).fetchall()
    return [row[0] for row in rows]


def counted(database: Database, tenant_id: str) -> dict[str, int]:
    """How many rows of the tenant each table has."""
    with database.as_owner() as connection:
        found = {}
        for table in tables(connection):
            row = connection.execute(f"select count(*) from {table} where tenant_id = %s", [tenant_id]).fetchone()
            assert row is not None
            found[table] = row[0]
        return found


async def a_full_tenant(database: Database) -> tuple[str, str]:
    """A tenant with rows in the tables that use cases fill; its id and that of its listing."""
    tenant = await a_tenant(database.store)
    name = f"plugin-{tenant.id}"
    plugin, version = a_plugin(tenant.id, name)
    listing = a_listing(plugin, version)
    async with database.store.for_tenant(tenant.id) as tx:
        await tx.add_plugin(plugin, version)
        newer = a_version(
            tenant.id, plugin.id, replace(version.manifest, version=version.manifest.version.parse("2.0.0"))
        )
        await tx.add_version(newer)
        await tx.save_plugin(
            replace(plugin, version_id=newer.id, previous_version_id=version.id, state=PluginState.ACTIVE)
        )
        await tx.save_listing(listing)
        await tx.add_key(a_key(tenant.id, role=Role.ADMIN), new_id().encode())
        await tx.audit(an_entry(tenant.id))
        webhook = a_webhook(plugin)
        await tx.add_webhook(webhook, secrets.token_bytes(32))
        await tx.claim_delivery(webhook.id, b"s" * 32, NOW, NOW)
        await tx.emit(an_event(plugin))
        await tx.claim_key(plugin.id, "once", StoredReply("hash", new_id(), None, NOW))
    for _ in range(5):
        execution = an_execution(plugin)
        await database.recorder.record(execution, [a_log_line(execution)], [an_event(plugin)], [])
    return tenant.id, listing.id


async def given_up(database: Database, tenant_id: str) -> None:
    async with database.store.for_operator() as tx:
        await tx.save_state(tenant_id, TenantState.DELETING, "gone", NOW)


async def test_every_table_loses_the_tenant_s_rows_and_no_other_row(database: Database) -> None:
    (doomed, offered), (other, others_listing) = await a_full_tenant(database), await a_full_tenant(database)
    for giver, listing in ((doomed, others_listing), (other, offered)):
        async with database.store.for_tenant(giver) as tx:
            await tx.rate(a_rating(giver, listing, 4))
    before = counted(database, other)
    assert sum(counted(database, doomed).values()) > 15
    await given_up(database, doomed)
    rounds, erased = 0, 1
    while erased:
        async with database.store.for_operator() as tx:
            erased = await tx.erase(doomed, 2)
        rounds += 1
    assert rounds > 3, "so many rows at a time were to go"
    left = {table for table, count in counted(database, doomed).items() if count}
    assert left == KEPT
    assert counted(database, other) == before, "the rating of a listing that is gone is its giver's still"
    async with database.store.for_tenant(other) as tx:
        kept = await tx.listing(others_listing)
    assert kept is not None
    assert (kept.rating_sum, kept.rating_count) == (0, 0), "the sums of a foreign listing are set right"


async def test_what_is_buried_is_found_no_more_and_its_slug_is_free(database: Database) -> None:
    tenant = await a_tenant(database.store)
    await given_up(database, tenant.id)
    async with database.store.for_operator() as tx:
        assert tenant.id in await tx.tenants_being_deleted()
        await tx.bury(tenant.id, NOW)
        assert await tx.tenant(tenant.id) is None
        assert await tx.tenant_by_slug(tenant.slug) is None
        assert tenant.id not in await tx.tenants_being_deleted()
        await tx.add_tenant(replace(tenant, id=new_id()))
    with database.as_owner() as connection:
        row = connection.execute("select name, policy, deleted_at from tenants where id = %s", [tenant.id]).fetchone()
    assert row == ("", {}, NOW)


@pytest.mark.parametrize("state", [TenantState.ACTIVE, TenantState.SUSPENDED])
async def test_a_tenant_that_was_not_given_up_is_not_erased(database: Database, state: TenantState) -> None:
    tenant_id, _ = await a_full_tenant(database)
    before = counted(database, tenant_id)
    async with database.store.for_operator() as tx:
        await tx.save_state(tenant_id, state, "because", NOW)
    with pytest.raises((PlugyardError, psycopg.Error)):
        async with database.store.for_operator() as tx:
            await tx.erase(tenant_id, 100)
    assert counted(database, tenant_id) == before


async def test_the_service_s_role_deletes_by_that_function_alone(database: Database) -> None:
    tenant_id, _ = await a_full_tenant(database)
    with database.as_service() as connection, connection.transaction():
        connection.execute("set local plugyard.operator = 'on'")
        for table in ("plugin_versions", "plugins", "api_keys", "plugin_executions", "tenants"):
            column = "id" if table == "tenants" else "tenant_id"
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(f"delete from {table} where {column} = %s", [tenant_id])
