"""Carries events from the outbox to Kafka: in the order of each plugin, each at least once, whatever is killed.

Each relay leads some partitions of the outbox, by advisory locks on a session of its own, and nobody else carries those
meanwhile. Events are marked as published when Kafka has confirmed them, so what was confirmed and not yet marked when a
relay died comes twice, with the same id. Two relays that for a moment believe both to lead send the same events in the
same order, so whoever drops ids that it knows still sees each plugin's in order.

`plugyard.bootstrap` makes a `Relay`, in the serving process or alone (`plugyard relay`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from plugyard.domain.errors import StoreUnavailable
from plugyard.infrastructure.postgres.outbox import MOST_COUNTED, SLOTS, Lag, Outbox
from plugyard.infrastructure.relay.envelope import CONTENT_TYPE, written
from plugyard.infrastructure.relay.publisher import BrokerAway, Publisher, TooLarge
from plugyard.infrastructure.relay.settings import KafkaSettings
from plugyard.infrastructure.relay.trouble import Trouble

ON_THEIR_WAY = 2_000
"""Most events that are sent and not yet confirmed; with the largest payloads they take 128 MB, as a rule 1 MB."""
AT_A_TIME, OF_A_SLOT = 500, 200
SHARED_EVERY_S = 0.5
LOOKED_AGAIN_AFTER_S = 0.02
STALLED_AFTER_S = 3.0
MEASURED_EVERY_S = 2.0
LATE_AFTER_S = 30.0
ENDS_WITHIN_S = 3.0
SHORTEST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 1.0
log = structlog.get_logger("plugyard")


class Relay:
    """One relay. `start` it and `close` it; it outlives every absence of PostgreSQL and of Kafka."""

    def __init__(self, service_url: str, settings: KafkaSettings, partitions: int) -> None:
        self._url = service_url
        self._settings = settings
        self._partitions = min(partitions, SLOTS)
        self._led: set[int] = set()
        self._leaving: set[int] = set()
        self._on_their_way: dict[int, int] = {}
        self._confirmed: list[int] = []
        self._first_slot = 0
        self._moved_at = 0.0
        self._stopping = asyncio.Event()
        self._tasks: tuple[asyncio.Task[None], ...] = ()
        self.lag = Lag()
        self.published = 0
        self._trouble = Trouble("events are not relayed")

    def start(self) -> None:
        """Begin; returns at once."""
        self._tasks = (asyncio.create_task(self._run()), asyncio.create_task(self._measure()))

    async def close(self) -> None:
        """Wait for a moment until what was sent is confirmed, and end."""
        self._stopping.set()
        if self._tasks:
            await asyncio.wait(self._tasks[:1], timeout=2 * ENDS_WITHIN_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def state(self) -> str:
        """For the health report: `ok`, or a warning, for a relay that is in trouble stops nothing else."""
        waiting = f"{self.lag.waiting:,}" if self.lag.waiting < MOST_COUNTED else f"more than {MOST_COUNTED:,}"
        if self._trouble.now:
            return f"warning: {self._trouble.now}; {waiting} events wait"
        if self.lag.oldest_s > LATE_AFTER_S:
            return f"warning: {waiting} events wait, the oldest for {self.lag.oldest_s:.0f} s"
        return "ok"

    @property
    def partitions(self) -> frozenset[int]:
        """The partitions of the outbox that this relay leads now."""
        return frozenset(self._led)

    def figures(self) -> Mapping[str, tuple[str, Callable[[], float]]]:
        """What Prometheus is shown: each metric's name with its meaning and what reads it."""
        return {
            "plugyard_outbox_events": ("Events that wait to be relayed.", lambda: self.lag.waiting),
            "plugyard_outbox_oldest_seconds": ("For how long the oldest of them waits.", lambda: self.lag.oldest_s),
            "plugyard_relay_partitions": ("Partitions of the outbox that this process leads.", lambda: len(self._led)),
            "plugyard_relay_published_events": (
                "Events that this process published.",
                lambda: self.published,
            ),
        }

    async def _run(self) -> None:
        pause = SHORTEST_PAUSE_S
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                await self._carry()
            except BrokerAway as error:
                self._trouble.note(str(error))
            except StoreUnavailable:
                self._trouble.note("the outbox cannot be read")
            except Exception as error:  # The service goes on whatever a relay meets, and the relay tries again.
                # Without the values of the trace, which are tenants' data.
                log.warning("the relay has failed", error=repr(error)[:500])
                self._trouble.note(f"the relay has failed ({type(error).__name__})")
            if time.monotonic() - began > STALLED_AFTER_S + LONGEST_PAUSE_S:
                pause = SHORTEST_PAUSE_S
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _carry(self) -> None:
        """Carry until something breaks or the relay is to end. Raises `BrokerAway` and `StoreUnavailable`."""
        topics = (self._settings.topic, self._settings.dead_letters)
        publisher = await Publisher.open(self._settings, topics)
        try:
            outbox = await Outbox.open(self._url)
            try:
                if self._trouble.now:
                    log.info("events are relayed", topic=self._settings.topic)
                self._trouble.over()
                await self._carry_on(outbox, publisher)
                await self._finish(outbox, publisher)
            finally:
                self._led.clear()
                self._leaving.clear()
                # Closed first: a connection that is silent must not be waited for while others could lead.
                await outbox.close()
        finally:
            await publisher.close()
            self._take(publisher)
            self._on_their_way.clear()

    async def _carry_on(self, outbox: Outbox, publisher: Publisher) -> None:
        shares_at = 0.0
        while not self._stopping.is_set():
            if time.monotonic() >= shares_at:
                await self._share(outbox)
                shares_at = time.monotonic() + SHARED_EVERY_S
            await self._mark(outbox, publisher)
            slots = self._slots()
            most = min(AT_A_TIME, ON_THEIR_WAY - len(self._on_their_way))
            rows = await outbox.waiting(slots, self._on_their_way, OF_A_SLOT, most) if slots and most else []
            self._send(rows, publisher)
            if len(rows) == most and most:
                continue  # There is more.
            if rows:
                await outbox.wake()
            if self._on_their_way:
                await publisher.reported(LOOKED_AGAIN_AFTER_S)
            elif not slots:
                await asyncio.sleep(SHARED_EVERY_S)
            elif outbox.asleep_over(slots):
                await outbox.sleep(max(0.0, shares_at - time.monotonic()))
            elif not await outbox.fall_asleep(slots):
                await asyncio.sleep(LOOKED_AGAIN_AFTER_S)

    async def _finish(self, outbox: Outbox, publisher: Publisher) -> None:
        """What was sent is confirmed within a moment, and need not come twice."""
        ends = time.monotonic() + ENDS_WITHIN_S
        while self._on_their_way and time.monotonic() < ends:
            await publisher.reported(LOOKED_AGAIN_AFTER_S)
            await self._mark(outbox, publisher)

    def _slots(self) -> list[int]:
        """The slots that are led, beginning behind the one that was served last, so that each has its turn."""
        staying = self._led - self._leaving
        slots = [slot for slot in range(SLOTS) if self._partition_of(slot) in staying]
        behind = [slot for slot in slots if slot > self._first_slot]
        return behind + slots[: len(slots) - len(behind)]

    def _send(self, rows: list[dict[str, Any]], publisher: Publisher) -> None:
        if rows and not self._on_their_way:
            self._moved_at = time.monotonic()
        for row in rows:
            topic, headers = self._settings.topic, {"content-type": CONTENT_TYPE}
            value = written(row, self._settings.source)
            try:
                publisher.send(row["position"], topic, row["plugin_id"], value, headers)
            except TooLarge as error:
                # It would keep all behind it from ever coming. What is left of it says what it was.
                log.warning("an event is too large for Kafka", event_id=row["id"], type=row["type"], reason=str(error))
                headers["reason"] = str(error)
                value = written({**row, "data": "{}"}, self._settings.source)
                publisher.send(row["position"], self._settings.dead_letters, row["plugin_id"], value, headers)
            self._on_their_way[row["position"]] = row["slot"]
            self._first_slot = row["slot"]

    def _take(self, publisher: Publisher) -> str:
        """Note what has arrived; answers what went wrong."""
        arrived, wrong = publisher.reports()
        for position in arrived:
            self._on_their_way.pop(position, None)
        if arrived:
            self._confirmed += arrived
            self.published += len(arrived)
            self._moved_at = time.monotonic()
        return wrong

    async def _mark(self, outbox: Outbox, publisher: Publisher) -> None:
        wrong = self._take(publisher)
        if self._confirmed:
            await outbox.published(self._confirmed)
            self._confirmed.clear()
        if wrong:
            raise BrokerAway(f"Kafka refused events: {wrong}")
        if self._on_their_way and time.monotonic() - self._moved_at > STALLED_AFTER_S:
            raise BrokerAway(f"Kafka confirms nothing: {publisher.last_error or 'no answer'}")

    async def _share(self, outbox: Outbox) -> None:
        """Lead as many partitions as is this relay's share, and no more."""
        rank, relays = await outbox.rank()
        share = self._partitions // relays + (rank < self._partitions % relays)
        staying = sorted(self._led - self._leaving)
        self._leaving.update(staying[share:])
        busy = {self._partition_of(slot) for slot in self._on_their_way.values()}
        for partition in self._leaving - busy:
            await outbox.give_back(self._slots_of(partition))
            self._led.discard(partition)
        self._leaving &= self._led
        first = rank * self._partitions // relays
        for number in range(self._partitions):
            partition = (first + number) % self._partitions
            if len(self._led) >= share:
                break
            if partition not in self._led and await outbox.lead(self._slots_of(partition)):
                self._led.add(partition)

    def _partition_of(self, slot: int) -> int:
        return ((slot + 1) * self._partitions - 1) // SLOTS

    def _slots_of(self, partition: int) -> list[int]:
        # Neighbours, so that relays which cut the outbox differently leave whole partitions to each other.
        return list(range(partition * SLOTS // self._partitions, (partition + 1) * SLOTS // self._partitions))

    async def _measure(self) -> None:
        """Keep the lag known, over a connection of its own, also while this relay leads nothing."""
        while True:
            try:
                outbox = await Outbox.open(self._url, alone=True)
                try:
                    while True:
                        self.lag = await outbox.lag()
                        await asyncio.sleep(MEASURED_EVERY_S)
                finally:
                    await outbox.close()
            except StoreUnavailable:
                pass  # The relay itself says so.
            except Exception as error:  # The last lag would otherwise be told for ever.
                log.warning("the lag of the outbox cannot be measured", error=repr(error)[:500])
            await asyncio.sleep(LONGEST_PAUSE_S)
