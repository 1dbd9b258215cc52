"""Consumers: everything is acted on, each key's in order, and what cannot be goes aside with its reason."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
import pytest_asyncio

from plugyard.domain.errors import NotFound, StoreUnavailable
from plugyard.domain.events import PlatformEvent
from plugyard.infrastructure.relay.consumer import TOGETHER, Consumer, OnEvent, OnEvents, Patience
from plugyard.infrastructure.relay.envelope import CONTENT_TYPE
from plugyard.infrastructure.relay.publisher import Publisher
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.integration.kafka.test_relay import until
from tests.tansu import Arrived, Reader, Tansu

QUICK = Patience(attempts=3, session_s=6)
DROPPED = 7
TENANT = str(uuid.uuid4())


class Heard:
    """What a listener was told, and what it answers."""

    def __init__(self) -> None:
        self.events: list[PlatformEvent] = []
        self.fails: dict[int, Exception] = {}
        self.tries: dict[int, int] = defaultdict(int)

    async def __call__(self, event: PlatformEvent) -> bool:
        number = event.payload["n"]
        self.tries[number] += 1
        if number in self.fails:
            raise self.fails[number]
        self.events.append(event)
        return number != DROPPED

    def numbers(self, plugin: str) -> list[int]:
        """The numbers of the events with a key, in the order in which they were acted on."""
        return [event.payload["n"] for event in self.events if event.payload["of"] == plugin]


class Sender:
    """Puts messages onto the topic."""

    def __init__(self, kafka: KafkaSettings, publisher: Publisher) -> None:
        self._kafka, self._publisher = kafka, publisher
        self._sent = 0

    async def event(self, number: int, plugin: str, *, times: int = 1) -> None:
        """An event, as often as it is wanted."""
        event = {
            "specversion": "1.0",
            "id": str(uuid.uuid4()),
            "source": "/test",
            "type": "order.created",
            "tenantid": TENANT,
            "data": {"n": number, "of": plugin},
        }
        for _ in range(times):
            await self.raw(json.dumps(event).encode(), plugin, **{"content-type": CONTENT_TYPE})

    async def binary(self, number: int, plugin: str) -> None:
        """An event whose attributes are headers."""
        of = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/test", "type": "a", "tenantid": TENANT}
        headers = {"content-type": "application/json", **{f"ce_{name}": text for name, text in of.items()}}
        await self.raw(json.dumps({"n": number, "of": plugin}).encode(), plugin, **headers)

    async def raw(self, value: bytes, plugin: str, **headers: str) -> None:
        """Whatever bytes."""
        self._sent += 1
        self._publisher.send(self._sent, self._kafka.topic, plugin, value, headers)
        arrived: list[int] = []
        while self._sent not in arrived:
            await self._publisher.reported(1)
            more, wrong = self._publisher.reports()
            assert not wrong
            arrived += more


@pytest_asyncio.fixture
async def sender(kafka: KafkaSettings) -> AsyncIterator[Sender]:
    """A publisher on the test's topic."""
    publisher = await Publisher.open(kafka, (kafka.topic,))
    yield Sender(kafka, publisher)
    await publisher.close()


@pytest_asyncio.fixture
async def listen(kafka: KafkaSettings) -> AsyncIterator[Callable[..., Consumer]]:
    """Starts consumers of one group, and ends them."""
    started: list[Consumer] = []

    def start(on_event: OnEvent, on_events: OnEvents | None = None, patience: Patience = QUICK) -> Consumer:
        started.append(Consumer(kafka, "listeners", on_event, on_events, patience=patience))
        started[-1].start()
        return started[-1]

    yield start
    for one in started:
        await one.close()


def dead_letters(kafka: KafkaSettings) -> list[Arrived]:
    """What lies on the topic of dead letters."""
    reader = Reader(kafka.servers, kafka.dead_letters)
    reader.poll(0.7)
    reader.close()
    return reader.arrived


async def test_everything_since_the_beginning_is_heard_and_each_keys_in_order(
    sender: Sender, listen: Callable[..., Consumer], plugins: list[str]
) -> None:
    for number in range(300):
        await (sender.binary if number % 3 else sender.event)(number, plugins[number % 20])
    heard = Heard()
    consumer = listen(heard)
    await until(lambda: len(heard.events) == 300, 30)
    assert consumer.state == "ok"
    assert consumer.partitions == {0, 1, 2}
    for place, plugin in enumerate(plugins):
        assert heard.numbers(plugin) == list(range(place, 300, 20))
    await sender.event(300, plugins[0])
    assert await until(lambda: len(heard.events) == 301) < 1
    await until(lambda: (consumer.taken, consumer.dropped, consumer.buried) == (300, 1, 0))
    assert consumer.oldest_s == 0


async def test_poison_goes_aside_with_its_reason_and_what_is_behind_it_is_heard(
    kafka: KafkaSettings, sender: Sender, listen: Callable[..., Consumer], plugins: list[str]
) -> None:
    plugin = plugins[0]
    heard = Heard()
    heard.fails = {1: ValueError("never"), 2: NotFound("There is no such tenant.")}
    await sender.raw(b"\xff\x00rubbish", plugin, trace="abc", reason="the sender's own")
    await sender.raw(b'{"specversion": "0.3"}', plugin)
    await sender.raw(b"[" * 100_000, plugin)
    await sender.raw(b"", plugin)
    for number in range(4):
        await sender.event(number, plugin)
    consumer = listen(heard)
    await until(lambda: heard.numbers(plugin) == [0, 3], 30)
    assert (heard.tries[1], heard.tries[2]) == (3, 1)
    found = dead_letters(kafka)
    reasons = [one.headers["reason"].decode() for one in found]
    assert len(reasons) == consumer.buried == 6
    assert found[0].value == b"\xff\x00rubbish"
    assert found[0].key == plugin
    assert found[0].headers["trace"] == b"abc"
    assert found[0].headers["topic"] == kafka.topic.encode()
    assert found[0].headers["group"] == b"listeners"
    assert found[0].headers["offset"] == b"0"
    assert reasons[3] == "the message is empty"
    assert reasons[4] == "it failed 3 times, at last with ValueError('never')"
    assert reasons[5] == "There is no such tenant."


