"""One statement that is run again and again over one connection. Used by the recorder, for each batch.

psycopg makes the connection and says what errors mean. A run leaves the rest out: nothing is asked of the statement or
of its parameter, which is text, and the socket stays with the event loop from one run to the next, where a cursor would
take it there and away again each time. For a caller that is alone, that is a good part of what an execution costs.

The loop watches a descriptor of ours for the same socket: libpq closes its own as soon as the connection is lost, the
next connection gets its number, and whoever then took "the old socket" from the loop would leave that one unheard.

Of a socket that is broken, as by a reset, uvloop tells once and then no more, even where something lies there unread:
the server's last words. What is broken is therefore read to its end at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from typing import Any

import psycopg
from psycopg import errors, pq

from plugyard.infrastructure.postgres.silence import SEEN_HERE

_NAME = b"repeated"
_GOOD = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)
_LONGEST_S = 40.0
"""How long a run waits for the server; longer than the server's own `statement_timeout`."""


class RepeatedStatement:
    """`open` one, then `run` it, one run at a time; `close` it, or whatever was lost, at the end.

    Every run is a transaction of its own. Errors are psycopg's: `OperationalError` where the connection was lost, after
    which there is nothing but to open another.
    """

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._libpq = connection.pgconn
        self._done: asyncio.Future[None] | None = None
        self._failure: Exception | None = None
        self._socket = os.dup(self._libpq.socket)
        self._watching = True
        self._writing = False
        self._broken = select.poll()
        self._broken.register(self._socket, 0)  # For errors and the end of both directions, which are always told.

    @classmethod
    async def open(cls, url: str, statement: str, options: str) -> RepeatedStatement:
        """Connect and have the server prepare the statement, whose one parameter is `$1`."""
        connection = await psycopg.AsyncConnection.connect(
            url, autocommit=True, connect_timeout=5, options=options, **SEEN_HERE
        )
        try:
            # As SQL and not by the protocol, because psycopg waits for that without holding the loop up.
            await connection.execute(f"prepare {_NAME.decode()} as {statement}".encode())
        except BaseException:
            await connection.close()
            raise
        repeated = cls(connection)
        connection.pgconn.nonblocking = 1
        repeated._loop.add_reader(repeated._socket, repeated._on_readable)
        return repeated

    @property
    def usable(self) -> bool:
        """Whether another run may be tried; what is not usable any more never is again."""
        return self._watching and self._libpq.status == pq.ConnStatus.OK

    @property
    def backend(self) -> int:
        """The process id of the server's side."""
        return self._libpq.backend_pid

    @property
    def descriptor(self) -> int:
        """libpq's own descriptor of the socket, which it closes when the connection is lost."""
        return self._libpq.socket

    async def run(self, parameter: bytes) -> None:
        """Returns when the transaction is on disk. `parameter` is UTF-8 without NUL."""
        if self._done is not None:
            raise psycopg.InterfaceError("one run at a time")
        if not self.usable:
            raise psycopg.OperationalError("the connection is lost")
        self._done = self._loop.create_future()
        self._failure = None
        overdue = self._loop.call_later(_LONGEST_S, self._lost, psycopg.OperationalError("the server does not answer"))
        try:
            self._libpq.send_query_prepared(_NAME, [parameter])
            self._flush()
            await self._done
        finally:
            overdue.cancel()
            self._done = None

    async def close(self) -> None:
        """End the connection."""
        self._unwatch()
        with contextlib.suppress(psycopg.Error):
            await self._connection.close()

    def _flush(self) -> None:
        left = self._libpq.flush()
        if left and not self._writing and self._watching:
            self._writing = True
            self._loop.add_writer(self._socket, self._on_writable)
        elif not left and self._writing and self._watching:
            self._writing = False
            self._loop.remove_writer(self._socket)

    def _on_writable(self) -> None:
        # What the server says meanwhile has to be read, or both would wait for each other.
        self._on_readable()
        if self._watching:
            try:
                self._flush()
            except psycopg.Error as error:
                self._lost(error)

    def _on_readable(self) -> None:
        try:
            self._read()
            while self._watching and self._broken.poll(0):
                self._read()  # It raises when nothing is left.
        except psycopg.Error as error:
            self._lost(error)
        else:
            if self._libpq.status != pq.ConnStatus.OK:
                self._lost(psycopg.OperationalError("the connection is lost"))

    def _read(self) -> None:
        self._libpq.consume_input()
        while not self._libpq.is_busy():
            result = self._libpq.get_result()
            if result is None:
                self._settle()
                return
            if result.status not in _GOOD and self._failure is None:
                self._failure = errors.error_from_result(result)

    def _settle(self) -> None:
        if self._done is None or self._done.done():
            # Between two runs the server speaks only to say that it ends.
            return
        if self._failure is not None:
            self._done.set_exception(self._failure)
        else:
            self._done.set_result(None)

    def _lost(self, error: Exception) -> None:
        # A socket at its end stays readable, and would be told of for ever.
        self._unwatch()
        if self._done is not None and not self._done.done():
            # What the server said as it ended the connection tells more than that it is gone.
            known = next((one for one in (self._failure, error) if isinstance(one, psycopg.OperationalError)), None)
            self._done.set_exception(known or psycopg.OperationalError(str(error)))

    def _unwatch(self) -> None:
        """Take the descriptor from the loop and close it, once: afterwards its number may be somebody else's."""
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            os.close(self._socket)
