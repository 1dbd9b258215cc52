"""The recorder: many executions share a commit, one bad row harms no other, and nothing is lost or written twice."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from typing import Any

import msgspec
import psycopg
import pytest

from plugyard.application.ports import LogFilter, PageRequest, Reply
from plugyard.domain.errors import InvalidInput, StoreUnavailable
from plugyard.domain.execution import ExecutionFailure, ExecutionStatus
from plugyard.domain.plugin import Plugin
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from tests.contract.given import a_log_line, a_stored_plugin, a_tenant, an_entry, an_event, an_execution, new_id
from tests.integration.conftest import Database


def _end_connections(database: Database) -> None:
    """Cuts every connection of the service, as a restart of the server does."""
    with psycopg.connect(database.urls.service_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where usename = current_user and pid <> pg_backend_pid()"
        )


async def test_a_hundred_callers_of_many_tenants_each_find_their_own_row(database: Database) -> None:
    plugins = [await a_stored_plugin(database.store, (await a_tenant(database.store)).id) for _ in range(5)]
    executions = [an_execution(plugins[number % 5]) for number in range(100)]
    await asyncio.gather(*(database.recorder.record(one, [a_log_line(one)], [], []) for one in executions))
    for one in executions:
        async with database.store.for_tenant(one.tenant_id) as tx:
            assert await tx.execution(one.id) == one


async def test_callers_that_wait_share_a_commit(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    executions = [an_execution(plugin) for _ in range(64)]
    await asyncio.gather(*(database.recorder.record(one, [], [], []) for one in executions))
    with database.as_owner() as owner:
        row = owner.execute(
            "select count(distinct xmin::text) from plugin_executions where plugin_id = %s", [plugin.id]
        ).fetchone()
    assert row is not None
    assert row[0] <= 3


async def test_recorders_that_have_the_trails_of_the_same_tenants_never_wait_for_each_other_crosswise(
    database: Database,
) -> None:
    recorders = [PostgresRecorder(database.urls.service_url) for _ in range(2)]
    for recorder in recorders:
        await recorder.open()
    plugins = [await a_stored_plugin(database.store, (await a_tenant(database.store)).id) for _ in range(2)]

    def record(recorder: PostgresRecorder, in_order: list[Plugin]) -> list[asyncio.Task[None]]:
        entries = [(one, an_entry(one.tenant_id, action="security.violated")) for one in in_order]
        return [asyncio.create_task(recorder.record(an_execution(one), [], [], [entry])) for one, entry in entries]

    await asyncio.gather(*record(recorders[0], plugins))  # so that both trails have a head to lock
    sessions = [recorder._statement and recorder._statement.backend for recorder in recorders]
    first, _ = sorted(plugins, key=lambda one: one.tenant_id)
    for held in (first, *plugins):
        with database.as_owner() as owner, owner.transaction():
            owner.execute("select from audit_heads where chain = %s for update", [held.tenant_id])
            waiting = record(recorders[0], plugins)
            await asyncio.sleep(0.2)
            waiting += record(recorders[1], plugins[::-1])
            await asyncio.sleep(0.2)
        await asyncio.gather(*waiting)
    # A deadlock would have cost one of them its session.
    assert [recorder._statement and recorder._statement.backend for recorder in recorders] == sessions
    for recorder in recorders:
        await recorder.close()


async def test_large_answers_do_not_share_a_commit(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    executions = [an_execution(plugin, output_bytes=1 << 20) for _ in range(20)]
    large = [Reply(new_id(), {"output": "x" * (1 << 20)}) for _ in executions]
    await asyncio.gather(
        *(database.recorder.record(one, [], [], [], reply=reply) for one, reply in zip(executions, large, strict=True))
    )
    with database.as_owner() as owner:
        rows = owner.execute(
            "select count(*) from plugin_executions where plugin_id = %s group by xmin::text", [plugin.id]
        ).fetchall()
    assert sum(executed for (executed,) in rows) == 20
    assert max(executed for (executed,) in rows) == 8


async def test_what_postgresql_has_no_room_for_fails_alone_and_is_sent_once(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    recorder = PostgresRecorder(database.urls.service_url)
    await recorder.open()
    assert recorder._statement is not None
    session = recorder._statement.backend
    too_deep = Reply("key", {"output": msgspec.Raw(b"[" * 50_000 + b"]" * 50_000)})
    good, bad = an_execution(plugin), an_execution(plugin)
    answers = await asyncio.gather(
        recorder.record(good, [], [], []), recorder.record(bad, [], [], [], reply=too_deep), return_exceptions=True
    )
    assert answers[0] is None
    assert isinstance(answers[1], InvalidInput)
    assert recorder._statement.backend == session
    await recorder.close()


async def test_a_row_that_cannot_be_stored_fails_alone(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    good = [an_execution(plugin) for _ in range(10)]
    bad = an_execution(plugin, id="not an id")
    answers = await asyncio.gather(
        *(database.recorder.record(one, [], [], []) for one in [*good[:5], bad, *good[5:]]), return_exceptions=True
    )
    assert [answer is None for answer in answers] == [True] * 5 + [False] + [True] * 5
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        for one in good:
            assert await tx.execution(one.id) == one


@pytest.mark.parametrize(
    "fields",
    [
        {"text": "a\0b"},
        {"text": "\ud800 alone"},
        {"a\0key": [1, {"deep\udfff": "\0"}]},
        {"number": math.inf, "other": math.nan},
        {"large": 10**40},
        {"fraction": 1e-320, "negative": -0.0},
        {"backslash": "\\u0000 in words"},
        {"nested": [[[[["x"] * 10] * 10]]]},
    ],
    ids=str,
)
async def test_whatever_a_plugin_logs_is_stored(database: Database, fields: dict[str, Any]) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    failure = ExecutionFailure("failed", "mess\0age \ud800", "sta\0ck", 2**70, 2**64)
    execution = an_execution(plugin, status=ExecutionStatus.FAILED, error=failure)
    line = a_log_line(execution, "said \0 and \ud83d")
    line = replace(line, line=replace(line.line, fields=fields))
    await database.recorder.record(execution, [line], [], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        (found,) = (await tx.list_logs(plugin.id, LogFilter(), PageRequest())).items
        kept = await tx.execution(execution.id)
    assert found.line.message == "said \ufffd and ?"
    assert kept is not None
    assert kept.error is not None
    assert kept.error.message == "mess\ufffdage ?"
    assert kept.error.limit == 2**63 - 1


async def test_a_row_is_bound_to_the_tenant_that_it_is_recorded_for(database: Database) -> None:
    plugin, other = (
        await a_stored_plugin(database.store, (await a_tenant(database.store)).id),
        await a_tenant(database.store),
    )
    execution = an_execution(plugin)
    foreign = replace(an_event(plugin), tenant_id=other.id)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await database.recorder.record(execution, [], [foreign], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(execution.id) is None


async def test_a_lost_connection_is_replaced_and_nothing_is_lost(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    _end_connections(database)
    execution = an_execution(plugin)
    await database.recorder.record(execution, [], [], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(execution.id) == execution


async def test_what_is_recorded_twice_is_there_once(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    execution = an_execution(plugin)
    line, event = a_log_line(execution), an_event(plugin)
    for _ in range(2):
        await database.recorder.record(execution, [line], [event], [])
    with database.as_owner() as owner:
        for table, identity in [("plugin_executions", execution.id), ("plugin_logs", line.id), ("outbox", event.id)]:
            row = owner.execute(f"select count(*) from {table} where id = %s", [identity]).fetchone()
            assert row == (1,)


async def test_a_database_that_is_away_is_told_to_every_caller(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    recorder = PostgresRecorder(database.urls.service_url)
    await recorder.open()
    recorder._url = "postgresql://nobody:x@127.0.0.1:1/none"
    _end_connections(database)
    answers = await asyncio.gather(
        *(recorder.record(an_execution(plugin), [], [], []) for _ in range(3)), return_exceptions=True
    )
    assert all(isinstance(answer, StoreUnavailable) for answer in answers)
    await recorder.close()


async def test_closing_writes_what_waits_and_then_takes_nothing(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    recorder = PostgresRecorder(database.urls.service_url)
    await recorder.open()
    executions = [an_execution(plugin) for _ in range(20)]
    tasks = [asyncio.create_task(recorder.record(one, [], [], [])) for one in executions]
    await asyncio.sleep(0)
    await recorder.close()
    await asyncio.gather(*tasks)
    with pytest.raises(StoreUnavailable):
        await recorder.record(an_execution(plugin), [], [], [])


async def test_a_caller_that_gives_up_does_not_stop_the_others(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    first, second = an_execution(plugin), an_execution(plugin)
    gives_up = asyncio.create_task(database.recorder.record(first, [], [], []))
    stays = asyncio.create_task(database.recorder.record(second, [], [], []))
    await asyncio.sleep(0)
    gives_up.cancel()
    await stays
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(second.id) == second


async def test_an_execution_of_a_day_without_a_partition_is_kept(database: Database) -> None:
    from datetime import UTC, datetime

    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    execution = an_execution(plugin, id=new_id(), started_at=datetime(2001, 1, 1, tzinfo=UTC))
    await database.recorder.record(execution, [], [], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(execution.id) == execution
