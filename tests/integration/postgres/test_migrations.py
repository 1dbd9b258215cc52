"""Migrations: done once, however many services start, and quick when there is nothing to do."""

from __future__ import annotations

import asyncio
import sys
import time

import psycopg
import pytest
import sqlalchemy
from alembic import command
from alembic.script import ScriptDirectory
from psycopg import sql
from psycopg.types.json import Jsonb

from plugyard.application.ports import ListingFilter, PageRequest, PluginFilter
from plugyard.bootstrap.databases import migrate_external
from plugyard.domain.errors import StoreUnavailable
from plugyard.infrastructure.postgres.migrations import HEAD, REVISIONS, migrate
from plugyard.infrastructure.postgres.migrations.run import configuration, upgrade
from plugyard.infrastructure.postgres.urls import Urls
from plugyard.settings import Settings
from tests.integration.conftest import SERVICE_ROLE, Database


async def test_the_head_that_the_code_names_is_that_of_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(configuration())
    assert scripts.get_current_head() == HEAD
    assert {script.revision for script in scripts.walk_revisions()} == REVISIONS


async def test_every_migration_says_whether_it_runs_before_or_after_the_code() -> None:
    for script in ScriptDirectory.from_config(configuration()).walk_revisions():
        assert script.module.__doc__ is not None
        assert ("Before code." in script.module.__doc__) != ("After code." in script.module.__doc__)


async def test_a_migrated_database_is_left_alone_quickly_and_without_alembic(database: Database) -> None:
    begin = time.perf_counter()
    assert await migrate(database.urls.owner_url, SERVICE_ROLE) is False
    assert time.perf_counter() - begin < 0.2
    code = (
        "import asyncio, sys; from plugyard.infrastructure.postgres.migrations import migrate; "
        "assert not asyncio.run(migrate(sys.argv[1], 'plugyard_service')); "
        "assert not {'alembic', 'sqlalchemy'} & set(sys.modules), 'loaded'"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, database.urls.owner_url)
    assert await process.wait() == 0


