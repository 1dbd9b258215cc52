"""Schedules on a real PostgreSQL: kept with the plugin's state and version, and run once however many look."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from plugyard.application.platform import Policies
from plugyard.application.schedules import run_due
from plugyard.domain.manifest import Manifest
from plugyard.domain.plugin import Plugin, PluginState
from tests.contract.given import a_manifest, a_stored_plugin, a_tenant, new_id
from tests.integration.conftest import Database


def with_schedules(*entries: dict[str, Any]) -> Manifest:
    return Manifest.from_document({**a_manifest().document, "schedules": list(entries)}, entry="main.py")


async def scheduled(database: Database, *entries: dict[str, Any]) -> Plugin:
    """An active plugin with schedules, and nothing else in the way."""
    with database.as_owner() as owner:
        owner.execute("delete from plugin_schedules")
    tenant = await a_tenant(database.store)
    plugin = await a_stored_plugin(database.store, tenant.id, manifest=with_schedules(*entries))
    return await change(database, plugin, PluginState.ACTIVE)


async def change(database: Database, plugin: Plugin, state: PluginState) -> Plugin:
    changed = replace(plugin, state=state)
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        await tx.save_plugin(changed)
    return changed


def looker(database: Database, now: datetime) -> Any:
    return SimpleNamespace(store=database.store, clock=lambda: now, ids=new_id, policies=Policies())


def queued(database: Database, plugin: Plugin) -> list[tuple[Any, ...]]:
    with database.as_owner() as owner:
        return owner.execute(
            "select call ->> 'function', input::jsonb, due_at from queued_executions where plugin_id = %s order by id",
            [plugin.id],
        ).fetchall()


async def test_however_many_look_each_due_time_has_one_run(database: Database) -> None:
    entry = {"cron": "*/5 * * * *", "function": "run", "input": {"n": 1}}
    plugin = await scheduled(database, entry, {**entry, "cron": "0 0 1 1 *"})
    now = datetime.now(UTC)
    await run_due(looker(database, now))
    assert queued(database, plugin) == []
    # A second after it is due: what is looked at much later counts as missed.
    due = now.replace(minute=now.minute - now.minute % 5, second=1, microsecond=0) + timedelta(minutes=5)
    await asyncio.gather(*(run_due(looker(database, due)) for _ in range(8)))
    found = queued(database, plugin)
    assert [(function, given) for function, given, _ in found] == [("run", {"n": 1})]


async def test_schedules_go_and_come_with_the_state(database: Database) -> None:
    plugin = await scheduled(database, {"cron": "* * * * *", "function": "run"})
    now = datetime.now(UTC)
    await run_due(looker(database, now))
    for state in (PluginState.INACTIVE, PluginState.ACTIVE, PluginState.SUSPENDED):
        plugin = await change(database, plugin, state)
        with database.as_owner() as owner:
            rows = owner.execute("select next_due from plugin_schedules where plugin_id = %s", [plugin.id]).fetchall()
        assert rows == ([(None,)] if state is PluginState.ACTIVE else [])
    await run_due(looker(database, now + timedelta(minutes=2)))
    assert queued(database, plugin) == []


async def test_another_change_of_a_plugin_leaves_its_schedules_as_they_are(database: Database) -> None:
    plugin = await scheduled(database, {"cron": "* * * * *", "function": "run"})
    now = datetime.now(UTC)
    await run_due(looker(database, now))
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        await tx.save_plugin(replace(plugin, configuration={"a": 1}))
    with database.as_owner() as owner:
        rows = owner.execute("select next_due > %s from plugin_schedules where plugin_id = %s", [now, plugin.id])
        assert rows.fetchall() == [(True,)]
