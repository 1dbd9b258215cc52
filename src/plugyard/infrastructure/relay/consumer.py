"""Reads from Kafka what the platform says, for the use case `hear`: each partition's in order, each at least once.

A group of consumers shares the partitions of the topic. An offset is committed after `on_event` has returned, so what a
consumer was at when it died comes again, to another one. Nothing is remembered here: whoever must not act twice keeps
the event's name with what it does, in the same transaction.

Messages that wait on a partition are acted on together, up to `TOGETHER` of them, for what they cost in the store is
mostly the commit; where that does not go well, one by one.

A message that is no event, or that `on_event` refuses, goes to the topic of dead letters with the reason, and what is
behind it goes on. While the store is away the partition waits. `bootstrap/relaying.py` makes a `Consumer` where the
process works on what is queued.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import confluent_kafka
import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from plugyard.domain.errors import NotFound, StoreUnavailable
from plugyard.domain.events import PlatformEvent
from plugyard.infrastructure.relay.deadletters import DeadLetters
from plugyard.infrastructure.relay.incoming import Poison, read
from plugyard.infrastructure.relay.publisher import BrokerAway
from plugyard.infrastructure.relay.settings import KafkaSettings
from plugyard.infrastructure.relay.trouble import Trouble, said

OnEvent = Callable[[PlatformEvent], Awaitable[bool]]
"""Acts on an event; false where it was dropped. `NotFound` gives it up at once, `StoreUnavailable` waits for as long as
it takes."""

OnEvents = Callable[[Sequence[PlatformEvent]], Awaitable[Sequence[bool]]]
"""The same for several, in their order. Where it raises, each of them is acted on once more, by `OnEvent`."""

AT_A_TIME, FULL_AT, TOGETHER = 200, 400, 32
COMMITTED_EVERY_S = 0.2
POLLED_FOR_S = 0.1
ENDS_WITHIN_S = 3.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
log = structlog.get_logger("plugyard")


@dataclass(frozen=True)
class Patience:
    """How often an event is tried before it is a dead letter, and after which silence (s) the group counts a consumer
    as dead."""

    attempts: int = 5
    session_s: float = 10.0


@dataclass(eq=False)
class _Lane:
    """One partition: what came of it, the task that works it off, and where the group may go on."""

    waiting: deque[Message] = field(default_factory=deque)
    at_work_on: Message | None = None
    more: asyncio.Event = field(default_factory=asyncio.Event)
    work: asyncio.Task[None] | None = None
    next_offset: int | None = None
    committed: int | None = None
    paused: bool = False
    ending: bool = False


class Consumer:
    """One member of a group. `start` it and `close` it; it outlives every absence of Kafka."""

    def __init__(
        self,
        settings: KafkaSettings,
        group: str,
        on_event: OnEvent,
        on_events: OnEvents | None = None,
        *,
        patience: Patience | None = None,
    ) -> None:
        self._settings = settings
        self._group = group
        self._on_event, self._on_events = on_event, on_events
        self._patience = patience or Patience()
        self.taken = self.dropped = self.buried = 0
        self._lanes: dict[int, _Lane] = {}
        self._letters = DeadLetters(settings)
        # librdkafka calls back from within its calls, so all of them are made in one thread.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-consumer")
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._trouble = Trouble("the inbox is not read", group=group)

    def start(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Let what is under way end, commit, leave the group."""
        self._stopping.set()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=3 * ENDS_WITHIN_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._letters.close()
        self._thread.shutdown(wait=False)

    @property
    def state(self) -> str:
        """For the health report: `ok`, or a warning."""
        return f"warning: {self._trouble.now}" if self._trouble.now else "ok"

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions of the topic that this consumer reads now."""
        return frozenset(self._lanes)

    @property
    def oldest_s(self) -> float:
        """For how long the oldest message that was fetched and not dealt with has been on the topic (s)."""
        first = [lane.at_work_on or (lane.waiting[0] if lane.waiting else None) for lane in self._lanes.values()]
        return max([time.time() - _written_at(one).timestamp() for one in first if one is not None], default=0.0)

    def counts(self) -> Mapping[str, tuple[str, Callable[[], float]]]:
        """What only grows, for Prometheus: each metric's name with its meaning and what reads it."""
        return {
            "plugyard_inbox_events": ("Events of the platform that this process took.", lambda: self.taken),
            "plugyard_inbox_dropped": ("Events for tenants that are stopped.", lambda: self.dropped),
            "plugyard_inbox_dead_letters": ("Messages that could not be taken.", lambda: self.buried),
        }

    def figures(self) -> Mapping[str, tuple[str, Callable[[], float]]]:
        """What goes up and down, in the same form."""
        return {
            "plugyard_inbox_oldest_seconds": (
                "Age of the oldest message that was fetched and not dealt with.",
                lambda: self.oldest_s,
            ),
            "plugyard_inbox_partitions": ("Partitions that this process reads.", lambda: len(self._lanes)),
        }

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._consume()
            except KafkaException as error:
                self._trouble.note(f"Kafka cannot be read: {said(error.args[0])}")
            except Exception as error:  # Whatever is met, the next try may do better.
                log.warning("the consumer has failed", group=self._group, error=repr(error)[:500])
                self._trouble.note(f"the consumer has failed ({type(error).__name__})")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._stopping.wait()

    async def _consume(self) -> None:
        loop = asyncio.get_running_loop()

        def given(_: Any, partitions: list[TopicPartition]) -> None:
            asyncio.run_coroutine_threadsafe(self._give(partitions), loop).result()

        def taken(client: Any, partitions: list[TopicPartition]) -> None:
            done = asyncio.run_coroutine_threadsafe(self._drop(partitions), loop).result()
            if done:
                with contextlib.suppress(KafkaException):  # Then they come again, to whoever has them now.
                    client.commit(offsets=done, asynchronous=False)

        def lost(_: Any, partitions: list[TopicPartition]) -> None:
            asyncio.run_coroutine_threadsafe(self._drop(partitions), loop).result()

        def failed(error: KafkaError) -> None:
            loop.call_soon_threadsafe(self._trouble.note, f"Kafka cannot be read: {said(error)}")

        session_ms = int(self._patience.session_s * 1_000)
        client = confluent_kafka.Consumer(
            {
                **self._settings.client(),
                "group.id": self._group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "session.timeout.ms": session_ms,
                "heartbeat.interval.ms": max(100, session_ms // 10),
                "fetch.wait.max.ms": 100,
                "queued.min.messages": 2 * AT_A_TIME,
                "queued.max.messages.kbytes": 8_192,
                "error_cb": failed,
            }
        )
        try:
            await self._call(client.subscribe, [self._settings.topic], given, taken, lost)
            committed_at = 0.0
            while not self._stopping.is_set():
                for message in await self._call(_consumed, client):
                    self._take(message)
                await self._balance(client)
                if time.monotonic() - committed_at > COMMITTED_EVERY_S:
                    committed_at = time.monotonic()
                    await self._commit(client)
        finally:
            # What is under way may end; leaving the group commits it.
            await asyncio.shield(self._call(client.close))
            await self._drop([TopicPartition(self._settings.topic, number) for number in self._lanes])

    async def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *arguments)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._trouble.note(f"Kafka cannot be read: {said(error)}")
            return
        self._trouble.over()
        lane = self._lanes.get(message.partition() or 0)
        if lane is not None:
            lane.waiting.append(message)
            lane.more.set()

    async def _give(self, partitions: list[TopicPartition]) -> None:
        self._trouble.over()
        for one in partitions:
            lane = self._lanes[one.partition] = _Lane()
            lane.work = asyncio.create_task(self._work(lane))

    async def _drop(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Give up partitions; answers where whoever has them next goes on."""
        lanes = {one.partition: lane for one in partitions if (lane := self._lanes.pop(one.partition, None))}
        for lane in lanes.values():
            lane.waiting.clear()
            lane.ending = True
            lane.more.set()
        works = [lane.work for lane in lanes.values() if lane.work is not None]
        if works:
            await asyncio.wait(works, timeout=ENDS_WITHIN_S)
        for work in works:
            work.cancel()
        await asyncio.gather(*works, return_exceptions=True)
        return [
            TopicPartition(self._settings.topic, number, lane.next_offset)
            for number, lane in lanes.items()
            if lane.next_offset is not None and lane.next_offset != lane.committed
        ]

    async def _balance(self, client: confluent_kafka.Consumer) -> None:
        """A lane that is full is not read further, so that memory stays bounded and the others go on."""
        for number, lane in list(self._lanes.items()):
            if lane.work is not None and lane.work.done() and not lane.ending:
                lane.work.result()  # It ends by an error alone, which is one of the whole consumer.
            full = len(lane.waiting) > (0 if lane.paused else FULL_AT)
            if full != lane.paused:
                lane.paused = full
                place = [TopicPartition(self._settings.topic, number)]
                with contextlib.suppress(KafkaException):  # It was taken away meanwhile.
                    await self._call(client.pause if full else client.resume, place)

    async def _commit(self, client: confluent_kafka.Consumer) -> None:
        moved = {
            number: lane.next_offset
            for number, lane in self._lanes.items()
            if lane.next_offset is not None and lane.next_offset != lane.committed
        }
        if moved:
            places = [TopicPartition(self._settings.topic, number, offset) for number, offset in moved.items()]
            await self._call(lambda: client.commit(offsets=places, asynchronous=True))
            for number, offset in moved.items():
                if number in self._lanes:
                    self._lanes[number].committed = offset

    async def _work(self, lane: _Lane) -> None:
        while not lane.ending:
            if not lane.waiting:
                lane.more.clear()
                await lane.more.wait()
                continue
            batch = [lane.waiting.popleft() for _ in range(min(len(lane.waiting), TOGETHER))]
            lane.at_work_on = batch[0]
            if await self._handled_together(batch):
                lane.next_offset = (batch[-1].offset() or 0) + 1
            else:
                await self._handle_each(lane, batch)
            lane.at_work_on = None

    async def _handled_together(self, batch: Sequence[Message]) -> bool:
        if self._on_events is None or len(batch) == 1:
            return False
        try:
            events = [_event_of(one) for one in batch]
            took = await self._on_events(events)
        except Exception:
            return False  # One by one it shows which of them it was, and what is to be done about that.
        for event, taken in zip(events, took, strict=True):
            self._count(event, taken=taken)
        return True

    async def _handle_each(self, lane: _Lane, batch: Sequence[Message]) -> None:
        for message in batch:
            if lane.ending:
                return
            lane.at_work_on = message
            await self._handle(message)
            lane.next_offset = (message.offset() or 0) + 1

    async def _handle(self, message: Message) -> None:
        try:
            event = _event_of(message)
            self._count(event, taken=await self._act(event))
        except Poison as error:
            await self._bury(message, str(error))
            self.buried += 1
        except Exception as error:
            # Nobody thought of such a message; what is behind it is not to wait for that.
            log.exception("a message cannot be read", group=self._group)
            await self._bury(message, f"it cannot be read: {error!r}")
            self.buried += 1

    def _count(self, event: PlatformEvent, *, taken: bool) -> None:
        if taken:
            self.taken += 1
        else:
            self.dropped += 1
            log.info("an event was dropped: its tenant is stopped", tenant_id=event.tenant_id, event_id=event.id)

    async def _act(self, event: PlatformEvent) -> bool:
        """Let it be acted on, again where that fails. Raises `Poison` where it is to be given up."""
        failures, pause = 0, SHORTEST_PAUSE_S
        while True:
            try:
                return await self._on_event(event)
            except NotFound as error:
                raise Poison(error.message) from error
            except StoreUnavailable:
                log.warning("an event waits for the store", group=self._group, event_id=event.id)
            except Exception as error:
                failures += 1
                log.warning("an event was not taken", group=self._group, event_id=event.id, error=repr(error)[:500])
                if failures >= self._patience.attempts:
                    raise Poison(f"it failed {failures} times, at last with {error!r}") from error
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - nobody gains by guessing it
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _bury(self, message: Message, reason: str) -> None:
        about = {
            "topic": self._settings.topic,
            "partition": str(message.partition()),
            "offset": str(message.offset()),
            "group": self._group,
        }
        headers = {name: value for name, value in _headers(message) if name not in about and name != "reason"}
        log.warning("a message is a dead letter", reason=reason[:500], **about)
        pause = SHORTEST_PAUSE_S
        while True:
            try:
                return await self._letters.add(
                    _bytes(message.key()), _bytes(message.value()) or b"", headers, about, reason
                )
            except BrokerAway as error:
                self._trouble.note(f"a dead letter cannot be written: {error}")
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)


def _consumed(client: confluent_kafka.Consumer) -> list[Message]:
    """What is there, or the first that comes: `consume` alone waits out its time for as many as it may have."""
    first = client.poll(POLLED_FOR_S)
    return [] if first is None else [first, *client.consume(AT_A_TIME - 1, 0)]


def _event_of(message: Message) -> PlatformEvent:
    """Raises `Poison`."""
    return read(_bytes(message.value()), dict(_headers(message)), _written_at(message))


def _headers(message: Message) -> list[tuple[str, bytes]]:
    found: Any = message.headers()
    return [(name, _bytes(value) or b"") for name, value in found or []]


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


def _written_at(message: Message) -> datetime:
    """When the message was written; now, where it does not say, or says a time that is none."""
    kind, at_ms = message.timestamp()
    if kind != confluent_kafka.TIMESTAMP_NOT_AVAILABLE:
        with contextlib.suppress(ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(at_ms / 1_000, UTC)
    return datetime.now(UTC)
