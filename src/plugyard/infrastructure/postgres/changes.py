"""Listens for what other replicas change (PostgreSQL's LISTEN and NOTIFY). Made by `plugyard.bootstrap`.

The triggers of migration 0009 tell of each change when it is committed. One connection listens; while it is lost
nothing is heard, so whoever listens is told when it is there again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import structlog

from plugyard.application.changes import Change, Changed
from plugyard.infrastructure.postgres.silence import SEEN_HERE, SEEN_THERE

CHANNEL = "plugyard_changes"
_OPTIONS = "-c search_path=plugyard -c timezone=UTC" + SEEN_THERE
_LIVES = "select pg_advisory_lock_shared(1886151528, hashtext(%s))"
_AGAIN_S = 0.5
# A connection whose other end has gone without a word is noticed by asking.
_ASKED_EVERY_S = 5.0
log = structlog.get_logger("plugyard")


class ChangeFeed:
    """Tells of each change of another replica, in the order of the commits.

    `replica` is this one's name, which its own connections carry: what it changed itself it knows.
    """

    def __init__(
        self,
        url: str,
        replica: str,
        on_change: Callable[[Change], Awaitable[None]],
        on_missed: Callable[[], None],
    ) -> None:
        self._url, self._replica = url, replica
        self._on_change, self._on_missed = on_change, on_missed
        self.listening = asyncio.Event()

    async def run(self) -> None:
        """Listen until cancelled; a connection that is lost is made again."""
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(
                    self._url,
                    autocommit=True,
                    connect_timeout=5,
                    options=_OPTIONS,
                    application_name="plugyard changes",
                    **SEEN_HERE,
                ) as connection:
                    await connection.execute(f"listen {CHANNEL}")
                    # By this the others see that this replica lives, and whether what it claimed is still its own.
                    await connection.execute(_LIVES, [self._replica])
                    # Before this, changes were told to nobody.
                    self._on_missed()
                    self.listening.set()
                    await self._listen(connection)
            except (psycopg.Error, OSError) as error:
                log.warning("changes of other replicas are not heard", error=str(error))
            finally:
                self.listening.clear()
            await asyncio.sleep(_AGAIN_S)

    async def _listen(self, connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
        while True:
            async for notification in connection.notifies(timeout=_ASKED_EVERY_S):
                await self._tell(notification.payload)
            await asyncio.wait_for(connection.execute("select 1"), _ASKED_EVERY_S)

    async def _tell(self, line: str) -> None:
        by, _, rest = line.partition(" ")
        if by == self._replica:
            return
        change = change_of(rest)
        if change is None:
            # A newer replica may tell of what this one does not know yet; reading everything anew is always right.
            self._on_missed()
        else:
            await self._on_change(change)


def change_of(line: str) -> Change | None:
    """The change that a line tells of, behind the replica's name; `None` for one that is not understood."""
    words = line.split(" ")
    if len(words) != 3 or words[0] not in set(Changed):
        return None
    of = Changed(words[0])
    if of is Changed.KEY:
        return Change(of)
    return Change(of, words[1], "" if of is Changed.HALTED else words[2])
