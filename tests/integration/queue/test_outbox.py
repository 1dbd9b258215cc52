"""Plugins' events out of a real outbox, in their order and until they are noted."""

from datetime import UTC, datetime

from plugyard.domain.events import Event, EventType
from plugyard.domain.plugin import Plugin
from tests.contract.given import a_stored_plugin, a_tenant, an_event, new_id
from tests.integration.conftest import Database


async def said(database: Database, plugin: Plugin, count: int) -> list[str]:
    now = datetime.now(UTC)
    events = [
        Event(new_id(), EventType.PLUGIN_EVENT_PUBLISHED, plugin.tenant_id, plugin.id, now, {"topic": "a.b", "hops": 1})
        for _ in range(count)
    ]
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        await tx.emit(an_event(plugin))
        for event in events:
            await tx.emit(event)
    return [one.id for one in events]


async def test_plugins_own_events_wait_in_order_until_they_are_noted(database: Database) -> None:
    with database.as_owner() as owner:
        owner.execute("update outbox set published_at = now(), delivered_at = now() where delivered_at is null")
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    ids = await said(database, plugin, 7)
    async with database.store.for_operator() as tx:
        found = await tx.waiting_events(1, 5)
        assert [one.id for one in found] == ids[:5]
        assert found[0].data == {"topic": "a.b", "hops": 1}
        await tx.mark_delivered(ids[:5], datetime.now(UTC))
    async with database.store.for_operator() as tx:
        assert [one.id for one in await tx.waiting_events(1, 5)] == ids[5:]
