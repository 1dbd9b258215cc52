"""One relay: what it sends, in which order, how soon, and what it does with what cannot be sent."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
import pytest_asyncio

from plugyard.infrastructure.relay.envelope import CONTENT_TYPE
from plugyard.infrastructure.relay.relay import Relay
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.integration.kafka.conftest import INSERT, OutboxDatabase, in_order
from tests.tansu import Reader, Tansu


async def until(holds: Callable[[], bool], within_s: float = 10) -> float:
    """Wait until something holds; how long it took (s)."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < within_s, "it did not come to hold"
        await asyncio.sleep(0.005)
    return time.monotonic() - began


@pytest_asyncio.fixture
async def relay(outbox: OutboxDatabase, kafka: KafkaSettings) -> AsyncIterator[Relay]:
    """A relay in this process, at rest."""
    relay = Relay(outbox.service_url, kafka, 8)
    relay.start()
    await until(lambda: len(relay.partitions) == 8)
    yield relay
    await relay.close()


async def test_an_event_arrives_as_a_cloud_event_with_its_plugin_as_the_key(
    outbox: OutboxDatabase, relay: Relay, kafka: KafkaSettings, plugins: list[str]
) -> None:
    (event_id,) = outbox.write(1, plugins)
    await until(lambda: relay.published == 1)
    reader = Reader(kafka.servers, kafka.topic)
    reader.await_ids({event_id})
    (arrived,) = reader.arrived
    reader.close()
    with outbox.connection() as connection:
        row = connection.execute("select tenant_id, occurred_at from outbox").fetchone()
    assert row is not None
    assert arrived.key == plugins[0]
    assert arrived.headers == {"content-type": CONTENT_TYPE.encode()}
    assert arrived.envelope == {
        "specversion": "1.0",
        "id": event_id,
        "source": "/plugyard",
        "type": "plugin.rated",
        "subject": plugins[0],
        "time": row[1].isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "dataschema": "urn:plugyard:events:plugin.rated:1",
        "partitionkey": plugins[0],
        "tenant": str(row[0]),
        "data": {"n": 0},
    }


async def test_events_arrive_once_and_each_plugins_in_order_and_are_marked(
    outbox: OutboxDatabase, relay: Relay, kafka: KafkaSettings, plugins: list[str]
) -> None:
    ids = await asyncio.to_thread(outbox.write, 3_000, plugins)
    await until(lambda: relay.published == 3_000)
    reader = Reader(kafka.servers, kafka.topic)
    reader.await_ids(set(ids))
    assert len(reader.arrived) == 3_000
    assert in_order(reader.arrived)
    assert len({one.partition for one in reader.arrived}) == 3
    reader.close()
    await until(lambda: outbox.waiting() == 0)
    await until(lambda: relay.lag.waiting == 0)
    assert relay.state == "ok"


async def test_a_plugin_with_a_long_queue_does_not_hold_up_the_others(
    outbox: OutboxDatabase, relay: Relay, kafka: KafkaSettings, plugins: list[str]
) -> None:
    busy = [one for one in plugins if int(one[-2:], 16) % 64 != int(plugins[0][-2:], 16) % 64]
    with outbox.connection() as connection:
        connection.execute(
            "insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data) "
            "select gen_random_uuid(), gen_random_uuid(), %s, 'plugin.rated', now(), jsonb_build_object('n', n) "
            "from generate_series(1, 20000) n",
            [busy[0]],
        )
        await until(lambda: relay.published > 0)
        (late,) = await asyncio.to_thread(outbox.write, 1, plugins[:1])
        published = "select published_at is not null from outbox where id = %s"
        await until(lambda: connection.execute(published, [late]).fetchone() == (True,))
        assert relay.published < 15_000, "it came behind the long queue"
    await until(lambda: relay.published == 20_001, 30)


async def test_a_sleeping_relay_is_woken_by_the_commit(
    outbox: OutboxDatabase, relay: Relay, plugins: list[str]
) -> None:
    took = []
    for number in range(20):
        await asyncio.sleep(0.12)  # Long enough to fall asleep again.
        await asyncio.to_thread(outbox.write, 1, plugins)
        took.append(await until(lambda number=number: relay.published == number + 1))  # type: ignore[misc]
    assert sorted(took)[10] < 0.1, "it came with the next look, not with the notification"


async def test_a_notification_that_is_lost_costs_half_a_second(
    outbox: OutboxDatabase, relay: Relay, plugins: list[str]
) -> None:
    with outbox.connection() as connection:
        connection.execute("alter table outbox disable trigger wake_relays")
        try:
            await asyncio.sleep(0.2)
            await asyncio.to_thread(outbox.write, 1, plugins)
            assert await until(lambda: relay.published == 1) < 1.5
        finally:
            connection.execute("alter table outbox enable trigger wake_relays")


