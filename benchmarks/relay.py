"""Measures the way of events from the outbox to Kafka: how many a second, how soon, and what it costs who writes them.

    uv run python -m benchmarks.relay [--json] [--events 50000]

Starts PostgreSQL and a broker that speaks Kafka's protocol (Tansu, which keeps everything in memory and has no copies),
both from wheels and on loopback, and relays as processes of their own. All share the cores, so a figure holds for the
machine with everything on it. Kafka with three copies takes longer to confirm an event.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.conftest import reachable_folder
from tests.integration.conftest import SERVICE_ROLE
from tests.integration.kafka.conftest import INSERT, OutboxDatabase, RelayProcess
from tests.tansu import Reader, Tansu, tansu

PLUGINS = [str(uuid.uuid4()) for _ in range(200)]
FILL = (
    "insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data) "
    "select gen_random_uuid(), %s, (%s::uuid[])[1 + n %% 200], 'execution.completed', now(), jsonb_build_object("
    "'name', 'invoice-totals', 'state', 'active', 'executionId', gen_random_uuid(), 'function', 'sum', "
    "'version', '1.0.0', 'status', 'succeeded') from generate_series(1, %s) n"
)


class Bench:
    """A database, a broker, and relays between them."""

    def __init__(self, outbox: OutboxDatabase, broker: Tansu, folder: Path) -> None:
        self.outbox, self.broker, self._folder = outbox, broker, folder

    def topic(self) -> KafkaSettings:
        """A new topic, and an empty outbox."""
        settings = KafkaSettings(self.broker.url, f"events-{uuid.uuid4().hex[:8]}")
        self.broker.topic(settings.topic, 6)
        self.broker.topic(settings.dead_letters, 1)
        with self.outbox.connection() as connection:
            connection.execute("truncate outbox")
        return settings

    def relay(self, settings: KafkaSettings) -> RelayProcess:
        """A relay that leads its share."""
        relay = RelayProcess(
            self.outbox, settings, self._folder / f"{uuid.uuid4().hex}.log", "--outbox-partitions", "8"
        )
        relay.await_ready()
        while not relay.figure("plugyard_relay_partitions"):
            time.sleep(0.02)
        return relay

    def backlog(self, events: int, relays: int) -> float:
        """Events a second, until all are marked as published, of a queue that one commit leaves to relays at rest."""
        settings = self.topic()
        running = [self.relay(settings) for _ in range(relays)]
        while {one.figure("plugyard_relay_partitions") for one in running} != {8 / relays}:
            time.sleep(0.02)
        some_wait = "select exists (select from outbox where published_at is null)"
        with self.outbox.connection() as connection:
            connection.execute(FILL, [str(uuid.uuid4()), PLUGINS, events])
            began = time.perf_counter()
            while connection.execute(some_wait).fetchone() == (True,):
                time.sleep(0.02)
            took = time.perf_counter() - began
        for one in running:
            one.kill()
        return events / took

    def latencies(self, a_second: float, count: int) -> list[float]:
        """From each commit until a consumer has the event (ms), with commits at even distances."""
        settings = self.topic()
        relay = self.relay(settings)
        # This broker answers a consumer that waits at the end of its wait, and not when there is something.
        reader = Reader(settings.servers, settings.topic, wait_ms=1)
        reader.poll(0.5)
        committed: dict[str, float] = {}
        arrived: dict[str, float] = {}
        done = threading.Event()

        def read() -> None:
            while not done.is_set():
                before = len(reader.arrived)
                reader.poll_once()
                now = time.perf_counter()
                for one in reader.arrived[before:]:
                    arrived.setdefault(one.envelope["id"], now)

        thread = threading.Thread(target=read)
        thread.start()
        with self.outbox.connection() as connection:
            due = time.perf_counter()
            for number in range(count):
                due += 1 / a_second
                time.sleep(max(0.0, due - time.perf_counter()))
                event = str(uuid.uuid4())
                connection.execute(INSERT, (event, str(uuid.uuid4()), PLUGINS[number % 200], json.dumps({"n": number})))
                committed[event] = time.perf_counter()
        ends = time.monotonic() + 20
        while len(arrived) < count and time.monotonic() < ends:
            time.sleep(0.05)
        done.set()
        thread.join()
        reader.close()
        relay.kill()
        return [1_000 * (arrived[event] - at) for event, at in committed.items()]

    def takeover(self) -> float:
        """From the kill of a relay until the other leads all (s)."""
        settings = self.topic()
        first, second = self.relay(settings), self.relay(settings)
        while (first.figure("plugyard_relay_partitions"), second.figure("plugyard_relay_partitions")) != (4, 4):
            time.sleep(0.02)
        first.kill()
        began = time.perf_counter()
        while second.figure("plugyard_relay_partitions") != 8:
            time.sleep(0.01)
        took = time.perf_counter() - began
        second.kill()
        return took

    def writers(self, threads: int, seconds: float = 3.0) -> float:
        """Transactions of one event a second, of so many writers at once."""
        ends = time.perf_counter() + seconds

        def write(_: int) -> int:
            count = 0
            with self.outbox.connection() as connection:
                while time.perf_counter() < ends:
                    count += 1
                    event = (str(uuid.uuid4()), str(uuid.uuid4()), PLUGINS[count % 200], "{}")
                    connection.execute(INSERT, event)
            return count

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(write, range(threads))) / seconds

    def costs(self) -> dict[str, float]:
        """What the trigger costs writers, by turns: none, ours without a relay, and one that always notifies."""
        self.topic()
        always = (
            "create or replace function plugyard.notify_always() returns trigger language plpgsql as "
            "$$ begin perform pg_notify('plugyard_outbox', ''); return null; end $$;"
            "create trigger notify_always after insert on outbox for each statement execute function "
            "plugyard.notify_always(); alter table outbox disable trigger notify_always"
        )
        rates: dict[str, list[float]] = {"no trigger": [], "the trigger, no relay": [], "a notification each time": []}
        with self.outbox.connection() as connection:
            connection.execute(always)
            for _ in range(3):
                for what, trigger in zip(rates, (None, "wake_relays", "notify_always"), strict=True):
                    for name in ("wake_relays", "notify_always"):
                        state = "enable" if name == trigger else "disable"
                        connection.execute(f"alter table outbox {state} trigger {name}".encode())
                    rates[what].append(self.writers(4, 2.0))
            connection.execute("alter table outbox enable trigger wake_relays")
            connection.execute("drop function plugyard.notify_always() cascade")
        return {f"4 writers, {what} (events/s)": statistics.median(found) for what, found in rates.items()}

    def rewriting(self, events: int) -> float:
        """How long migration 0010 keeps writers waiting for each million events that are there (s)."""
        self.topic()
        with self.outbox.connection() as connection:
            connection.execute("alter table outbox disable trigger wake_relays")
            connection.execute(FILL, [str(uuid.uuid4()), PLUGINS, events])
            connection.execute("update outbox set published_at = now() where position % 10 > 0")
            connection.execute("alter table outbox drop column slot")
            began = time.perf_counter()
            with connection.transaction():
                connection.execute(
                    "alter table outbox add column slot smallint not null generated always as "
                    "((get_byte(uuid_send(plugin_id), 15) & 63)::smallint) stored"
                )
                connection.execute(
                    "create index outbox_waiting_in_slot on outbox (slot, position) where published_at is null"
                )
            took = time.perf_counter() - began
            connection.execute("alter table outbox enable trigger wake_relays")
        return took * 1_000_000 / events


def measured(bench: Bench, events: int) -> dict[str, float]:
    """All figures."""
    found: dict[str, float] = {}
    for relays in (1, 2):
        found[f"backlog, {relays} relay{'s' if relays > 1 else ''} (events/s)"] = statistics.median(
            bench.backlog(events, relays) for _ in range(3)
        )
    for a_second, count in ((10, 100), (200, 2_000), (1_000, 5_000)):
        took = sorted(bench.latencies(a_second, count))
        for share in (50, 95, 99):
            found[f"commit to consumer, {a_second}/s, p{share} (ms)"] = took[len(took) * share // 100]
    takeovers = [bench.takeover() for _ in range(5)]
    found["takeover after a kill, median of 5 (s)"] = statistics.median(takeovers)
    found["takeover after a kill, longest of 5 (s)"] = max(takeovers)
    found |= bench.costs()
    found["writers wait for migration 0010, per million events (s)"] = bench.rewriting(500_000)
    return found


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--events", type=int, default=50_000)
    chosen = parser.parse_args()
    data = reachable_folder()
    postgres = EmbeddedPostgres(data)
    urls = await postgres.start()
    try:
        await migrate(urls.owner_url, SERVICE_ROLE)
        with tansu() as broker, tempfile.TemporaryDirectory() as folder:
            bench = Bench(OutboxDatabase(urls.service_url, urls.owner_url), broker, Path(folder))
            found = await asyncio.to_thread(measured, bench, chosen.events)
    finally:
        await postgres.stop()
        shutil.rmtree(data)
    if chosen.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:60} {value:12,.2f}")


if __name__ == "__main__":
    asyncio.run(main())
