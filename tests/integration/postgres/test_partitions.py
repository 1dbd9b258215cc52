"""Partitions are made ahead of time, take what the default one held, and are dropped with their day."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from plugyard.application.ports import StoredReply
from plugyard.infrastructure.postgres import store
from tests.contract.given import NOW, a_log_line, a_stored_plugin, a_tenant, ago, an_execution, new_id
from tests.integration.conftest import Database


def _partitions(database: Database, parent: str) -> set[str]:
    with database.as_owner() as owner:
        rows = owner.execute(
            "select inhrelid::regclass::text from pg_inherits where inhparent = %s::regclass", [parent]
        ).fetchall()
    return {name for (name,) in rows}


async def test_the_days_to_come_have_partitions(database: Database) -> None:
    await database.store.ensure_partitions(9)
    await database.store.ensure_partitions(9)
    expected = {f"{datetime.now(UTC) + timedelta(days=days):%Y%m%d}" for days in range(-1, 10)}
    for parent in ("plugin_executions", "plugin_logs"):
        names = _partitions(database, parent)
        assert {f"{parent}_{day}" for day in expected} <= names
        assert f"{parent}_default" in names


async def test_a_late_partition_takes_the_rows_of_its_day_from_the_default(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    in_twelve_days = datetime.now(UTC) + timedelta(days=12)
    execution = an_execution(plugin, started_at=in_twelve_days)
    await database.recorder.record(execution, [], [], [])
    await database.store.ensure_partitions(12)
    with database.as_owner() as owner:
        place = owner.execute(
            "select tableoid::regclass::text from plugin_executions where id = %s", [execution.id]
        ).fetchone()
    assert place == (f"plugin_executions_{in_twelve_days:%Y%m%d}",)
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(execution.id) == execution


async def test_clean_up_drops_whole_days_and_what_has_served_its_time(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    with database.as_owner() as owner:
        for days in (40, 20):
            day = ago(days=days).date()
            owner.execute("call make_partition('plugin_executions', 'started_at', %s)", [day])
            owner.execute("call make_partition('plugin_logs', 'at', %s)", [day])
    old, middle, ancient = (an_execution(plugin, started_at=ago(days=days)) for days in (40, 20, 400))
    for execution in (old, middle, ancient):
        line = a_log_line(execution, at=execution.started_at)
        await database.recorder.record(execution, [line], [], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        await tx.claim_key(plugin.id, "old", StoredReply("h", new_id(), None, ago(days=2)))
        await tx.claim_key(plugin.id, "new", StoredReply("h", new_id(), None, NOW))
    cleaned = await database.store.clean_up(timedelta(days=30), timedelta(days=10))
    assert (cleaned.execution_days, cleaned.log_days) == (1, 2)
    assert cleaned.keys >= 1
    assert f"plugin_executions_{ago(days=40):%Y%m%d}" not in _partitions(database, "plugin_executions")
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(old.id) is None
        assert await tx.execution(ancient.id) is None
        assert await tx.execution(middle.id) == middle
        assert await tx.claim_key(plugin.id, "new", StoredReply("h", new_id(), None, NOW)) is not None
    with database.as_owner() as owner:
        owner.execute(f"drop table plugin_executions_{ago(days=20):%Y%m%d}")


async def test_recording_goes_on_while_what_is_old_is_deleted(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    _old_day(database)
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        await tx.claim_key(plugin.id, "held", StoredReply("h", new_id(), None, ago(days=2)))
    with database.as_owner() as owner, owner.transaction():
        # Deleting takes as long as somebody holds a row of what is to go.
        owner.execute("select from idempotency_keys where plugin_id = %s for update", [plugin.id])
        cleaning = asyncio.create_task(database.store.clean_up(timedelta(days=30), timedelta(days=30)))
        await asyncio.sleep(0.3)
        assert not cleaning.done()
        await asyncio.wait_for(database.recorder.record(an_execution(plugin), [], [], []), 2)
    assert (await cleaning).execution_days == 1


async def test_so_much_that_is_old_goes_at_a_time_and_all_of_it_in_the_end(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        for number in range(7):
            await tx.claim_key(plugin.id, f"old {number}", StoredReply("h", new_id(), None, ago(days=2)))
    with database.as_owner() as owner:
        owner.execute(
            "insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data, published_at) "
            "select gen_random_uuid(), %s, %s, 'plugin.rated', now(), '{}', now() - interval '8 days' "
            "from generate_series(1, 45)",
            [plugin.tenant_id, plugin.id],
        )
    cleaned = await database.store.clean_up(timedelta(days=30), timedelta(days=30), at_most=20)
    assert cleaned.keys >= 7
    assert cleaned.events >= 45


async def test_a_day_that_is_being_read_is_left_and_holds_nobody_up(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_DROP_TRIES", 1)
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    name = _old_day(database)
    with database.as_owner() as owner, owner.transaction():
        owner.execute("select count(*) from plugin_executions")
        cleaning = asyncio.create_task(database.store.clean_up(timedelta(days=30), timedelta(days=30)))
        await asyncio.sleep(0.3)
        await asyncio.wait_for(database.recorder.record(an_execution(plugin), [], [], []), 3)
        assert (await cleaning).execution_days == 0
    assert name in _partitions(database, "plugin_executions")
    assert (await database.store.clean_up(timedelta(days=30), timedelta(days=30))).execution_days == 1


@pytest.mark.parametrize("relayed", [True, False])
async def test_what_subscribers_have_not_had_is_kept_for_a_week_longer(database: Database, relayed: bool) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    kept = set()
    with database.as_owner() as owner:
        for days, type_, delivered in [
            (8, "plugin.event_published", None),
            (8, "plugin.event_published", NOW),
            (8, "plugin.rated", None),
            (15, "plugin.event_published", None),
            (6, "plugin.event_published", NOW),
        ]:
            at, event_id = datetime.now(UTC) - timedelta(days=days), new_id()
            owner.execute(
                "insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data, published_at, delivered_at) "
                "values (%s, %s, %s, %s, %s, '{}', %s, %s)",
                [event_id, plugin.tenant_id, plugin.id, type_, at, at if relayed else None, delivered],
            )
            if (days, delivered) in {(8, None), (6, NOW)} and type_ != "plugin.rated":
                kept.add(event_id)
    if relayed:
        await database.store.clean_up(timedelta(days=30), timedelta(days=30))
    else:
        await database.store.forget_events(datetime.now(UTC) - timedelta(days=7), at_most=1)
    with database.as_owner() as owner:
        rows = owner.execute("select id::text from outbox where plugin_id = %s", [plugin.id]).fetchall()
        owner.execute("delete from outbox where plugin_id = %s", [plugin.id])
    assert {row[0] for row in rows} == kept


async def test_older_code_cleans_up_all_at_once(database: Database) -> None:
    _old_day(database)
    with database.as_service() as service:
        row = service.execute("select execution_days, log_days from clean_up('30 days', '30 days')").fetchone()
        assert row == (1, 0)
        assert service.execute("select forget_events(now() - interval '20 days')").fetchone() == (0,)
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            service.execute("select drop_old_day('plugins', '0 days')")


def _old_day(database: Database) -> str:
    with database.as_owner() as owner:
        owner.execute("call make_partition('plugin_executions', 'started_at', %s)", [ago(days=50).date()])
    return f"plugin_executions_{ago(days=50):%Y%m%d}"


async def test_a_list_of_one_plugin_reads_an_index_and_not_the_table(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    with database.as_service() as connection:
        connection.execute("select set_config('plugyard.tenant_id', %s, false)", [plugin.tenant_id])
        connection.execute("set enable_seqscan = off")
        for table, order in [("plugin_executions", "started_at desc, id desc"), ("plugin_logs", "id desc")]:
            plan = connection.execute(
                f"explain select * from {table} where tenant_id = current_tenant() and plugin_id = %s "
                f"order by {order} limit 20",
                [plugin.id],
            ).fetchall()
            text = "\n".join(line for (line,) in plan)
            assert "Index Cond: ((tenant_id" in text
            assert "Seq Scan" not in text
