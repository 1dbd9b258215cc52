"""An outbox of its own for the tests of relays, since a relay carries whatever waits in its database."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import pytest_asyncio

from plugyard.infrastructure.embedded.server import Urls
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.relay.settings import KafkaSettings
from tests.integration.conftest import SERVICE_ROLE
from tests.tansu import Arrived, Tansu, tansu

SECRET = "a-password-that-must-never-be-logged"
INSERT = (
    "insert into outbox (id, tenant_id, plugin_id, type, occurred_at, data) "
    "values (%s, %s, %s, 'plugin.rated', now(), %s)"
)


@dataclass(frozen=True)
class OutboxDatabase:
    """A migrated database whose outbox is empty at the beginning of each test."""

    service_url: str
    owner_url: str

    def connection(self, *, autocommit: bool = True) -> psycopg.Connection:
        """As the owner, who crosses tenants."""
        options = "-c search_path=plugyard -c plugyard.operator=on"
        return psycopg.connect(self.owner_url, autocommit=autocommit, options=options)

    def write(self, count: int, plugins: Sequence[str], *, at_a_time: int = 10, first: int = 0) -> list[str]:
        """Write events, so many in a transaction, numbered on from `first`; their ids in the order of writing."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        tenant = str(uuid.uuid4())
        with self.connection(autocommit=False) as connection, connection.cursor() as cursor:
            for begin in range(0, count, at_a_time):
                rows = [
                    (ids[n], tenant, plugins[n % len(plugins)], json.dumps({"n": first + n}))
                    for n in range(begin, min(begin + at_a_time, count))
                ]
                cursor.executemany(INSERT, rows)
                connection.commit()
        return ids

    def one(self, statement: str) -> Any:
        """The one value that a statement answers."""
        with self.connection() as connection:
            row = connection.execute(statement.encode()).fetchone()
            return row[0] if row else None

    def waiting(self) -> int:
        """How many events are not marked as published."""
        found = self.one("select count(*) from outbox where published_at is null")
        assert isinstance(found, int)
        return found


@pytest_asyncio.fixture(scope="session")
async def relays_database(postgres_urls: Urls, superuser_url: str) -> AsyncIterator[OutboxDatabase]:
    """The database, for all tests of relays."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database relays owner plugyard_owner")
    service_url, owner_url = (
        url.rpartition("/")[0] + "/relays" for url in (postgres_urls.service_url, postgres_urls.owner_url)
    )
    with psycopg.connect(superuser_url.rpartition("/")[0] + "/relays", autocommit=True) as connection:
        connection.execute(f"grant connect on database relays to {SERVICE_ROLE}".encode())
    await migrate(owner_url, SERVICE_ROLE)
    yield OutboxDatabase(service_url, owner_url)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("drop database relays with (force)")


@pytest.fixture
def outbox(relays_database: OutboxDatabase) -> OutboxDatabase:
    """The same, emptied."""
    with relays_database.connection() as connection:
        connection.execute("truncate outbox")
    return relays_database


@pytest.fixture
def plugins() -> list[str]:
    """Ids of plugins."""
    return [str(uuid.uuid4()) for _ in range(20)]


@pytest.fixture
def kafka(broker: Tansu) -> KafkaSettings:
    """A topic of the test's own, with three partitions."""
    settings = KafkaSettings(broker.url, f"events-{uuid.uuid4().hex[:12]}")
    broker.topic(settings.topic)
    broker.topic(settings.dead_letters, 1)
    return settings


@pytest.fixture
def own_broker() -> Iterator[Tansu]:
    """A broker of the test's own, to be killed."""
    with tansu() as running:
        yield running


class RelayProcess:
    """`plugyard relay` as an operator starts it."""

    def __init__(self, outbox: OutboxDatabase, kafka: KafkaSettings, log: Path, *flags: str) -> None:
        self.log = log
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PLUGYARD_")}
        environment |= {"PLUGYARD_DATABASE_URL": outbox.service_url, "PLUGYARD_KAFKA_URL": kafka.servers}
        command = ["relay", "--kafka-topic", kafka.topic, "--port", "0", "--log-format", "json", *flags]
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "plugyard.cli", *command],
                stdout=output,
                stderr=output,
                cwd=log.parent,
                env=environment,
            )
        self.url = ""

    def await_ready(self) -> None:
        """Wait until its probes answer."""
        ends = time.monotonic() + 30
        while not self.url:
            found = re.search(r"http://[0-9.:]+", self.log.read_text())
            self.url = found[0] if found else ""
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < ends, self.log.read_text()
            time.sleep(0.02)

    def figure(self, name: str) -> float:
        """A metric that it shows."""
        found = re.search(rf"^{name} (\S+)$", httpx.get(f"{self.url}/metrics").text, re.M)
        assert found is not None, name
        return float(found[1])

    def kill(self) -> None:
        """End it at once."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def relay_process(
    outbox: OutboxDatabase, kafka: KafkaSettings, tmp_path: Path
) -> Iterator[Callable[..., RelayProcess]]:
    """Starts relays in processes of their own, and ends them."""
    started: list[RelayProcess] = []

    def start(*flags: str) -> RelayProcess:
        started.append(RelayProcess(outbox, kafka, tmp_path / f"relay-{len(started)}.log", *flags))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.terminate()
            one.process.wait(15)


def in_order(arrived: Sequence[Arrived]) -> bool:
    """Whether the events of each plugin came in the order of their numbers, each counted when it came first."""
    known: set[str] = set()
    last: dict[str, int] = {}
    for envelope in (one.envelope for one in arrived):
        if envelope["id"] in known:
            continue
        known.add(envelope["id"])
        if last.get(envelope["subject"], -1) >= envelope["data"]["n"]:
            return False
        last[envelope["subject"]] = envelope["data"]["n"]
    return True


def repeated_alike(arrived: Sequence[Arrived]) -> bool:
    """Whether what came more than once was the same each time."""
    values: dict[str, bytes] = {}
    return all(values.setdefault(one.envelope["id"], one.value) == one.value for one in arrived)
