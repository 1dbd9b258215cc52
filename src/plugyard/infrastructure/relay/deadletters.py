"""Puts aside what the inbox cannot take: the message as it came, on a topic of its own, with the reason.

`consumer.py` uses it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from plugyard.infrastructure.relay.publisher import LARGEST_MESSAGE, BrokerAway, Publisher, TooLarge
from plugyard.infrastructure.relay.settings import KafkaSettings

CONFIRMED_WITHIN_S = 5.0
LONGEST_REASON = 1_000


class DeadLetters:
    """One writer of dead letters. It connects when there is something to write."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._publisher: Publisher | None = None
        self._turn = asyncio.Lock()

    async def add(
        self, key: bytes | None, value: bytes, headers: Mapping[str, bytes], about: Mapping[str, str], reason: str
    ) -> None:
        """Returns when Kafka has it. Raises `BrokerAway`, after which it may be there or not."""
        own = {**about, "reason": reason[:LONGEST_REASON]}
        async with self._turn:
            if self._publisher is None:
                self._publisher = await Publisher.open(self._settings, (self._settings.dead_letters,))
            try:
                await self._write(self._publisher, key, value, headers, own)
            except BaseException:
                await self._close()
                raise

    async def _write(
        self,
        publisher: Publisher,
        key: bytes | None,
        value: bytes,
        headers: Mapping[str, bytes],
        own: Mapping[str, str],
    ) -> None:
        try:
            publisher.send(1, self._settings.dead_letters, key, value, {**headers, **own})
        except TooLarge:
            # Somebody else wrote it, with larger limits than ours. Its beginning says what it was.
            cut = {**own, "cut": f"the message has {len(value)} bytes"}
            publisher.send(1, self._settings.dead_letters, None, value[: LARGEST_MESSAGE // 4], cut)
        ends = time.monotonic() + CONFIRMED_WITHIN_S
        while time.monotonic() < ends:
            await publisher.reported(ends - time.monotonic())
            arrived, wrong = publisher.reports()
            if wrong:
                raise BrokerAway(wrong)
            if arrived:
                return
        raise BrokerAway(publisher.last_error or "a dead letter was not confirmed")

    async def close(self) -> None:
        """Disconnect."""
        async with self._turn:
            await self._close()

    async def _close(self) -> None:
        publisher, self._publisher = self._publisher, None
        if publisher is not None:
            await publisher.close()
