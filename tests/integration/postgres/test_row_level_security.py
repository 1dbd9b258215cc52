"""Row-level security, proven with the service's own role: a forgotten filter shows no other tenant's row."""

from __future__ import annotations

import secrets
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from plugyard.domain.events import EventType
from plugyard.domain.permissions import Service
from plugyard.domain.rights import Right
from plugyard.domain.signatures import Origin, Publisher
from plugyard.domain.standing import Rescan
from tests.contract.given import (
    NOW,
    a_key,
    a_log_line,
    a_publisher_key,
    a_rating,
    a_standing,
    a_stored_listing,
    a_tenant,
    a_webhook,
    an_entry,
    an_event,
    an_execution,
    new_id,
)
from tests.contract.test_queue import an_end, an_entry_of
from tests.integration.conftest import Database

TENANT_TABLES = [
    "api_keys",
    "audit_heads",
    "audit_links",
    "audit_log",
    "idempotency_keys",
    "listing_names",
    "marketplace_listings",
    "outbox",
    "plugin_dependencies",
    "plugin_executions",
    "plugin_logs",
    "plugin_ratings",
    "plugin_schedules",
    "plugin_rollups",
    "plugin_versions",
    "plugins",
    "publisher_keys",
    "publishers",
    "queue_waiting",
    "queued_executions",
    "tenant_rollups",
    "uncounted_executions",
    "used_rights",
    "version_origins",
    "version_rescans",
    "version_standings",
    "webhook_deliveries",
    "webhook_taken",
    "webhooks",
    "wall_rollups",
]
SHARED = {"marketplace_listings", "plugin_ratings", "publisher_keys", "publishers"}
"""Other tenants' rows are read here, where they are published; nowhere are they written."""


async def _furnished(database: Database) -> str:
    """A tenant with a row in every table."""
    from plugyard.application.ports import ResolvedDependency, StoredReply, UsedBy

    listing = await a_stored_listing(database.store)
    tenant_id = listing.tenant_id
    async with database.store.for_tenant(tenant_id) as tx:
        view = await tx.plugin(listing.plugin_id)
        assert view is not None
        await tx.save_dependencies(view.version.id, [ResolvedDependency("dates", "*", "1.0.0", None)])
        await tx.add_key(a_key(tenant_id), new_id().encode())
        await tx.audit(an_entry(tenant_id))
        await tx.claim_key(view.plugin.id, "key", StoredReply("hash", new_id(), None, NOW))
        await tx.rate(a_rating(tenant_id, listing.id, 5))
        entry = an_entry_of(view.plugin)
        entry = replace(entry, call=replace(entry.call, webhook="https://hooks.example/"))
        await tx.enqueue(entry)
        await tx.save_standing(a_standing(view))
        await tx.add_publisher_key(a_publisher_key(tenant_id))
        await tx.save_origin(Origin(view.version.id, tenant_id, tenant_id))
        webhook = a_webhook(view.plugin)
        await tx.add_webhook(webhook, secrets.token_bytes(32))
        await tx.claim_delivery(webhook.id, b"s" * 32, NOW, NOW)
        await tx.save_rescan(Rescan(view.version.id, tenant_id, "rules", NOW, view.version.report.findings))
    async with database.store.for_operator() as operator:
        await operator.save_publisher(Publisher(tenant_id, "A publisher"))
    execution = an_execution(view.plugin)
    event = an_event(view.plugin, EventType.EXECUTION_COMPLETED)
    await database.store.touch_rights({UsedBy(tenant_id, view.plugin.id, Right(Service.DATABASE)): NOW})
    await database.recorder.record(execution, [a_log_line(execution)], [event], [])
    with database.as_owner() as owner:
        owner.execute(
            "insert into plugin_schedules (plugin_id, number, tenant_id, version, document, next_due) "
            "values (%s, 1, %s, '1.0.0', '{}', now() + interval '1 year')",
            [view.plugin.id, tenant_id],
        )
        owner.execute("update plugin_schedules set looked_at = true where plugin_id = %s", [view.plugin.id])
    ended = an_execution(view.plugin, id=entry.id)
    await database.recorder.record(ended, [], [], [], an_end(entry, waits=True))
    with database.as_owner() as owner:
        # By hand: to fold would take what is not counted yet of all tenants, and each table has to have a row.
        owner.execute("insert into tenant_rollups values (%s, 'hour', now(), 'succeeded', 1, 1, 1, 1, 1)", [tenant_id])
        owner.execute("insert into wall_rollups values (%s, 'hour', now(), 7, 1)", [tenant_id])
        owner.execute("insert into queue_waiting values (%s, 1000, now())", [tenant_id])
        owner.execute(
            "insert into plugin_rollups values (%s, 'hour', now(), %s, 1, 0, 1, 1)", [tenant_id, view.plugin.id]
        )
    return tenant_id


