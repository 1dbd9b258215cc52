"""An event of a plugin's own: written to the outbox for whoever in its tenant listens to the topic.

The broker's ``events`` service calls ``publish``; what may be published on which topic it has judged before.
"""

from dataclasses import dataclass
from typing import Any

from plugyard.application.platform import Platform, event, plugin_of
from plugyard.domain.events import EventType
from plugyard.domain.secrets import hidden, secret_texts


@dataclass(frozen=True, slots=True)
class Published:
    """What a plugin says: a topic, a JSON value, and how many events lie between it and the first caller."""

    topic: str
    payload: Any
    hops: int


async def publish(platform: Platform, tenant_id: str, plugin_id: str, execution_id: str, said: Published) -> None:
    """Write the event; it is durable when this returns. Raises ``NotFound`` and ``StoreUnavailable``."""
    async with platform.store.for_tenant(tenant_id) as tx:
        plugin = (await plugin_of(tx, plugin_id)).plugin
        payload = hidden(said.payload, secret_texts(plugin.secrets)) if plugin.secrets else said.payload
        facts = {"executionId": execution_id, "topic": said.topic, "payload": payload, "hops": said.hops}
        await tx.emit(event(platform, EventType.PLUGIN_EVENT_PUBLISHED, plugin, facts))
