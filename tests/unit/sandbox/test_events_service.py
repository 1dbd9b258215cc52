"""Publishing: topics are those of the grant, sizes are capped, and chains of events come to an end."""

from typing import Any

import pytest

from plugyard.domain.errors import StoreUnavailable
from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.sandbox.services.base import Denied, Scope, ServiceFault
from plugyard.sandbox.services.events import MAX_HOPS, EventsService


class Plugin:
    """A plugin that publishes, and what became of it."""

    def __init__(self, *topics: str, hops: int = 0, failing: bool = False) -> None:
        self.said: list[tuple[str, Any, int]] = []
        self.failing = failing
        self.service = EventsService(self.write)
        self.scope = Scope("acme", "p", "execution", Permission(Word.EVENTS, topics=topics), 0, hops)

    async def write(self, scope: Scope, topic: str, payload: Any, hops: int) -> None:
        if self.failing:
            raise StoreUnavailable()
        self.said.append((topic, payload, hops))

    async def publish(self, topic: Any, payload: Any = None) -> None:
        await self.service.call(self.scope, "publish", {"topic": topic, "payload": payload})


async def test_an_event_is_written_one_hop_further() -> None:
    plugin = Plugin(hops=2)
    await plugin.publish("invoice.created", {"id": 7})
    assert plugin.said == [("invoice.created", {"id": 7}, 3)]


async def test_a_chain_of_events_comes_to_an_end() -> None:
    await Plugin(hops=MAX_HOPS - 1).publish("a")
    with pytest.raises(ServiceFault) as fault:
        await Plugin(hops=MAX_HOPS).publish("a")
    assert fault.value.code == "too_many_hops"


@pytest.mark.parametrize("topic", ["invoice.created", "order.a", "order.a.b"])
async def test_the_topics_of_the_grant_may_be_published(topic: str) -> None:
    plugin = Plugin("invoice.created", "order.*")
    await plugin.publish(topic)
    assert plugin.said == [(topic, None, 1)]


@pytest.mark.parametrize("topic", ["invoice", "invoice.created.x", "invoices.created", "order", "orders.a"])
async def test_no_other_topic_may_be_published(topic: str) -> None:
    plugin = Plugin("invoice.created", "order.*")
    with pytest.raises(Denied):
        await plugin.publish(topic)
    assert plugin.said == []


@pytest.mark.parametrize("topic", [None, 1, "", ".", "a.", "a b", "a.*", "*", "a\n", "x" * 121, "a..b", "\u00fc"])
async def test_what_is_no_topic_is_a_fault(topic: Any) -> None:
    with pytest.raises(ServiceFault) as fault:
        await Plugin().publish(topic)
    assert fault.value.code == "invalid_arguments"


async def test_a_payload_is_capped() -> None:
    with pytest.raises(ServiceFault) as fault:
        await Plugin().publish("a", "x" * 64 * 1024)
    assert fault.value.code == "payload_too_large"


async def test_subscribing_is_the_manifests() -> None:
    plugin = Plugin()
    with pytest.raises(ServiceFault, match=r"events\.subscribes"):
        await plugin.service.call(plugin.scope, "subscribe", {"topic": "a", "handler": "f"})


async def test_a_store_that_is_away_is_told() -> None:
    with pytest.raises(ServiceFault) as fault:
        await Plugin(failing=True).publish("a")
    assert fault.value.code == "store_unavailable"