def _bound_to(connection: psycopg.Connection, tenant_id: str) -> None:
    connection.execute("select set_config('plugyard.tenant_id', %s, false)", [tenant_id])


def _tenants_seen(connection: psycopg.Connection, table: str) -> set[str]:
    statement = sql.SQL("select tenant_id from {}").format(sql.Identifier(table))
    return {str(tenant_id) for (tenant_id,) in connection.execute(statement)}


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_a_forgotten_filter_shows_the_tenants_own_rows_alone(database: Database, table: str) -> None:
    mine, other = await _furnished(database), await _furnished(database)
    with database.as_service() as connection:
        _bound_to(connection, mine)
        seen = _tenants_seen(connection, table)
    assert mine in seen
    if table in SHARED:
        assert other in seen
    else:
        assert seen == {mine}


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_without_a_tenant_nothing_is_seen(database: Database, table: str) -> None:
    await _furnished(database)
    with database.as_service() as connection:
        assert _tenants_seen(connection, table) == set()
        _bound_to(connection, "")
        assert _tenants_seen(connection, table) == set()


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_no_statement_changes_or_removes_another_tenants_row(database: Database, table: str) -> None:
    mine, other = await _furnished(database), await _furnished(database)
    name = sql.Identifier(table)
    with database.as_owner() as owner:
        # Even with every right that the owner can give, the policies hold.
        owner.execute(sql.SQL("grant update, delete on {} to plugyard_service").format(name))
    try:
        with database.as_service() as connection, connection.transaction(force_rollback=True):
            _bound_to(connection, mine)
            theirs = sql.SQL("{} where tenant_id = {}").format(name, other)
            column = sql.Identifier("level" if table == "plugin_logs" else "tenant_id")
            changed = connection.execute(
                sql.SQL("update {} set {} = {} where tenant_id = {}").format(name, column, column, other)
            )
            assert changed.rowcount == 0
            assert connection.execute(sql.SQL("delete from {}").format(theirs)).rowcount == 0
    finally:
        with database.as_owner() as owner:
            owner.execute(sql.SQL("revoke update, delete on {} from plugyard_service").format(name))
            granted = "plugins, marketplace_listings, plugin_ratings, api_keys, listing_names, idempotency_keys"
            granted += ", version_standings, version_rescans, publishers, publisher_keys, version_origins"
            granted += ", queued_executions, webhook_deliveries, plugin_schedules, webhooks, webhook_taken"
            owner.execute(sql.SQL("grant update on {} to plugyard_service").format(sql.SQL(granted)))
            deleted = "idempotency_keys, plugin_dependencies, queued_executions, webhook_deliveries, plugin_schedules"
            deleted += ", webhook_taken"
            owner.execute(sql.SQL("grant delete on {} to plugyard_service").format(sql.SQL(deleted)))
            owner.execute("grant update (published_at, delivered_at) on outbox to plugyard_service")


@pytest.mark.parametrize("table", TENANT_TABLES)
async def test_no_row_is_inserted_for_another_tenant(database: Database, table: str) -> None:
    mine, other = await _furnished(database), await _furnished(database)
    with database.as_owner() as owner:
        columns = [
            str(name)
            for (name,) in owner.execute(
                "select column_name from information_schema.columns where table_schema = 'plugyard' and "
                "table_name = %s and is_identity = 'NO' and is_generated = 'NEVER' order by ordinal_position",
                [table],
            )
        ]
        listed = sql.SQL(", ").join(map(sql.Identifier, columns))
        copied = sql.SQL("create table public.theirs as select {} from {} where tenant_id = {}").format(
            listed, sql.Identifier(table), other
        )
        owner.execute(copied)
        owner.execute("grant select on public.theirs to plugyard_service")
        # The service writes some tables by functions alone; the policies hold even where it might insert by itself.
        owner.execute(sql.SQL("grant insert on {} to plugyard_service").format(sql.Identifier(table)))
    try:
        with database.as_service() as connection:
            _bound_to(connection, mine)
            insert = sql.SQL("insert into {} ({}) select {} from public.theirs").format(
                sql.Identifier(table), listed, listed
            )
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                connection.execute(insert)
    finally:
        with database.as_owner() as owner:
            owner.execute("drop table public.theirs")
            owner.execute(
                "revoke insert on used_rights, audit_heads, audit_links, tenant_rollups, wall_rollups, plugin_rollups "
                "from plugyard_service"
            )


