"""Makes the relay that carries events to Kafka: in the serving process, or alone for ``plugyard relay``.

It makes the inbox as well, which reads what the platform says, where a process works on what is queued.
"""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import structlog
import uuid_utils

from plugyard import __version__
from plugyard.application.deliver import hear, hear_all
from plugyard.application.platform import Platform
from plugyard.bootstrap.keys import CannotStart
from plugyard.infrastructure.logs import configure_logging
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings

if TYPE_CHECKING:
    from plugyard.infrastructure.relay.consumer import Consumer
    from plugyard.infrastructure.relay.relay import Relay
    from plugyard.infrastructure.relay.settings import KafkaSettings

log = structlog.get_logger("plugyard")


def kafka_settings(settings: Settings) -> "KafkaSettings":
    """The way to Kafka that the settings name. Raises ``CannotStart``."""
    # Loaded only where Kafka is used, here and below.
    from plugyard.infrastructure.relay.settings import KafkaSettings

    try:
        return KafkaSettings(
            settings.kafka_url or "",
            topic=settings.kafka_topic,
            source=settings.kafka_source,
            security=settings.kafka_security,
            mechanism=settings.kafka_mechanism,
            username=settings.kafka_username,
            password=settings.kafka_password,
            ca=settings.kafka_ca,
            certificate=settings.kafka_certificate,
            key=settings.kafka_key,
            key_password=settings.kafka_key_password,
        )
    except ValueError as error:
        raise CannotStart(f"the settings of Kafka: {error}") from error


def _warn_of_the_clear(kafka: "KafkaSettings") -> None:
    if kafka.in_the_clear:
        log.warning("events are sent in the clear; use --kafka-security tls or sasl-tls")


def start_relay(settings: Settings, service_url: str, telemetry: Telemetry) -> "Relay | None":
    """A relay that has begun and shows its figures; none where no Kafka is named. Raises ``CannotStart``."""
    if settings.kafka_url is None:
        return None
    kafka = kafka_settings(settings)
    _warn_of_the_clear(kafka)
    from plugyard.infrastructure.relay.relay import Relay

    relay = Relay(service_url, kafka, settings.outbox_partitions)
    for name, (meaning, read) in relay.figures().items():
        telemetry.gauge(name, meaning, read)
    relay.start()
    return relay


def start_inbox(settings: Settings, platform: Platform, telemetry: Telemetry) -> "Consumer | None":
    """An inbox that has begun and shows its figures; none where no topic is named, or where this process works on
    nothing that is queued. Raises ``CannotStart``."""
    if settings.kafka_inbox_topic is None:
        return None
    kafka = inbox_settings(settings)
    if settings.queue_workers == 0:
        return None
    _warn_of_the_clear(kafka)
    from plugyard.infrastructure.relay.consumer import Consumer

    inbox = Consumer(kafka, settings.kafka_inbox_group, partial(hear, platform), partial(hear_all, platform))
    for name, (meaning, read) in inbox.counts().items():
        telemetry.counter(name, meaning, read)
    for name, (meaning, read) in inbox.figures().items():
        telemetry.gauge(name, meaning, read)
    inbox.start()
    return inbox


def inbox_settings(settings: Settings) -> "KafkaSettings":
    """The way to the topic that the platform writes to. Raises ``CannotStart``."""
    if settings.kafka_url is None:
        raise CannotStart("--kafka-inbox-topic needs brokers: name them with --kafka-url")
    events = kafka_settings(settings)
    topic = settings.kafka_inbox_topic or ""
    if not {topic, topic + events.dead_letters.removeprefix(events.topic)}.isdisjoint(
        {events.topic, events.dead_letters}
    ):
        raise CannotStart("--kafka-inbox-topic is the platform's own; it must not be one that this service writes to")
    if not settings.kafka_inbox_group:
        raise CannotStart("--kafka-inbox-group must not be empty")
    try:
        return replace(events, topic=topic)
    except ValueError as error:
        raise CannotStart(f"--kafka-inbox-topic: {error}") from error


class RelayService:
    """A relay alone, with probes and metrics on the address of the settings."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.url = ""
        self._parts = AsyncExitStack()
        self._failed = asyncio.Event()
        self._stopping = False

    async def start(self) -> None:
        """Start it; raises ``CannotStart`` where waiting will not help. What is away may come back."""
        from plugyard.bootstrap.service import bound, shown
        from plugyard.http.app import create_probes
        from plugyard.http.server import Server

        configure_logging(self.settings.log_format, self.settings.log_level)
        database_url = self.settings.database_url
        if database_url is None:
            raise CannotStart("name the database that the service is on with --database-url")
        listener = bound(self.settings.host, self.settings.port)
        self._parts.callback(listener.close)
        telemetry = Telemetry()
        relay = start_relay(self.settings, database_url, telemetry)
        if relay is None:
            raise CannotStart("name the brokers with --kafka-url")

        async def ready() -> dict[str, str]:
            return {"relay": relay.state}

        server = Server(create_probes(telemetry, ready, __version__, lambda: str(uuid_utils.uuid7())))
        serving = asyncio.create_task(server.serve([listener]))
        serving.add_done_callback(self._ended)
        self._parts.push_async_callback(asyncio.wait_for, serving, 5)
        self._parts.callback(server.stop)
        self._parts.push_async_callback(relay.close)
        self.url = f"http://{shown(self.settings.host)}:{listener.getsockname()[1]}"
        log.info("ready", url=self.url)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not self._stopping:
            log.error("the probes' server has ended", error=repr(task.exception()))
            self._failed.set()

    async def failed(self) -> None:
        """Wait until a part that cannot be replaced has ended."""
        await self._failed.wait()

    async def stop(self) -> None:
        """Wait for a moment for what was sent, and end."""
        self._stopping = True
        await self._parts.aclose()