async def test_a_relay_does_not_fall_asleep_over_a_transaction_that_goes_on(
    outbox: OutboxDatabase, relay: Relay, plugins: list[str]
) -> None:
    # This one wrote while the relay was awake, so it will send no notification.
    await asyncio.to_thread(outbox.write, 200, plugins, at_a_time=200)
    with outbox.connection(autocommit=False) as connection:
        event = (str(uuid.uuid4()), str(uuid.uuid4()), plugins[0], json.dumps({"n": 1}))
        connection.execute(INSERT, event)
        await until(lambda: relay.published == 200)
        await asyncio.sleep(0.7)
        connection.commit()
        assert await until(lambda: relay.published == 201) < 0.3


async def test_nobody_is_notified_where_no_relay_sleeps(outbox: OutboxDatabase, plugins: list[str]) -> None:
    with outbox.connection() as listening:
        listening.execute("listen plugyard_outbox")
        await asyncio.to_thread(outbox.write, 100, plugins)
        assert list(listening.notifies(timeout=0.3)) == []


async def test_the_role_of_the_service_may_read_and_mark_and_nothing_else(
    outbox: OutboxDatabase, plugins: list[str]
) -> None:
    outbox.write(1, plugins)
    options = "-c search_path=plugyard -c plugyard.operator=on"
    with psycopg.connect(outbox.service_url, autocommit=True, options=options) as connection:
        assert connection.execute("select count(*) from outbox").fetchone() == (1,)
        for statement in (b"delete from outbox", b"update outbox set data = '{}'", b"select wake_relays()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


async def test_what_is_read_of_the_outbox_comes_by_the_index_of_what_waits(outbox: OutboxDatabase) -> None:
    with outbox.connection() as connection:
        connection.execute(
            "insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data, published_at) "
            "select gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'plugin.rated', now(), '{}', "
            "case when n > 100 then now() end from generate_series(1, 20000) n"
        )
        connection.execute("analyze outbox")
    options = "-c search_path=plugyard -c plugyard.operator=on"
    with psycopg.connect(outbox.service_url, autocommit=True, options=options) as connection:
        plan = connection.execute(
            "explain select o.position from unnest(array[1, 2, 3]) as wanted (slot) cross join lateral ("
            "select position from outbox where slot = wanted.slot and published_at is null "
            "and position <> all('{1,2}'::bigint[]) order by position limit 200) as o limit 500"
        ).fetchall()
    assert "outbox_waiting_in_slot" in str(plan)
    assert "Seq Scan" not in str(plan)


async def test_an_event_that_is_too_large_is_told_of_and_holds_up_nothing(
    outbox: OutboxDatabase, relay: Relay, kafka: KafkaSettings, plugins: list[str]
) -> None:
    large = str(uuid.uuid4())
    with outbox.connection() as connection:
        connection.execute(INSERT, (large, str(uuid.uuid4()), plugins[0], json.dumps({"n": "x" * 1_100_000})))
    (behind,) = outbox.write(1, plugins)
    await until(lambda: relay.published == 2)
    reader = Reader(kafka.servers, kafka.topic, kafka.dead_letters)
    reader.await_ids({behind, large})
    dead = next(one for one in reader.arrived if one.envelope["id"] == large)
    reader.close()
    assert dead.envelope["data"] == {}
    assert dead.envelope["subject"] == plugins[0]
    assert b"has 1100" in dead.headers["reason"]
    await until(lambda: outbox.waiting() == 0)


async def test_a_topic_that_is_missing_is_made(broker: Tansu, outbox: OutboxDatabase, plugins: list[str]) -> None:
    kafka = KafkaSettings(broker.url, f"missing-{uuid.uuid4().hex[:12]}")
    relay = Relay(outbox.service_url, kafka, 4)
    relay.start()
    ids = outbox.write(10, plugins)
    await until(lambda: relay.published == 10)
    await relay.close()
    reader = Reader(kafka.servers, kafka.topic)
    assert set(reader.await_ids(set(ids))) == set(ids)
    reader.close()


async def test_a_relay_that_ends_in_good_order_leaves_nothing_to_come_twice(
    outbox: OutboxDatabase, kafka: KafkaSettings, plugins: list[str]
) -> None:
    await asyncio.to_thread(outbox.write, 4_000, plugins, at_a_time=500)
    relay = Relay(outbox.service_url, kafka, 8)
    relay.start()
    await until(lambda: relay.published > 500)
    await relay.close()
    assert outbox.waiting() == 4_000 - relay.published
    reader = Reader(kafka.servers, kafka.topic)
    reader.poll(1)
    assert len(reader.arrived) == relay.published
    reader.close()
