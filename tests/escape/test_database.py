"""What a plugin may try with its database, by the service and by the bare role, as if the service's list of
statements were not there. What PostgreSQL keeps must not depend on the list, nor the list on PostgreSQL."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from plugyard.infrastructure.postgres import plugin_databases
from plugyard.infrastructure.postgres.urls import Urls
from plugyard.sandbox.services.base import Denied, ServiceFault
from tests.escape.database import QUICK, Home, home
from tests.integration.conftest import postgres_data, postgres_urls, superuser_url

__all__ = ["postgres_data", "postgres_urls", "superuser_url"]


@pytest.fixture
async def mine(postgres_urls: Urls) -> AsyncIterator[Home]:
    """The plugin that tries."""
    found = home(postgres_urls.keeper_url)
    await found.databases.provide(found.tenant, found.plugin)
    yield found
    await found.service.close()
    await found.databases.drop(found.tenant, found.plugin)


@pytest.fixture
async def other(postgres_urls: Urls) -> AsyncIterator[Home]:
    """Another tenant's, with something to find."""
    found = home(postgres_urls.keeper_url)
    await found.databases.provide(found.tenant, found.plugin)
    await found.query("create table secrets (word text)")
    await found.query("insert into secrets values ('hidden')")
    yield found
    await found.service.close()
    await found.databases.drop(found.tenant, found.plugin)


NOT_STATEMENTS = [
    "set role plugyard_keeper",
    "SET SESSION AUTHORIZATION plugyard_superuser",
    "reset role",
    "reset session authorization",
    "set statement_timeout = 0",
    "set search_path = pg_catalog",
    "/* a /* b */ */ -- c\n set role plugyard_keeper",
    "copy (select 1) to program 'id'",
    "copy t from '/etc/passwd'",
    "copy (select 1) to stdout",
    "do $$ begin perform 1; end $$",
    "listen anything",
    "notify anything",
    "begin",
    "commit",
    "lock table t",
    "declare c cursor with hold for select 1",
    "prepare p as select 1",
    "create extension dblink",
    "create function f() returns int language sql as 'select 1'",
    "create temp table t (a int)",
    "create role someone",
    "create schema s",
    "create database d",
    "create server s foreign data wrapper w",
    "create event trigger e on ddl_command_start execute function f()",
    "alter role current_user set statement_timeout = 0",
    "alter system set fsync = off",
    "alter database plugyard_plugins set search_path = x",
    "drop schema public",
    "drop owned by current_user",
    "grant select on t to public",
    "load 'x'",
    "vacuum",
    "discard all",
    "call p()",
    "security label on table t is 'x'",
    "checkpoint",
    "",
    ";",
]


@pytest.mark.parametrize("sql", [sql for sql in NOT_STATEMENTS if sql])
async def test_the_service_sends_no_statement_that_changes_a_session(mine: Home, sql: str) -> None:
    with pytest.raises(Denied):
        await mine.query(sql)
    assert mine.connections.count == 0


