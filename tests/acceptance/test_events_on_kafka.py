"""A service with a Kafka: what it does arrives there, and a broker that is away stops nothing."""

import json
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from confluent_kafka import Producer

from tests.acceptance.test_path_of_a_package import active
from tests.conftest import RunningService, start_service
from tests.tansu import Reader, Tansu, tansu
from tests.unit.test_event_schemas import schema_of

SECRET = "a-password-that-must-never-be-logged"


def executed(client: httpx.Client, plugin_id: str) -> int:
    body = {"function": "add", "input": {"a": 1, "b": 1}}
    return client.post(f"/api/v1/plugins/{plugin_id}/execute", json=body).status_code


def ready(service: RunningService, part: str = "relay") -> Any:
    answer = httpx.get(f"{service.url}/health/ready")
    assert answer.status_code == 200
    return answer.json()["parts"][part]


def metric(service: RunningService, name: str) -> float:
    found = re.search(rf"^{name} (\S+)$", httpx.get(f"{service.url}/metrics").text, re.M)
    assert found is not None, name
    return float(found[1])


def until(holds: Callable[[], bool], within_s: float = 15) -> None:
    ends = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < ends, "it did not come to hold"
        time.sleep(0.05)


def test_what_a_service_does_arrives_whatever_befalls_the_broker_and_the_service(data_folder: Path) -> None:
    with tansu() as broker:
        flags = ("--kafka-url", broker.url)
        service = start_service(data_folder, *flags)
        with service.client() as client:
            plugin_id = active(client, "sums")
            assert executed(client, plugin_id) == 200
            until(lambda: ready(service) == "ok")
            until(lambda: metric(service, "plugyard_relay_published_events") >= 6)
            reader = Reader(broker.url, "plugyard.events")
            until(lambda: bool(reader.poll(0.2)) or len(reader.arrived) >= 6)
            reader.poll(0.5)
            events = [one.envelope for one in reader.arrived]
            reader.close()
            assert [event["type"] for event in events if event["subject"] == plugin_id] == [
                "plugin.uploaded", "plugin.validated", "plugin.installed", "plugin.activated", "execution.started",
                "execution.completed",
            ]  # fmt: skip
            for event in events:
                jsonschema_rs.validator_for(schema_of("envelope")).validate(event)
                jsonschema_rs.validator_for(schema_of(event["type"])).validate(event["data"])
            broker.kill()
            assert {executed(client, plugin_id) for _ in range(20)} == {200}
            until(lambda: ready(service).startswith("warning: Kafka"))
            until(lambda: metric(service, "plugyard_outbox_events") == 40)
            assert metric(service, "plugyard_outbox_oldest_seconds") > 0
        # Killed with what waits, and started while the broker is still away.
        service.process.send_signal(signal.SIGKILL)
        service.process.wait()
        service = start_service(data_folder, *flags)
        broker.start()
        until(lambda: ready(service) == "ok" and metric(service, "plugyard_outbox_events") == 0)
        reader = Reader(broker.url, "plugyard.events")
        until(lambda: bool(reader.poll(0.2)) and len(reader.ids()) >= 40)
        assert {one.envelope["data"]["name"] for one in reader.arrived} == {"sums"}
        reader.close()
        assert service.stop() == 0


def test_no_password_is_told_when_brokers_do_not_answer(data_folder: Path) -> None:
    (data_folder / "plugyard.toml").write_text(
        f'kafka_url = "127.0.0.1:1"\nkafka_security = "sasl-plaintext"\nkafka_username = "plugyard"\n'
        f'kafka_password = "{SECRET}"\nkafka_inbox_topic = "shop.events"\nlog_format = "json"\n'
    )
    service = start_service(data_folder, "--log-level", "debug")
    until(lambda: "Kafka does not answer" in ready(service))
    until(lambda: "Kafka cannot be read" in ready(service, "inbox"))
    with service.client() as client:
        active(client, "sums")
    until(lambda: metric(service, "plugyard_outbox_events") > 0)
    shown = httpx.get(f"{service.url}/health/ready").text + httpx.get(f"{service.url}/metrics").text
    assert service.stop() == 0
    log = service.log.read_text()
    assert SECRET not in log + shown
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [line["reason"] for line in lines if line["event"] == "events are not relayed"]
    assert len(told) == 1, "the same trouble is told once"
    # The inbox is told of the broker, and that it was the last one.
    unread = [line["reason"] for line in lines if line["event"] == "the inbox is not read"]
    assert unread
    assert len(unread) == len(set(unread)), "the same trouble is told once"


LISTENER = """
def on_event(event, context):
    return {"n": event["payload"]["n"], "source": event["source"], "publishedBy": event["publishedBy"]}
"""


def said(tenant: str, number: int, **changes: Any) -> bytes:
    event = {"specversion": "1.0", "id": f"o-{number}", "source": "/shop", "type": "order.created", "tenantid": tenant}
    return json.dumps({**event, "data": {"n": number}, **changes}).encode()


def send(broker: Tansu, *values: bytes) -> None:
    producer = Producer({"bootstrap.servers": broker.url})
    for value in values:
        producer.produce("shop.events", value, "order-1", headers={"content-type": "application/cloudevents+json"})
    assert producer.flush(10) == 0


def outcomes(client: httpx.Client, plugin_id: str) -> list[str]:
    """The events that the history says the plugin was started by, each as often as it was."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(f"/api/v1/plugins/{plugin_id}/executions", params={"limit": 100, **cursor}).json()
        assert {one["function"] for one in page["items"]} <= {"on_event"}
        found += [one["requestId"] for one in page["items"] if one["status"] == "succeeded"]
        if not page["nextCursor"]:
            return found
        cursor = {"cursor": page["nextCursor"]}


def test_what_the_platform_says_starts_plugins_once_and_what_it_cannot_say_goes_aside(data_folder: Path) -> None:
    with tansu() as broker:
        broker.topic("shop.events", 1)
        flags = ("--kafka-url", broker.url, "--kafka-inbox-topic", "shop.events")
        service = start_service(data_folder, *flags)
        with service.client() as client:
            events = {"subscribes": ["order.*"]}
            plugin_id = active(client, "orders", LISTENER, events=events)
            tenant = client.get("/api/v1/tenant").json()["id"]
            nobody = said("00000000-0000-0000-0000-000000000000", 0)
            send(broker, b"rubbish", nobody, said(tenant, 1, type="invoice.paid"), said(tenant, 0), said(tenant, 0))
            until(lambda: metric(service, "plugyard_inbox_events_total") == 3, 30)
            assert ready(service, "inbox") == "ok"
            until(lambda: outcomes(client, plugin_id) == ["o-0"])
            assert metric(service, "plugyard_inbox_dead_letters_total") == 2
            letters = Reader(broker.url, "shop.events.dead-letters")
            until(lambda: bool(letters.poll(0.2)) or len(letters.arrived) == 2)
            assert letters.arrived[0].value == b"rubbish"
            assert b"There is no tenant" in letters.arrived[1].headers["reason"]
            letters.close()
            send(broker, *(said(tenant, number) for number in range(101)))
            until(lambda: len(outcomes(client, plugin_id)) >= 101)
            assert sorted(outcomes(client, plugin_id)) == sorted(f"o-{number}" for number in range(101))
            last = client.get(f"/api/v1/plugins/{plugin_id}/executions", params={"limit": 1}).json()["items"][0]
            output = client.get(f"/api/v1/executions/{last['executionId']}/result").json()["output"]
            assert (output["source"], output["publishedBy"]) == ("/shop", None)
        assert service.stop() == 0
