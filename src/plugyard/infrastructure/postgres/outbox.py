"""The outbox as a relay sees it: which slots it leads, what waits in them, and sleep until something does.

Everything goes over one connection of the relay's own. The advisory locks by which a relay leads belong to its session,
so PostgreSQL takes them back as soon as the relay or its connection is gone, and a relay that lost the lock can neither
read nor mark. Used by `plugyard.infrastructure.relay`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
from psycopg.rows import DictRow, dict_row

from plugyard.infrastructure.postgres.errors import translated
from plugyard.infrastructure.postgres.silence import SEEN_HERE, SEEN_THERE
from plugyard.infrastructure.postgres.statements import statements

SLOTS = 64
"""Into how many slots migration 0010 cuts the outbox."""

MOST_COUNTED = 100_000
"""A lag is counted so far; what waits beyond makes no difference to who reads it."""

# Advisory locks are named by two numbers: one of these and a slot. The first is also in migration 0010.
_SLEEPING, _LEADING, _RELAYS = 1_886_151_525, 1_886_151_526, 1_886_151_527
_CHANNEL = "plugyard_outbox"
_ANSWERS_WITHIN_S = 10.0
# A mark that is lost with the server makes a duplicate, which is no reason to wait for a disk.
_OPTIONS = (
    "-c search_path=plugyard -c timezone=UTC -c plugyard.operator=on -c statement_timeout=8s -c synchronous_commit=off "
    # The plan depends on how much is on its way, so one for all would be the wrong one.
    "-c plan_cache_mode=force_custom_plan" + SEEN_THERE
)
_SQL = statements("outbox")


@dataclass(frozen=True)
class Lag:
    """How many events wait, at most `MOST_COUNTED`, and for how long the oldest has (s)."""

    waiting: int = 0
    oldest_s: float = 0.0


class Outbox:
    """One relay's session with the outbox. Its methods raise `StoreUnavailable` where it is lost."""

    def __init__(self, connection: psycopg.AsyncConnection[DictRow], pid: int) -> None:
        self._connection = connection
        self._pid = pid
        self._asleep: tuple[int, ...] = ()

    @classmethod
    async def open(cls, url: str, *, alone: bool = False) -> Outbox:
        """Connects, and makes this relay known to the others; `alone` is for who only looks at the lag."""
        with translated():
            connection = await psycopg.AsyncConnection[DictRow].connect(
                url,
                autocommit=True,
                connect_timeout=5,
                options=_OPTIONS,
                row_factory=dict_row,
                **SEEN_HERE,
            )
            try:
                if alone:
                    return cls(connection, 0)
                await connection.execute(f"listen {_CHANNEL}")
                row = await (await connection.execute(_SQL["join"], {"key": _RELAYS})).fetchone()
            except BaseException:
                await connection.close()
                raise
        return cls(connection, row["pid"] if row else 0)

    async def close(self) -> None:
        """Disconnects, by which all that it led is free."""
        await self._connection.close()

    async def rank(self) -> tuple[int, int]:
        """Which of the relays this one is, counted from 0, and how many there are."""
        pids = [row["pid"] for row in await self._all("relays", {"key": _RELAYS})]
        return pids.index(self._pid), len(pids)

    async def lead(self, slots: Sequence[int]) -> bool:
        """Takes the lead of all these slots, or of none where another relay leads one of them."""
        rows = await self._all("lead", {"key": _LEADING, "slots": list(slots)})
        taken = [row["slot"] for row in rows if row["taken"]]
        if len(taken) == len(slots):
            return True
        await self._all("give back", {"key": _LEADING, "slots": taken})
        return False

    async def give_back(self, slots: Sequence[int]) -> None:
        """Leads them no longer. Nothing of them may be on its way."""
        await self.wake()
        await self._all("give back", {"key": _LEADING, "slots": list(slots)})

    async def waiting(
        self, slots: Sequence[int], on_their_way: Iterable[int], of_each: int, most: int
    ) -> list[dict[str, Any]]:
        """The oldest events that wait in these slots and are not on their way, in their order.

        So many of each slot and so many in all, the first slots first.
        """
        parameters = {"slots": list(slots), "on_their_way": list(on_their_way), "of_each": of_each, "most": most}
        return sorted(await self._all("waiting", parameters), key=lambda row: row["position"])

    async def published(self, positions: Sequence[int]) -> None:
        """Marks events as published, whoever leads them by now."""
        with translated():
            await self._within(self._connection.execute(_SQL["published"], {"positions": list(positions)}))

    async def lag(self) -> Lag:
        """What waits, of all slots."""
        (row,) = await self._all("lag", {"most": MOST_COUNTED})
        oldest = row["oldest"]
        age = 0.0 if oldest is None else (datetime.now(UTC) - oldest).total_seconds()
        return Lag(row["waiting"], max(0.0, age))

    async def fall_asleep(self, slots: Sequence[int]) -> bool:
        """From here on whoever writes to these slots sends a notification; look once more before you `sleep`.

        Answers no where somebody is just writing, for that one will not.
        """
        await self.wake()
        rows = await self._all("lead", {"key": _SLEEPING, "slots": list(slots)})
        self._asleep = tuple(sorted(row["slot"] for row in rows if row["taken"]))
        if len(self._asleep) == len(slots):
            return True
        await self.wake()
        return False

    def asleep_over(self, slots: Sequence[int]) -> bool:
        """Whether `fall_asleep` holds for exactly these slots, in whatever order."""
        return self._asleep == tuple(sorted(slots))

    async def wake(self) -> None:
        """From here on nobody needs to send a notification."""
        if self._asleep:
            asleep, self._asleep = self._asleep, ()
            await self._all("give back", {"key": _SLEEPING, "slots": list(asleep)})

    async def sleep(self, at_most_s: float) -> None:
        """Returns at the next notification, or after so many seconds."""
        with translated():
            async for _ in self._connection.notifies(timeout=at_most_s, stop_after=1):
                pass

    async def _all(self, title: str, parameters: dict[str, Any]) -> list[DictRow]:
        with translated():
            cursor = await self._within(self._connection.execute(_SQL[title], parameters))
            return await cursor.fetchall()

    async def _within(self, answer: Any) -> psycopg.AsyncCursor[DictRow]:
        """A server that is silent for too long counts as lost."""
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            return cast(psycopg.AsyncCursor[DictRow], await answer)
