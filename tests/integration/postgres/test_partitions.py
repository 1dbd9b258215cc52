"""Partitions are made ahead of time, take what the default one held, and are dropped with their day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from plugyard.application.ports import StoredReply
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