REFUSED_BY_POSTGRESQL = [
    ("set role plugyard_keeper", psycopg.errors.InsufficientPrivilege),
    ("set role plugyard_superuser", psycopg.errors.InsufficientPrivilege),
    ("set role plugyard_service", psycopg.errors.InsufficientPrivilege),
    ("set session authorization plugyard_superuser", psycopg.errors.InsufficientPrivilege),
    ("reset role; set role plugyard_owner", psycopg.errors.InsufficientPrivilege),
    ("reset session authorization; select rolname from pg_authid", psycopg.errors.InsufficientPrivilege),
    ("copy (select 1) to program 'id'", psycopg.errors.InsufficientPrivilege),
    ("copy (select 1) to '/tmp/x'", psycopg.errors.InsufficientPrivilege),
    ("select pg_read_file('/etc/passwd')", psycopg.errors.InsufficientPrivilege),
    ("select pg_ls_dir('.')", psycopg.errors.InsufficientPrivilege),
    ("select lo_import('/etc/passwd')", psycopg.errors.InsufficientPrivilege),
    ("select lo_creat(-1)", psycopg.errors.InsufficientPrivilege),
    ("select lo_create(0)", psycopg.errors.InsufficientPrivilege),
    ("select lo_from_bytea(0, 'x')", psycopg.errors.InsufficientPrivilege),
    ("select plugyard.current_tenant()", psycopg.errors.InvalidSchemaName),
    ("select * from plugyard.plugins", psycopg.errors.UndefinedTable),
    ("select pg_sleep(10)", psycopg.errors.QueryCanceled),
    ("select pg_advisory_lock(1)", psycopg.errors.InsufficientPrivilege),
    ("select pg_try_advisory_xact_lock_shared(1)", psycopg.errors.InsufficientPrivilege),
    ("select set_config('statement_timeout', '0', false)", psycopg.errors.InsufficientPrivilege),
    ("select pg_notify('plugyard', 'x')", psycopg.errors.InsufficientPrivilege),
    ("select pg_terminate_backend(1)", psycopg.errors.InsufficientPrivilege),
    ("select query_to_xml('select 1', true, true, '')", psycopg.errors.InsufficientPrivilege),
    ("create extension dblink", psycopg.errors.Error),
    ("create extension pgcrypto", psycopg.errors.Error),
    ("create extension postgres_fdw", psycopg.errors.Error),
    ("select dblink_connect('host=127.0.0.1')", psycopg.errors.UndefinedFunction),
    ("do $$ begin perform 1; end $$", psycopg.errors.InsufficientPrivilege),
    ("create function f() returns int language sql as 'select 1'", psycopg.errors.InsufficientPrivilege),
    ("create function f() returns int language c as 'libc', 'getpid'", psycopg.errors.InsufficientPrivilege),
    ("create temp table t (a int)", psycopg.errors.InsufficientPrivilege),
    ("create schema s", psycopg.errors.InsufficientPrivilege),
    ("create database d", psycopg.errors.InsufficientPrivilege),
    ("create role r", psycopg.errors.InsufficientPrivilege),
    ("alter system set fsync = off", psycopg.errors.InsufficientPrivilege),
    ("create table pg_catalog.t (a int)", psycopg.errors.InsufficientPrivilege),
    ("create server s foreign data wrapper w", psycopg.errors.Error),
    ("select * from pg_stat_activity", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_stat_get_activity(null)", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_roles", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_authid", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_namespace", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_class", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_attribute", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_proc", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_locks", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_settings", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_stats", psycopg.errors.InsufficientPrivilege),
    ("select * from pg_database", psycopg.errors.InsufficientPrivilege),
    ("select pg_get_userbyid(10)", psycopg.errors.InsufficientPrivilege),
    ("select pg_database_size('plugyard')", psycopg.errors.InsufficientPrivilege),
    ("alter role current_user superuser", psycopg.errors.InsufficientPrivilege),
    ("alter role current_user createrole", psycopg.errors.InsufficientPrivilege),
    ("alter role current_user connection limit 1000", psycopg.errors.InsufficientPrivilege),
]


