"""The inbox over a real broker and a real store: what was queued, and not committed to the broker, is queued once."""

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from plugyard.application.deliver import hear
from plugyard.domain.errors import StoreUnavailable
from plugyard.domain.events import PlatformEvent
from plugyard.infrastructure.relay.consumer import Consumer, Patience
from plugyard.infrastructure.relay.publisher import Publisher
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.integration.conftest import Database
from tests.integration.kafka.test_relay import until
from tests.memory.world import World, manifest

QUICK = Patience(attempts=3, session_s=6)


@pytest.fixture
def world(tmp_path: Path, database: Database) -> World:
    """The use cases on the real store, with a sandbox in memory."""
    store: Any = database.store
    ids: Any = lambda: str(uuid.uuid4())  # noqa: E731
    return World(tmp_path, store=store, ids=ids)


async def say(kafka: KafkaSettings, tenant: str, numbers: range) -> None:
    """Put the platform's events onto one partition, in order."""
    publisher = await Publisher.open(kafka, (kafka.topic,))
    for number in numbers:
        event = {"specversion": "1.0", "id": f"o-{number}", "source": "/shop", "type": "order.created"}
        value = json.dumps({**event, "tenantid": tenant, "data": {"n": number}}).encode()
        publisher.send(number, kafka.topic, "key", value, {"content-type": "application/cloudevents+json"})
    arrived: list[int] = []
    while len(arrived) < len(numbers):
        await publisher.reported(1)
        more, wrong = publisher.reports()
        assert not wrong
        arrived += more
    await publisher.close()


async def test_what_was_queued_when_a_consumer_died_is_queued_once_and_an_absent_store_is_waited_for(
    kafka: KafkaSettings, world: World, database: Database
) -> None:
    admin = await world.caller(f"t-{uuid.uuid4().hex[:8]}")
    events = {"subscribes": ["order.*"]}
    view = await world.active(admin, manifest("listener", events=events), exports=("greet", "onEvent"))

    def queued() -> list[int]:
        with database.as_owner() as connection:
            found = connection.execute("select input from queued_executions where plugin_id = %s", (view.plugin.id,))
            return [json.loads(row[0])["payload"]["n"] for row in found]

    await say(kafka, str(admin.tenant_id), range(10))
    committed = asyncio.Event()

    async def dies(event: PlatformEvent) -> bool:
        await hear(world.platform, event)
        if event.payload["n"] == 5:
            # The rows are on disk, and nothing after them happens any more.
            committed.set()
            await asyncio.sleep(3600)
        return True

    first = Consumer(kafka, "inbox", dies, patience=QUICK)
    first.start()
    async with asyncio.timeout(30):
        await committed.wait()
    await first.close()
    assert sorted(queued()) == [0, 1, 2, 3, 4, 5]
    heard: list[int] = []
    trouble = [StoreUnavailable()] * 3

    async def goes_on(event: PlatformEvent) -> bool:
        if trouble:
            raise trouble.pop()
        heard.append(event.payload["n"])
        return await hear(world.platform, event)

    second = Consumer(kafka, "inbox", goes_on, patience=QUICK)
    second.start()
    await until(lambda: heard[-1:] == [9] and second.taken == len(heard), 30)
    await second.close()
    assert heard == [5, 6, 7, 8, 9], "it begins with what was not committed"
    assert sorted(queued()) == list(range(10))
    assert second.buried == 0