async def test_what_waits_is_acted_on_together_and_one_by_one_where_that_fails(
    sender: Sender, listen: Callable[..., Consumer], plugins: list[str]
) -> None:
    plugin = plugins[0]
    for number in range(3 * TOGETHER):
        await sender.event(number, plugin)
    await sender.raw(b"rubbish", plugin)
    for number in range(3 * TOGETHER, 5 * TOGETHER):
        await sender.event(number, plugin)
    heard = Heard()
    heard.fails = {TOGETHER + 5: ValueError("never")}
    sizes: list[int] = []

    async def together(events: Sequence[PlatformEvent]) -> list[bool]:
        sizes.append(len(events))
        if any(one.payload["n"] in heard.fails for one in events):
            raise ValueError("one of them")
        return [await heard(one) for one in events]

    consumer = listen(heard, together)
    await until(lambda: consumer.taken + consumer.dropped + consumer.buried == 5 * TOGETHER + 1, 30)
    assert heard.numbers(plugin) == [one for one in range(5 * TOGETHER) if one != TOGETHER + 5]
    assert (consumer.dropped, consumer.buried) == (1, 2)
    assert max(sizes) == TOGETHER


async def test_a_partition_that_waits_for_the_store_loses_nothing_and_holds_up_no_other_partition(
    sender: Sender, listen: Callable[..., Consumer], plugins: list[str]
) -> None:
    for number, plugin in enumerate(plugins):
        await sender.event(number, plugin)
    heard = Heard()
    heard.fails = {0: StoreUnavailable()}
    consumer = listen(heard)
    # Those of its partition wait, for a store that is away is away for them too.
    await until(lambda: len(heard.events) >= 3 and heard.tries[0] > 0, 30)
    assert consumer.oldest_s > 0
    heard.fails = {}
    await until(lambda: len(heard.events) == 20, 20)
    assert heard.tries[0] > 1
    assert consumer.buried == 0


async def test_what_was_not_done_when_a_consumer_ended_comes_to_the_next_one(
    sender: Sender, listen: Callable[..., Consumer], plugins: list[str]
) -> None:
    plugin = plugins[0]
    for number in range(10):
        await sender.event(number, plugin)
    heard = Heard()
    held = asyncio.Event()

    async def stuck(event: PlatformEvent) -> bool:
        if event.payload["n"] == 5:
            held.set()
            await asyncio.sleep(3600)
        return await heard(event)

    first = listen(stuck)
    async with asyncio.timeout(30):
        await held.wait()
    await first.close()
    assert heard.numbers(plugin) == [0, 1, 2, 3, 4]
    listen(heard)
    await until(lambda: len(heard.events) == 10, 30)
    assert heard.numbers(plugin) == list(range(10))


async def test_more_than_memory_should_hold_waits_in_kafka(
    kafka: KafkaSettings, sender: Sender, listen: Callable[..., Consumer], plugins: list[str]
) -> None:
    for number in range(1_500):
        await sender.event(number, plugins[0])
    heard = Heard()
    gate = asyncio.Event()

    async def slow(event: PlatformEvent) -> bool:
        await gate.wait()
        return await heard(event)

    consumer = listen(slow)
    await until(lambda: bool(consumer.partitions), 30)
    await asyncio.sleep(2)
    lanes = [len(lane.waiting) for lane in consumer._lanes.values()]
    assert 0 < max(lanes) <= 600
    gate.set()
    await until(lambda: len(heard.events) == 1_500, 30)
    assert heard.numbers(plugins[0]) == list(range(1_500))


async def test_a_consumer_starts_before_its_broker(own_broker: Tansu, plugins: list[str]) -> None:
    own_broker.kill()
    kafka = KafkaSettings(own_broker.url, "events")
    heard = Heard()
    consumer = Consumer(kafka, "listeners", heard, patience=QUICK)
    consumer.start()
    await until(lambda: "Kafka cannot be read" in consumer.state)
    own_broker.start()
    own_broker.topic("events")
    publisher = await Publisher.open(kafka, ("events",))
    await Sender(kafka, publisher).event(1, plugins[0])
    await until(lambda: heard.numbers(plugins[0]) == [1], 60)
    assert consumer.state == "ok"
    await consumer.close()
    await publisher.close()


@pytest.mark.parametrize("size", [300, 2_000_000])
async def test_a_reason_is_cut_and_a_message_larger_than_ours_is_too(kafka: KafkaSettings, size: int) -> None:
    from plugyard.infrastructure.relay.deadletters import DeadLetters

    letters = DeadLetters(kafka)
    await letters.add(b"key", b"x" * size, {}, {"topic": "t"}, "because " * 1_000)
    await letters.close()
    (found,) = dead_letters(kafka)
    assert len(found.headers["reason"]) == 1_000
    assert found.headers["topic"] == b"t"
    assert found.headers.get("cut") == (None if size == 300 else b"the message has 2000000 bytes")
    assert set(found.value) == set(b"x")