@pytest.mark.parametrize(("sql", "error"), REFUSED_BY_POSTGRESQL, ids=[sql for sql, _ in REFUSED_BY_POSTGRESQL])
async def test_postgresql_itself_refuses_the_bare_role(mine: Home, sql: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await mine.bare(sql)


@pytest.mark.parametrize("database", ["plugyard", "postgres", "template1"])
async def test_the_role_enters_no_other_database(mine: Home, database: str) -> None:
    address = mine.databases.address(mine.tenant, mine.plugin, {})
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        await psycopg.AsyncConnection.connect(address, dbname=database)


async def test_a_role_is_not_known_by_its_name_alone(mine: Home) -> None:
    address = mine.databases.address(mine.tenant, mine.plugin, {})
    with pytest.raises(psycopg.OperationalError):
        await psycopg.AsyncConnection.connect(address, password=mine.schema)


@pytest.mark.parametrize(
    "sql",
    [
        "select * from {other}.secrets",
        "insert into {other}.secrets values ('planted')",
        "drop table {other}.secrets",
        "create table {other}.mine (a int)",
        "create view leak as select * from {other}.secrets",
        "truncate {other}.secrets",
        "alter table {other}.secrets owner to {mine}",
        "select '{other}.secrets'::regclass",
        "explain select * from {other}.secrets",
    ],
)
async def test_another_tenants_schema_is_closed(mine: Home, other: Home, sql: str) -> None:
    text = sql.format(other=other.schema, mine=mine.schema)
    with pytest.raises(Denied):
        await mine.query(text)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await mine.bare(text)
    assert await other.query("select * from secrets") == [{"word": "hidden"}]


async def test_a_role_cannot_be_taken_by_another_plugin(mine: Home, other: Home) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await mine.bare(f"set role {other.schema}")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await mine.bare(f"grant {other.schema} to {mine.schema}")


async def test_information_schema_shows_what_is_ones_own(mine: Home, other: Home) -> None:
    await mine.query("create table notes (a int, b text not null)")
    tables = await mine.query("select table_name from information_schema.tables where table_schema = $1", mine.schema)
    assert tables == [{"table_name": "notes"}]
    every = await mine.query("select table_schema from information_schema.tables")
    assert other.schema not in {row["table_schema"] for row in every}
    columns = await mine.query("select column_name from information_schema.columns where table_name = 'notes'")
    assert {row["column_name"] for row in columns} == {"a", "b"}


async def test_two_statements_in_one_call_are_refused_by_the_protocol(mine: Home) -> None:
    await mine.query("create table t (a int)")
    with pytest.raises(ServiceFault, match="multiple commands"):
        await mine.query("insert into t values (1); insert into t values (2)")
    assert await mine.query("select * from t") == []


@pytest.mark.parametrize("text", ["'; drop table t; --", "\\", "$1", "%s", "\u00fc\U0001f600", "{}", '"'])
async def test_parameters_are_values_and_never_sql(mine: Home, text: str) -> None:
    await mine.query("create table t (a text)")
    await mine.query("insert into t values ($1)", text)
    assert await mine.query("select a from t where a = $1", text) == [{"a": text}]


@pytest.mark.parametrize("text", ["\0", "a\0b", "\ud800"])
async def test_text_that_cannot_be_stored_is_a_fault(mine: Home, text: str) -> None:
    for sql, parameters in (("select $1", [text]), (f"select '{text}'", [])):
        with pytest.raises(ServiceFault) as fault:
            await mine.query(sql, *parameters)
        assert fault.value.code == "invalid_arguments"


@pytest.mark.parametrize(
    "sql", ["select pg_sleep(60)", "select count(*) from generate_series(1, 1e12::bigint)", "with recursive r(n) as "
            "(select 1 union all select n + 1 from r) select max(n) from r"]
)  # fmt: skip
async def test_a_statement_that_takes_too_long_is_ended_and_its_session_serves_on(mine: Home, sql: str) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceFault) as fault:
        await mine.query(sql)
    assert fault.value.code == "statement_timeout"
    assert time.monotonic() - began < 3
    assert await mine.query("select 1 as one") == [{"one": 1}]


async def test_a_result_is_cut_by_rows_and_by_bytes_while_it_is_read(mine: Home) -> None:
    for sql in (
        "select * from generate_series(1, 100000) as n",
        "select repeat('x', 100000) from generate_series(1, 100)",
        "select repeat('x', 20000000)",
    ):
        with pytest.raises(ServiceFault) as fault:
            await mine.query(sql)
        assert fault.value.code == "result_too_large"
    assert await mine.query("select 1 as one") == [{"one": 1}]


async def test_a_lock_that_another_execution_holds_is_waited_for_and_not_for_ever(mine: Home) -> None:
    await mine.query("create table t (a int)")
    await mine.query("insert into t values (1)")
    block = (await mine.call("begin"))["transaction"]
    await mine.query("update t set a = 2", transaction=block)
    with pytest.raises(ServiceFault) as fault:
        await mine.query("update t set a = 3")
    assert fault.value.code == "lock_timeout"
    await mine.call("rollback", transaction=block)


async def test_a_block_commits_together_or_not_at_all(mine: Home) -> None:
    await mine.query("create table t (a int primary key)")
    first = (await mine.call("begin"))["transaction"]
    await mine.query("insert into t values (1)", transaction=first)
    assert await mine.query("select * from t") == []
    await mine.call("commit", transaction=first)
    second = (await mine.call("begin"))["transaction"]
    await mine.query("insert into t values (2)", transaction=second)
    with pytest.raises(ServiceFault) as fault:
        await mine.query("insert into t values (1)", transaction=second)
    assert fault.value.code == "unique_violation"
    with pytest.raises(ServiceFault) as fault:
        await mine.call("commit", transaction=second)
    assert fault.value.code == "transaction_failed"
    with pytest.raises(ServiceFault):
        await mine.call("transaction", statements=[{"sql": "insert into t values (3)"}, {"sql": "select 1/0"}])
    assert await mine.query("select * from t") == [{"a": 1}]