async def test_services_that_start_at_once_migrate_once(postgres_urls: Urls, superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database twins owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/twins"
    try:
        answers = await asyncio.gather(*(migrate(url, SERVICE_ROLE) for _ in range(4)))
        assert any(answers)
        with psycopg.connect(url) as connection:
            assert connection.execute("select version_num from plugyard.alembic_version").fetchall() == [(HEAD,)]
        assert await migrate(url, SERVICE_ROLE) is False
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database twins")


async def test_a_tenant_of_the_first_schema_is_denied_no_modules_by_the_second(
    postgres_urls: Urls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database older owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/older"
    try:
        upgrade(url, SERVICE_ROLE, to="0001")
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            connection.execute(
                "insert into plugyard.tenants (id, slug, name, created_at) values (gen_random_uuid(), 'a', 'A', now())"
            )
        assert await migrate(url, SERVICE_ROLE) is True
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            assert connection.execute("select modules_denied from plugyard.tenants").fetchall() == [([],)]
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database older")


async def test_entries_that_are_older_than_the_chain_are_chained_and_going_back_keeps_them(
    postgres_urls: Urls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database unchained owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/unchained"
    try:
        upgrade(url, SERVICE_ROLE, to="0004")
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            for hours in (1, 3, 2):
                connection.execute(
                    "insert into plugyard.audit_log (id, at, actor, action, target) "
                    "values (gen_random_uuid(), now() - make_interval(hours => %s), 'key:1', 'tenant.created', %s)",
                    [hours, str(hours)],
                )
        upgrade(url, SERVICE_ROLE, to="0005")
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            chained = connection.execute(
                "select target from plugyard.audit_log e join plugyard.audit_links l on l.entry_id = e.id "
                "order by sequence"
            ).fetchall()
        assert chained == [("3",), ("2",), ("1",)]
        downgrade(url, "0004")
        upgrade(url, SERVICE_ROLE, to="0005")
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            assert connection.execute("select sequence from plugyard.audit_heads").fetchall() == [(3,)]
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database unchained")


async def test_a_narrowed_key_is_revoked_before_its_scopes_are_forgotten(
    postgres_urls: Urls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database unscoped owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/unscoped"
    try:
        upgrade(url, SERVICE_ROLE, to="0003")
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            for number, scopes in enumerate(("[]", '["plugins:read"]')):
                connection.execute(
                    "insert into plugyard.api_keys (id, secret_hash, name, role, created_at, scopes) "
                    "values (gen_random_uuid(), %s, %s, 'operator', now(), %s)",
                    [bytes([number]) * 32, f"key {number}", scopes],
                )
        downgrade(url, "0002")
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            kept = connection.execute("select name from plugyard.api_keys where revoked_at is null").fetchall()
        assert kept == [("key 0",)]
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database unscoped")


async def test_older_code_goes_on_writing_events_into_the_outbox_that_relays_share(
    postgres_urls: Urls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database unshared owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/unshared"
    older = (
        "insert into plugyard.outbox (id, tenant_id, plugin_id, type, occurred_at, data) values "
        "(gen_random_uuid(), gen_random_uuid(), '019ca945-0a00-7000-8000-0000000000ff', 'plugin.rated', now(), '{}')"
    )
    try:
        upgrade(url, SERVICE_ROLE, to="0009")
        for revision in ("0010", "0009", "0010"):
            with psycopg.connect(url) as connection:
                connection.execute("select set_config('plugyard.operator', 'on', true)")
                connection.execute(older)
            if revision == "0010":
                upgrade(url, SERVICE_ROLE, to=revision)
            else:
                downgrade(url, revision)
        with psycopg.connect(url) as connection:
            connection.execute("select set_config('plugyard.operator', 'on', true)")
            assert connection.execute("select slot from plugyard.outbox").fetchall() == [(63,)] * 3
            # To code that reads whole rows, nothing that it knows has changed.
            row = connection.execute("select position, published_at from plugyard.outbox order by position").fetchone()
            assert row == (1, None)
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database unshared")


async def test_what_was_recorded_in_the_moment_of_the_rollups_is_counted_once_it_is_counted_anew(
    postgres_urls: Urls, superuser_url: str
) -> None:
    """A call that waits for the migration's lock has begun as the function of before, which counts nothing."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database uncounted owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/uncounted"
    counted = (
        "select (select count(*) from plugyard.uncounted_executions) + "
        "(select coalesce(sum(executions), 0) from plugyard.tenant_rollups where grain = 'hour')"
    )
    try:
        upgrade(url, SERVICE_ROLE, to="0012")
        engine = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"))
        with engine.begin() as migrating:
            config = configuration()
            config.attributes["connection"], config.attributes["service_role"] = migrating, SERVICE_ROLE
            command.upgrade(config, "0013")
            recording = asyncio.ensure_future(asyncio.to_thread(_record_one, url))
            await asyncio.sleep(0.5)
            assert not recording.done(), "it waits"
        await recording
        engine.dispose()
        for statement, count in ((None, 0), ("select plugyard.count_anew()", 1)):
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("select set_config('plugyard.operator', 'on', false)")
                if statement is not None:
                    connection.execute(statement)
                assert connection.execute(counted).fetchone() == (count,)
                assert connection.execute("select count(*) from plugyard.plugin_executions").fetchone() == (1,)
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database uncounted")


def _record_one(url: str) -> None:
    id_ = "019ca945-0a00-7000-8000-000000000001"
    execution = {"id": id_, "tenant_id": id_, "plugin_id": id_, "version": "1.0.0", "function": "add", "actor": "a"}
    execution |= {"status": "succeeded", "started_at": "2026-11-28T09:00:00Z", "request_id": "r", "wall_ms": 1}
    execution |= {"input_bytes": 0, "output_bytes": 0}
    part = {"tenant": id_, "executions": [execution], "logs": [], "events": [], "audit": []}
    with psycopg.connect(url) as connection:
        connection.execute("select plugyard.record_executions(%s)", [Jsonb([part])])


def downgrade(url: str, to: str) -> None:
    """Go back to an older schema, as an operator would by hand."""
    engine = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"))
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        config.attributes["service_role"] = SERVICE_ROLE
        command.downgrade(config, to)
    engine.dispose()


async def test_an_owner_may_serve_by_itself(postgres_urls: Urls, superuser_url: str) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database alone owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/alone"
    try:
        assert await migrate(url) is True
        with psycopg.connect(url) as connection:
            assert connection.execute("select count(*) from plugyard.plugins").fetchone() == (0,)
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database alone")


async def test_a_database_of_newer_code_is_left_alone_and_that_is_said(database: Database) -> None:
    settings = Settings(database_url=database.urls.service_url, database_owner_url=database.urls.owner_url)
    with database.as_owner() as owner:
        owner.execute("update alembic_version set version_num = '9999'")
        try:
            assert await migrate(database.urls.owner_url, SERVICE_ROLE) is False
            said = await migrate_external(settings, "before")
            assert said == f"The schema is at revision 9999, of newer code than this ({HEAD}); it is left as it is."
        finally:
            owner.execute("update alembic_version set version_num = %s", [HEAD])


async def test_a_database_that_is_away_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await migrate("postgresql://nobody:x@127.0.0.1:1/none")


async def test_a_column_that_newer_code_adds_does_not_disturb_older_code(database: Database) -> None:
    from tests.contract.given import a_stored_listing

    listing = await a_stored_listing(database.store)

    async def read() -> None:
        async with database.store.for_tenant(listing.tenant_id) as tx:
            assert await tx.plugin(listing.plugin_id) is not None
            assert await tx.listing(listing.id) == listing
            assert (await tx.list_plugins(PluginFilter(), PageRequest())).items
            assert (await tx.search_listings(ListingFilter(), PageRequest())).items

    for _ in range(40):  # Until every connection of the pool has prepared these statements.
        await read()
    with database.as_owner() as owner:
        try:
            for table in ("plugins", "marketplace_listings", "plugin_versions"):
                owner.execute(sql.SQL("alter table {} add column newer text").format(sql.Identifier(table)))
            for _ in range(10):
                await read()
        finally:
            for table in ("plugins", "marketplace_listings", "plugin_versions"):
                owner.execute(sql.SQL("alter table {} drop column newer").format(sql.Identifier(table)))


async def test_the_queue_goes_away_again_and_executions_are_recorded_as_before(
    postgres_urls: Urls, superuser_url: str
) -> None:
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database queueless owner plugyard_owner")
    url = postgres_urls.owner_url.rpartition("/")[0] + "/queueless"
    try:
        await migrate(url, SERVICE_ROLE)
        downgrade(url, "0008")
        with psycopg.connect(url) as connection:
            assert connection.execute("select to_regnamespace('plugyard_queue')").fetchone() == (None,)
            connection.execute("select plugyard.record_executions('[]')")
        assert await migrate(url, SERVICE_ROLE) is True
    finally:
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute("drop database queueless")
