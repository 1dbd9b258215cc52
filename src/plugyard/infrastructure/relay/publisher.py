"""Sends to Kafka and tells what arrived. The relay uses it, and the consumer for dead letters.

A producer of librdkafka works in threads of its own; one more, here, hands its reports over to the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from plugyard.infrastructure.relay.settings import KafkaSettings
from plugyard.infrastructure.relay.trouble import said

LARGEST_MESSAGE = 1_000_000
_ANSWERS_WITHIN_S = 2.0
_MADE_WITHIN_S = 5.0
_POLLED_FOR_S = 0.1  # less than 0.2, see `_serve`
_ENDS_WITHIN_S = 1.0
_UNBELIEVED = 2**63 - 1  # a place that nothing lies behind
log = structlog.get_logger("plugyard")


class BrokerAway(Exception):
    """Kafka does not take what it is sent; the message says what is known of why."""


class TooLarge(Exception):
    """Kafka would not take a message of this size."""


class Publisher:
    """One producer. `open` it, `send`, take the `reports`, and `close` it; after a failed report it is of no more use.

    What is sent with one key arrives in the order of sending, each once as long as this producer lives: it is
    idempotent, waits for all replicas that are in sync, and stops where anything would leave a gap.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._reports: deque[tuple[int, str | None]] = deque()
        self._arrived = asyncio.Event()
        self._last_error = ""
        self._fatal = ""
        self._places: dict[tuple[Any, Any], int] = {}
        self._ended = threading.Event()
        # What waits for brokers waits in a thread of its own, not in one that the service needs for other work.
        self._helper = ThreadPoolExecutor(1, thread_name_prefix="kafka-publisher")
        try:
            self._producer = Producer(
                {
                    **settings.client(),
                    "enable.idempotence": True,
                    "acks": "all",
                    "enable.gapless.guarantee": True,
                    # Where nothing arrives, the relay begins anew; a message that gives up alone would leave a gap.
                    "message.timeout.ms": 0,
                    "message.max.bytes": LARGEST_MESSAGE,
                    "batch.size": 262_144,
                    "linger.ms": 1,
                    "compression.type": "lz4",
                    # As every client in Java does it, so that a key means the same partition to all.
                    "partitioner": "murmur2_random",
                    "retry.backoff.ms": 50,
                    "retry.backoff.max.ms": 1_000,
                    "error_cb": self._on_error,
                }
            )
        except KafkaException as error:
            raise BrokerAway(f"Kafka cannot be spoken to: {said(error.args[0])}") from error
        self._poller = threading.Thread(target=self._poll, name="kafka-reports", daemon=True)
        self._poller.start()

    @classmethod
    async def open(cls, settings: KafkaSettings, topics: Sequence[str]) -> Publisher:
        """A producer to brokers that answer and have these topics, which are made where they may be.

        Raises `BrokerAway`.
        """
        publisher = cls(settings)
        try:
            for topic in topics:
                await publisher._loop.run_in_executor(publisher._helper, publisher._look_for, topic, settings)
        except BaseException:
            await publisher.close()
            raise
        return publisher

    def send(
        self, number: int, topic: str, key: str | bytes | None, value: bytes, headers: Mapping[str, str | bytes]
    ) -> None:
        """Hand a message over; its report bears this number. Raises `TooLarge` and `BrokerAway`."""

        def report(error: KafkaError | None, message: Message) -> None:
            wrong = said(error) if error is not None else self._out_of_place(message)
            self._reports.append((number, wrong))
            if len(self._reports) == 1:
                self._tell()

        try:
            self._producer.produce(topic, value, key, on_delivery=report, headers=list(headers.items()))
        except KafkaException as error:
            if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise TooLarge(f"the message has {len(value)} bytes") from error
            raise BrokerAway(said(error.args[0])) from error
        except BufferError as error:
            raise BrokerAway("too much waits to be sent") from error

    def reports(self) -> tuple[list[int], str]:
        """The numbers of what arrived since the last time, and what went wrong, if anything did."""
        arrived, wrong = [], self._fatal
        self._arrived.clear()
        while self._reports:
            number, error = self._reports.popleft()
            if error is None:
                arrived.append(number)
            else:
                wrong = wrong or error
        return arrived, wrong

    async def reported(self, within_s: float) -> None:
        """Wait until there is a report, or for so many seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._arrived.wait()

    @property
    def last_error(self) -> str:
        """What a broker or the way to it was last in trouble with."""
        return self._last_error

    async def close(self) -> None:
        """Give up what was not sent. What arrived before is still among the `reports`."""
        await self._loop.run_in_executor(self._helper, self._end)
        self._helper.shutdown(wait=False)

    def _out_of_place(self, message: Message) -> str | None:
        """What is wrong with the place that a broker gave a message.

        To a batch whose number it knows from a try before, a broker says that it has it and not where: the first place
        is -1, and librdkafka counts on from there. One that kept the number and lost the batch, as when it is killed
        between the two, says the same. Whoever sends it anew sends it twice at worst, by the id that it is known by.

        Of such a batch the first alone is seen to have no place, for what is counted on may lie behind the last that is
        known; so nothing more of that partition is believed. Reports of a partition come in their order.
        """
        where, place = (message.topic(), message.partition()), message.offset()
        if place is None or place <= self._places.get(where, -1):
            self._places[where] = _UNBELIEVED
            return "a message was confirmed without its place"
        self._places[where] = place
        return None

    # --- in other threads --------------------------------------------------------------------------------------------

    def _look_for(self, topic: str, settings: KafkaSettings) -> None:
        try:
            found = self._producer.list_topics(topic, timeout=_ANSWERS_WITHIN_S).topics[topic]
            if found.error is None:
                return
            if found.error.code() not in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
                raise BrokerAway(f"the topic {topic}: {said(found.error)}")
            # With as many partitions and copies as the brokers give by themselves.
            client = AdminClient(settings.client())
            made = client.create_topics([NewTopic(topic)], operation_timeout=_MADE_WITHIN_S)
            made[topic].result(2 * _MADE_WITHIN_S)
            log.info("the topic was made", topic=topic)
        except KafkaException as error:
            problem = error.args[0]
            if problem.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return
            why = self._last_error if problem.code() in _VAGUE and self._last_error else said(problem)
            raise BrokerAway(f"Kafka does not answer: {why}") from error

    def _poll(self) -> None:
        while not self._ended.is_set():
            self._serve()

    def _serve(self) -> None:
        """Let what has happened be reported.

        What ends a producer comes out of the call that meets it, and not through `error_cb`. A short `poll` ends there.
        A longer one, and `flush`, call back once more with the exception set, and then raise what is no exception,
        which ends a thread and leaves whoever waits for it waiting.
        """
        try:
            self._producer.poll(_POLLED_FOR_S)
        except KafkaException as error:
            self._fatal = said(error.args[0])
            self._tell()

    def _on_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or not self._last_error:
            self._last_error = said(error)

    def _tell(self) -> None:
        with contextlib.suppress(RuntimeError):  # The loop has ended, and nobody waits.
            self._loop.call_soon_threadsafe(self._arrived.set)

    def _end(self) -> None:
        self._ended.set()
        self._poller.join(2 * _ENDS_WITHIN_S)
        self._producer.purge(in_queue=True, in_flight=True, blocking=False)
        ends = time.monotonic() + _ENDS_WITHIN_S
        while len(self._producer) and time.monotonic() < ends:
            self._serve()
        del self._producer  # It joins its threads, of which one may be waiting for a name server.


_VAGUE = (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