async def test_what_an_execution_leaves_open_is_rolled_back(mine: Home) -> None:
    await mine.query("create table t (a int)")
    block = (await mine.call("begin"))["transaction"]
    await mine.query("insert into t values (1)", transaction=block)
    await mine.service.ended(mine.execution)
    await asyncio.sleep(0.1)
    assert await mine.query("select * from t") == []
    with pytest.raises(ServiceFault) as fault:
        await mine.query("select 1", transaction=block)
    assert fault.value.code == "no_transaction"


async def test_a_block_is_its_executions_alone(mine: Home) -> None:
    block = (await mine.call("begin"))["transaction"]
    mine.execution = "another"
    for method in ("query", "commit", "rollback"):
        with pytest.raises(ServiceFault) as fault:
            await mine.call(method, sql="select 1", transaction=block)
        assert fault.value.code == "no_transaction"
    await mine.service.ended("execution")


async def test_a_tenant_has_so_many_connections_and_the_rest_wait(postgres_urls: Urls) -> None:
    found = home(postgres_urls.keeper_url, per_tenant=2)
    rows = await asyncio.gather(*(found.query("select pg_backend_pid() as pid, pg_sleep(0.05)") for _ in range(12)))
    assert len({row[0]["pid"] for row in rows}) == 2
    assert found.connections.count == 2
    await found.service.close()
    assert found.connections.count == 0
    await found.databases.drop(found.tenant, found.plugin)


async def test_a_cancelled_call_leaves_nothing_running(mine: Home, postgres_urls: Urls) -> None:
    running = asyncio.create_task(mine.query("select pg_sleep(0.6)"))
    await asyncio.sleep(0.2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await mine.service.close()
    assert mine.connections.count == 0
    async with await psycopg.AsyncConnection.connect(postgres_urls.keeper_url) as keeper:
        left = await (
            await keeper.execute("select query from pg_stat_activity where usename = %s", [mine.schema])
        ).fetchall()
    assert left == []


async def test_a_connection_that_the_server_ended_is_replaced(mine: Home, superuser_url: str) -> None:
    await mine.query("select 1")
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as superuser:
        await superuser.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", [mine.schema]
        )
    await asyncio.sleep(0.1)
    assert await mine.query("select 1 as one") == [{"one": 1}]


async def test_a_role_that_spoilt_its_own_password_is_let_in_again(mine: Home) -> None:
    await mine.bare("alter role current_user password 'mine now'")
    assert await mine.query("select 1 as one") == [{"one": 1}]


async def test_both_ends_of_a_plugins_session_notice_that_the_other_has_gone(mine: Home) -> None:
    await mine.bare("alter role current_user set tcp_user_timeout = 0")
    settings = await mine.query(
        "select current_setting('tcp_user_timeout') as timeout, current_setting('tcp_keepalives_idle') as idle"
    )
    assert settings == [{"timeout": "5000", "idle": "2"}]
    made = conninfo_to_dict(mine.databases.address(mine.tenant, mine.plugin, {}))
    assert (made["tcp_user_timeout"], made["keepalives_idle"]) == ("5000", "2")


async def test_settings_that_a_role_gives_itself_do_not_hold(mine: Home) -> None:
    await mine.bare("alter role current_user set statement_timeout = 0")
    await mine.bare("alter role current_user set search_path = pg_catalog")
    with pytest.raises(ServiceFault):
        await mine.query("select pg_sleep(60)")
    shown = await mine.query("select current_setting('search_path') as path")
    assert shown == [{"path": mine.schema}]


