"""Relays that are killed, brokers and connections that are lost: everything arrives, and each plugin's in order."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from plugyard.infrastructure.relay.relay import Relay
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.integration.kafka.conftest import OutboxDatabase, RelayProcess, in_order, repeated_alike
from tests.integration.kafka.test_relay import until
from tests.tansu import Reader, Tansu

EVENTS = 5_000
LED = "plugyard_relay_partitions"


class Writing(threading.Thread):
    """Writes events in many small transactions, a while long, as a service does."""

    def __init__(self, outbox: OutboxDatabase, plugins: list[str], count: int = EVENTS) -> None:
        super().__init__()
        self._outbox, self._plugins, self._count = outbox, plugins, count
        self.ids: list[str] = []
        self.start()

    def run(self) -> None:
        """Write."""
        for first in range(0, self._count, 100):
            self.ids += self._outbox.write(100, self._plugins, first=first)
            time.sleep(0.01)


@pytest.fixture
def reader(kafka: KafkaSettings) -> Iterator[Reader]:
    """Whoever listens to the test's topic."""
    reader = Reader(kafka.servers, kafka.topic)
    yield reader
    reader.close()


def led(*relays: RelayProcess) -> list[float]:
    """How many partitions each of them leads."""
    return sorted(one.figure(LED) for one in relays)


def await_led(expected: list[float], *relays: RelayProcess, within_s: float = 10) -> float:
    """Wait until they share so; how long it took (s)."""
    began = time.monotonic()
    while (found := led(*relays)) != expected:
        assert time.monotonic() - began < within_s, f"they lead {found}"
        time.sleep(0.02)
    return time.monotonic() - began


def test_a_relay_that_is_killed_in_the_middle_loses_nothing_and_keeps_the_order(
    outbox: OutboxDatabase, relay_process: Callable[..., RelayProcess], reader: Reader, plugins: list[str]
) -> None:
    relay = relay_process()
    relay.await_ready()
    writing = Writing(outbox, plugins)
    kills = 0
    while writing.is_alive() or kills == 0:
        before = len(reader.arrived)
        while len(reader.arrived) < before + 900 and writing.is_alive():
            reader.poll(0.02)
        if not writing.is_alive() and kills:
            break
        relay.kill()
        kills += 1
        relay = relay_process()
        relay.await_ready()
    writing.join()
    assert kills > 0
    assert set(reader.await_ids(set(writing.ids))) == set(writing.ids)
    assert len(writing.ids) == EVENTS
    assert in_order(reader.arrived)
    assert repeated_alike(reader.arrived)


def test_relays_share_the_partitions_and_take_over_from_one_that_is_killed(
    outbox: OutboxDatabase, relay_process: Callable[..., RelayProcess], reader: Reader, plugins: list[str]
) -> None:
    first, second = relay_process(), relay_process()
    first.await_ready()
    second.await_ready()
    await_led([4, 4], first, second)
    writing = Writing(outbox, plugins, 8_000)
    reader.poll(0.3)
    first.kill()
    took = await_led([8], second)
    assert took < 2, f"it took {took:.2f} s to take over"
    third, fourth = relay_process(), relay_process()
    third.await_ready()
    fourth.await_ready()
    await_led([2, 3, 3], second, third, fourth)
    writing.join()
    assert set(reader.await_ids(set(writing.ids))) == set(writing.ids)
    assert in_order(reader.arrived)
    assert repeated_alike(reader.arrived)
    for one in (second, third, fourth):
        assert one.figure("plugyard_relay_published_events") > 0, "one has done nothing"


def test_a_slot_has_one_leader_even_where_relays_cut_the_outbox_differently(
    outbox: OutboxDatabase, relay_process: Callable[..., RelayProcess], reader: Reader, plugins: list[str]
) -> None:
    four, sixteen = relay_process("--outbox-partitions", "4"), relay_process("--outbox-partitions", "16")
    four.await_ready()
    sixteen.await_ready()
    await_led([2, 8], four, sixteen)
    locks = (
        "select max(n) from (select count(*) as n from pg_locks where locktype = 'advisory' and classid = 1886151526 "
        "group by objid) as one"
    )
    assert outbox.one(locks) == 1
    ids = outbox.write(2_000, plugins)
    reader.await_ids(set(ids))
    assert in_order(reader.arrived)