async def test_every_table_with_a_tenant_forces_row_level_security(database: Database) -> None:
    with database.as_owner() as owner:
        tables = owner.execute(
            "select c.relname, c.relkind, c.relrowsecurity, c.relforcerowsecurity, "
            "  exists (select from pg_policy p where p.polrelid = c.oid) "
            "from pg_class c join pg_namespace n on n.oid = c.relnamespace "
            "where n.nspname = 'plugyard' and c.relkind in ('r', 'p') and (c.relname = 'tenants' or exists ("
            "  select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id'))"
        ).fetchall()
    open_ones = [name for name, _, enabled, forced, has_policy in tables if not (enabled and forced and has_policy)]
    assert open_ones == []
    partitions = {name for name, *_ in tables if name.rpartition("_")[2].isdigit() or name.endswith("_default")}
    assert {name for name, *_ in tables} - partitions == {*TENANT_TABLES, "tenants"}
    assert len(partitions) > 10


async def test_a_partition_is_not_a_way_around_its_parent(database: Database) -> None:
    mine = await _furnished(database)
    partition = f"plugin_executions_{NOW:%Y%m%d}"
    with database.as_service() as connection:
        _bound_to(connection, mine)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("select * from {}").format(sql.Identifier(partition)))
    with database.as_owner() as owner:
        owner.execute("set plugyard.operator = ''")
        _bound_to(owner, mine)
        assert _tenants_seen(owner, partition) == set()


async def test_the_owner_of_the_tables_is_bound_too(database: Database) -> None:
    mine = await _furnished(database)
    await _furnished(database)
    with database.as_owner() as owner:
        owner.execute("set plugyard.operator = ''")
        assert _tenants_seen(owner, "plugins") == set()
        _bound_to(owner, mine)
        assert _tenants_seen(owner, "plugins") == {mine}


async def test_a_function_that_crosses_tenants_leaves_its_caller_bound(database: Database) -> None:
    mine = await _furnished(database)
    other = await _furnished(database)
    with database.as_service() as connection, connection.transaction():
        connection.execute("select set_config('plugyard.tenant_id', %s, true)", [mine])
        connection.execute("select * from key_by_hash('x')")
        connection.execute("select touch_keys('{}', '{}')")
        connection.execute("select ensure_partitions(1)")
        connection.execute("select count_installation(id) from marketplace_listings where tenant_id = %s", [other])
        connection.execute("update plugin_ratings set stars = 1")
        assert _tenants_seen(connection, "plugins") == {mine}


async def test_a_transaction_leaves_no_tenant_on_its_connection(database: Database) -> None:
    tenant = await a_tenant(database.store)
    async with database.store.for_tenant(tenant.id):
        pass
    async with database.store.for_operator():
        pass
    for _ in range(5):
        async with database.store._transaction("begin") as connection:
            row = await (
                await connection.execute(
                    "select current_setting('plugyard.tenant_id', true) as tenant, "
                    "current_setting('plugyard.operator', true) as operator"
                )
            ).fetchone()
            assert row is not None
            assert (row["tenant"] or "", row["operator"] or "") == ("", "")


@pytest.mark.parametrize(
    "statement",
    [
        "update audit_log set actor = 'nobody'",
        "delete from audit_log",
        "update plugin_versions set digest = 'x'",
        "delete from plugin_executions",
        "truncate plugins",
        "alter table plugins disable row level security",
        "drop policy of_the_tenant on plugins",
        "create table mine (value int)",
        "set role plugyard_owner",
        "call make_partition('plugin_logs', 'at', '2000-01-01')",
        "select drop_partitions('plugin_logs', '2100-01-01')",
    ],
)
async def test_the_services_role_may_not(database: Database, statement: str) -> None:
    with database.as_service() as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


async def test_every_definers_function_pins_its_search_path(database: Database) -> None:
    with database.as_owner() as owner:
        loose = owner.execute(
            "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace "
            "where n.nspname = 'plugyard' and p.prosecdef and not exists ("
            "  select from unnest(p.proconfig) c where c like 'search_path=plugyard,%')"
        ).fetchall()
        public = owner.execute(
            "select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace, "
            "aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a "
            "where n.nspname = 'plugyard' and a.grantee = 0"
        ).fetchall()
    assert loose == []
    assert public == []
