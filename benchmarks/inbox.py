"""Measures the platform's own events on Kafka: how many are taken a second, and how soon one has started a plugin.

    uv run python -m benchmarks.inbox [--json] [--events 3000]

A whole service and a broker that speaks Kafka's protocol (Tansu), both from wheels and on loopback. A plugin subscribes
to the events; each starts it once, and each start has a record. Taken is an event whose start is durable in the queue.
"""

import argparse
import json
import re
import statistics
import time
from typing import Any

import httpx
from confluent_kafka import Producer

from benchmarks.service import Service, plugin
from tests.tansu import Tansu, tansu

CODE = "def on_event(event, context):\n    return event['payload']['n']\n"
TOPIC = "shop.events"


class Inbox:
    """A service that reads the platform's events, and a producer of them."""

    def __init__(self, service: Service, broker: Tansu) -> None:
        self.service = service
        self.producer = Producer({"bootstrap.servers": broker.url, "linger.ms": 1})
        self.tenant = service.http.get("/api/v1/tenant").json()["id"]
        self.said = 0

    def say(self, count: int) -> None:
        """Write so many events of 32 keys to the topic, and wait until the broker has them."""
        for _ in range(count):
            self.said += 1
            event = {
                "specversion": "1.0",
                "id": f"o-{self.said}",
                "source": "/shop",
                "type": "order.created",
                "tenantid": self.tenant,
                "data": {"n": self.said},
            }
            headers = {"content-type": "application/cloudevents+json"}
            self.producer.produce(TOPIC, json.dumps(event).encode(), f"order-{self.said % 32}", headers=headers)
            self.producer.poll(0)
        if self.producer.flush(60):
            raise SystemExit("the broker did not take all events")

    def figure(self, name: str) -> float:
        """A figure of the service's metrics."""
        found = re.search(rf"^{name} (\S+)$", httpx.get(f"{self.service.url}/metrics").text, re.M)
        return float(found[1]) if found else 0.0

    def until(self, name: str, value: float) -> None:
        """Wait until a figure has grown so far; a minute at most."""
        ends = time.monotonic() + 60
        while self.figure(name) < value:
            if time.monotonic() > ends:
                raise SystemExit(f"{name} stays at {self.figure(name)}; {value} are expected")
            time.sleep(0.01)


TAKEN, EXECUTED = "plugyard_inbox_events_total", 'plugyard_executions_total{status="succeeded"}'


def measured(inbox: Inbox, events: int, alone: int = 100) -> dict[str, float]:
    """All figures: of a backlog, and of events that come one by one."""
    executed = re.escape(EXECUTED)
    inbox.say(200)
    inbox.until(executed, 200)
    began, before = time.perf_counter(), inbox.said
    inbox.say(events)
    inbox.until(TAKEN, before + events)
    taken = time.perf_counter() - began
    inbox.until(executed, before + events)
    took = time.perf_counter() - began
    waits = []
    for _ in range(alone):
        time.sleep(0.05)
        began = time.perf_counter()
        inbox.say(1)
        inbox.until(executed, inbox.said)
        waits.append(1_000 * (time.perf_counter() - began))
    waits.sort()
    return {
        "a backlog: taken (events/s)": events / taken,
        "a backlog: taken, started and recorded (events/s)": events / took,
        "one by one: from the producer to its record, p50 (ms)": statistics.median(waits),
        "one by one: from the producer to its record, p95 (ms)": waits[len(waits) * 95 // 100],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
    parser.add_argument("--events", type=int, default=3_000, help="how many events the backlog has")
    chosen = parser.parse_args()
    with tansu() as broker:
        broker.topic(TOPIC, 6)
        service = Service("--kafka-url", broker.url, "--kafka-inbox-topic", TOPIC)
        service.start()
        try:
            subscribes: Any = {"subscribes": ["order.*"]}
            functions = {"on_event": {"description": "Takes an order.", "effect": "write"}}
            service.upload(plugin("orders", code=CODE, events=subscribes, functions=functions))
            found = measured(Inbox(service, broker), chosen.events)
        finally:
            service.stop()
            service.remove()
    if chosen.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:60} {value:12,.1f}")


if __name__ == "__main__":
    main()