async def test_dropping_leaves_neither_schema_nor_role_nor_rights(postgres_urls: Urls) -> None:
    found = home(postgres_urls.keeper_url, replace(QUICK, statement_ms=5_000))
    await found.query("create table t (a int)")
    await found.bare("alter default privileges grant select on tables to public")
    await found.bare("grant select on t to public")
    assert (found.tenant, found.plugin) in await found.databases.held()
    await found.databases.drop(found.tenant, found.plugin)
    await found.databases.drop(found.tenant, found.plugin)
    assert (found.tenant, found.plugin) not in await found.databases.held()
    with pytest.raises(psycopg.OperationalError):
        await found.bare("select 1")
    await found.service.close()


async def test_dropping_goes_by_and_by_however_much_there_is(
    postgres_urls: Urls, superuser_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The locks of all sessions lie in one table of the server, which one plugin's many tables must not fill."""
    monkeypatch.setattr(plugin_databases, "_DROPPED_AT_ONCE", 10)
    found = home(postgres_urls.keeper_url, replace(QUICK, statement_ms=5_000))
    await found.query("create table whole (a int) partition by list (a)")
    for number in range(25):
        await found.query(f"create table part_{number} partition of whole for values in ({number})")
    for number in range(12):
        await found.query(f"create table t{number} (a serial primary key, b int generated always as identity)")
        await found.query(f"create view v{number} as select * from t{number}")
    await found.query("create materialized view m as select * from v1")
    await found.query("create sequence loose")
    await found.service.close()
    await found.databases.drop(found.tenant, found.plugin)
    assert (found.tenant, found.plugin) not in await found.databases.held()
    with psycopg.connect(superuser_url) as superuser:
        assert superuser.execute("select 1 from pg_roles where rolname = %s", [found.schema]).fetchone() is None


VALUES: list[tuple[str, Any]] = [
    ("1::int", 1),
    ("9007199254740991::bigint", 9007199254740991),
    ("9007199254740993::bigint", "9007199254740993"),
    ("1.50::numeric", "1.50"),
    ("1.5::float8", 1.5),
    ("'NaN'::float8", "NaN"),
    ("true", True),
    ("null", None),
    ("'\\xdead'::bytea", "3q0="),
    ("'{\"a\": [1, null]}'::jsonb", {"a": [1, None]}),
    ("'2026-01-02 03:04:05.6+02'::timestamptz", "2026-01-02T01:04:05.6Z"),
    ("'2026-01-02 03:04:05'::timestamp", "2026-01-02T03:04:05"),
    ("'2026-01-02'::date", "2026-01-02"),
    ("'infinity'::timestamptz", "infinity"),
    ("interval '1 day 2 hours'", "P1DT2H"),
    ("array[1, null, 3]", [1, None, 3]),
    ("array[['a,b', 'c\"d'], ['NULL', '']]", [["a,b", 'c"d'], ["NULL", ""]]),
    ("'[0:1]={1.5,2}'::numeric[]", ["1.5", "2"]),
    ("array['{\"a\": 1}'::jsonb]", [{"a": 1}]),
    ("'{}'::int[]", []),
    ("'10.0.0.1'::inet", "10.0.0.1"),
    ("int4range(1, 3)", "[1,3)"),
    ("row(1, 'a')", "(1,a)"),
]


@pytest.mark.parametrize(("sql", "value"), VALUES, ids=[sql for sql, _ in VALUES])
async def test_types_come_as_the_guide_says(mine: Home, sql: str, value: Any) -> None:
    import msgspec

    (row,) = await mine.query(f"select {sql} as v")
    assert msgspec.json.decode(msgspec.json.encode(row))["v"] == value


async def test_parameters_take_the_type_that_the_statement_wants(mine: Home) -> None:
    await mine.query("create table t (i int, n numeric, b bool, j jsonb, a text[], s text, f float8, d date)")
    values = [7, "1.50", True, {"k": [1]}, ["x,y", None, '"'], "text", 1.25, "2026-01-02"]
    await mine.query("insert into t values ($1, $2, $3, $4, $5, $6, $7, $8)", *values)
    assert await mine.call("execute", sql="update t set i = i + $1 where b = $2", parameters=[1, True]) == 1
    (row,) = await mine.query("select i, n, b, a, s, f, d from t where j = $1 and a = $2", {"k": [1]}, values[4])
    assert list(row.values()) == [8, "1.50", True, values[4], "text", 1.25, "2026-01-02"]