def test_a_relay_without_a_share_stands_by(outbox: OutboxDatabase, relay_process: Callable[..., RelayProcess]) -> None:
    first, second = relay_process("--outbox-partitions", "1"), relay_process("--outbox-partitions", "1")
    first.await_ready()
    second.await_ready()
    await_led([0, 1], first, second)
    leader, other = (first, second) if first.figure(LED) else (second, first)
    leader.kill()
    assert await_led([1], other) < 2


async def test_a_broker_that_is_killed_stops_nobody_and_what_waits_arrives_when_it_is_back(
    outbox: OutboxDatabase, own_broker: Tansu, plugins: list[str]
) -> None:
    kafka = KafkaSettings(own_broker.url, "events")
    own_broker.topic("events")
    relay = Relay(outbox.service_url, kafka, 8)
    relay.start()
    await asyncio.to_thread(outbox.write, 300, plugins)
    await until(lambda: relay.published == 300)
    own_broker.kill()
    ids = await asyncio.to_thread(outbox.write, 300, plugins, first=300)
    await until(lambda: relay.state.startswith("warning: Kafka") and relay.lag.waiting == 300)
    await asyncio.sleep(3)
    assert relay.lag.oldest_s > 2
    assert "300 events wait" in relay.state
    own_broker.start()
    took = await until(lambda: relay.published >= 600 and relay.state == "ok")
    assert took < 5, f"it took {took:.1f} s"
    reader = Reader(own_broker.url, "events")
    assert set(reader.await_ids(set(ids))) == set(ids)
    assert in_order(reader.arrived)
    reader.close()
    await relay.close()
    assert outbox.waiting() == 0


async def test_a_broker_that_falls_silent_is_noticed_and_comes_back(
    outbox: OutboxDatabase, own_broker: Tansu, plugins: list[str]
) -> None:
    kafka = KafkaSettings(own_broker.url, "events")
    own_broker.topic("events")
    relay = Relay(outbox.service_url, kafka, 8)
    relay.start()
    ids = await asyncio.to_thread(outbox.write, 100, plugins)
    await until(lambda: relay.published == 100)
    own_broker.pause()
    ids += await asyncio.to_thread(outbox.write, 300, plugins, first=100)
    await until(lambda: relay.state.startswith("warning: Kafka"))
    own_broker.resume()
    await until(lambda: relay.published >= 400 and relay.state == "ok")
    reader = Reader(own_broker.url, "events")
    assert set(reader.await_ids(set(ids))) == set(ids)
    assert in_order(reader.arrived)
    assert repeated_alike(reader.arrived)
    reader.close()
    await relay.close()


async def test_a_relay_whose_connections_are_cut_again_and_again_loses_nothing(
    outbox: OutboxDatabase, kafka: KafkaSettings, superuser_url: str, plugins: list[str], reader: Reader
) -> None:
    relay = Relay(outbox.service_url, kafka, 8)
    relay.start()
    await until(lambda: len(relay.partitions) == 8)
    writing = Writing(outbox, plugins)
    cut = 0
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        while writing.is_alive():
            await asyncio.sleep(0.25)
            statement = (
                "select count(pg_terminate_backend(pid)) from pg_stat_activity "
                "where datname = 'relays' and usename = 'plugyard_service'"
            )
            row = connection.execute(statement).fetchone()
            assert row is not None
            cut += row[0]
    writing.join()
    assert cut > 1
    await until(lambda: outbox.waiting() == 0, 30)
    assert set(reader.await_ids(set(writing.ids))) == set(writing.ids)
    assert in_order(reader.arrived)
    assert repeated_alike(reader.arrived)
    await until(lambda: relay.state == "ok")
    await relay.close()


async def test_a_relay_starts_before_its_broker_and_its_database(
    outbox: OutboxDatabase, own_broker: Tansu, plugins: list[str]
) -> None:
    own_broker.kill()
    relay = Relay(outbox.service_url.replace("/relays", "/missing"), KafkaSettings(own_broker.url, "events"), 8)
    relay.start()
    await until(lambda: relay.state.startswith("warning: Kafka does not answer"))
    own_broker.start()
    await until(lambda: relay.state.startswith("warning: the outbox cannot be read"))
    await relay.close()
