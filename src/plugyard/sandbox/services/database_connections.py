"""Connections to plugins' databases: each as the plugin's own role, few for each tenant, closed when idle.

``database`` takes one for a statement or for a transaction. A connection that is in doubt is never used again: what it
runs is cancelled and it is closed, and its place is free only then.
"""

import asyncio
import contextlib
import os
import select
import socket
import struct
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
from psycopg import pq

from plugyard.domain.errors import PlugyardError
from plugyard.sandbox.services.base import ServiceFault

_CHUNK_ROWS = 256
_CANCELS_WITHIN_S = 2.0
# Where the count of bytes received stands in `struct tcp_info`. Source: linux/tcp.h.
_BYTES_RECEIVED = struct.Struct("=Q")
_BYTES_RECEIVED_AT = 128

Key = tuple[str, str]


class TooLarge(Exception):
    """A result goes on beyond the cap."""


@dataclass(eq=False)
class Session:
    """One connection of a plugin's role. ``run`` speaks the extended protocol alone, which takes one statement."""

    key: Key
    connection: psycopg.AsyncConnection[tuple[object, ...]]
    doubtful: bool = False
    expiry: asyncio.TimerHandle | None = None
    _socket: socket.socket = field(init=False)

    def __post_init__(self) -> None:
        self._pgconn = self.connection.pgconn
        # A descriptor of its own: libpq closes its own when the connection is lost, and another takes the number.
        self._socket = socket.socket(fileno=os.dup(self._pgconn.socket))

    @property
    def idle(self) -> bool:
        """Whether it is open, outside of any transaction, and the server has said nothing unasked (as at its end)."""
        if self._pgconn.status != pq.ConnStatus.OK:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return self._pgconn.transaction_status == pq.TransactionStatus.IDLE and not poll.poll(0)

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it a failed one."""
        status = self._pgconn.transaction_status
        return status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    @property
    def transaction_failed(self) -> bool:
        """Whether a transaction is open in which a statement has failed: a commit would roll it back."""
        return self._pgconn.transaction_status == pq.TransactionStatus.INERROR

    async def run(self, sql: bytes, values: list[bytes | None], cap_bytes: int) -> AsyncIterator[pq.abc.PGresult]:
        """The statement's results as they arrive: chunks of rows, and a last one that has none or is an error.

        Whoever does not take them to the end must not use the session again; it is doubtful until then. Raises
        ``TooLarge`` once more than ``cap_bytes`` have arrived, however much of them is one row, and
        ``psycopg.OperationalError`` when the connection is lost.
        """
        self.doubtful = True
        self._pgconn.send_query_params(sql, values or None)
        self._pgconn.set_chunked_rows_mode(_CHUNK_ROWS)
        began = self._received()
        while self._pgconn.flush():
            await self._ready(writing=True)
        while True:
            while self._pgconn.is_busy():
                await self._ready()
                if self._received() - began > cap_bytes:
                    raise TooLarge
                self._pgconn.consume_input()
            # One look at the input can take more than was there when it was last counted.
            if self._received() - began > cap_bytes:
                raise TooLarge
            result = self._pgconn.get_result()
            if result is None:
                break
            yield result
            if result.status in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH):
                return
        self.doubtful = False

    def close(self) -> None:
        """Close it at once."""
        if self.expiry is not None:
            self.expiry.cancel()
        if self._socket.fileno() >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket.fileno())
            loop.remove_writer(self._socket.fileno())
            self._socket.close()
        self._pgconn.finish()

    async def cancel(self) -> None:
        """Ask the server to end what runs here."""
        if self._pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
            with contextlib.suppress(psycopg.Error, OSError):
                await self.connection.cancel_safe(timeout=_CANCELS_WITHIN_S)

    def _received(self) -> int:
        """How many bytes have arrived on this connection; libpq holds a row whole, so it is looked at before."""
        info = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED_AT + 8)
        return int(_BYTES_RECEIVED.unpack_from(info, _BYTES_RECEIVED_AT)[0])

    async def _ready(self, *, writing: bool = False) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        descriptor = self._socket.fileno()

        def ready() -> None:
            if not future.done():
                future.set_result(None)

        loop.add_reader(descriptor, ready)
        if writing:
            loop.add_writer(descriptor, ready)
        try:
            await future
        finally:
            # Where the session was closed meanwhile, the number may be somebody else's by now.
            if self._socket.fileno() == descriptor:
                loop.remove_reader(descriptor)
                if writing:
                    loop.remove_writer(descriptor)
        if writing:
            # The server may have to be listened to before it reads on.
            self._pgconn.consume_input()


@dataclass(eq=False, slots=True)
class _Waiter:
    key: Key
    # A session, or None for leave to connect.
    future: asyncio.Future[Session | None]


class Connections:
    """Sessions by plugin. ``provide`` makes a plugin's role where it is missing; ``address`` says how to connect."""

    def __init__(
        self,
        provide: Callable[[str, str], Awaitable[None]],
        address: Callable[[str, str], str],
        *,
        at_most: int = 24,
        per_tenant: int = 4,
        idle_s: float = 60.0,
    ) -> None:
        self._provide = provide
        self._address = address
        self._at_most = at_most
        self._per_tenant = per_tenant
        self._idle_s = idle_s
        self._count = 0
        self._of_tenant: dict[str, int] = {}
        self._idle: OrderedDict[Session, None] = OrderedDict()
        self._waiting: list[_Waiter] = []
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def count(self) -> int:
        """How many there are."""
        return self._count

    @asynccontextmanager
    async def borrowed(self, key: Key, within_s: float) -> AsyncIterator[Session]:
        """A session for the block; raises ``ServiceFault`` where none is free or can be made."""
        session = await self.take(key, within_s)
        try:
            yield session
        finally:
            self.give_back(session)

    async def take(self, key: Key, within_s: float) -> Session:
        """A session, to be given back; raises ``ServiceFault``."""
        granted, session = self._grant(key)
        if not granted:
            session = await self._wait(key, within_s)
        if session is not None:
            return session
        try:
            return await self._connect(key)
        except BaseException:
            self._free(key)
            raise

    def give_back(self, session: Session) -> None:
        """The session may serve again, if it is as clean as it was."""
        if session.doubtful or not session.idle:
            task = asyncio.get_running_loop().create_task(self._end(session))
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            return
        session.expiry = asyncio.get_running_loop().call_later(self._idle_s, self._expire, session)
        self._idle[session] = None
        self._pump()

    async def close(self) -> None:
        """Close all that are idle, and wait for those that are ending."""
        for session in list(self._idle):
            self._expire(session)
        if self._ending:
            await asyncio.wait(self._ending)

    def forget(self, key: Key) -> None:
        """Close the plugin's idle sessions."""
        for session in [one for one in self._idle if one.key == key]:
            self._expire(session)

    def _grant(self, key: Key) -> tuple[bool, Session | None]:
        """Whether a session may be had now, and it, if there is one that waits."""
        for session in reversed([one for one in self._idle if one.key == key]):
            del self._idle[session]
            if session.expiry is not None:
                session.expiry.cancel()
            if session.idle:
                return True, session
            session.close()
            self._uncount(key)
        if self._of_tenant.get(key[0], 0) >= self._per_tenant and not self._evict(key[0]):
            return False, None
        if self._count >= self._at_most and not self._evict(None):
            return False, None
        self._count += 1
        self._of_tenant[key[0]] = self._of_tenant.get(key[0], 0) + 1
        return True, None

    def _evict(self, tenant_id: str | None) -> bool:
        """Close the session that has been idle longest, of this tenant or of any."""
        for session in self._idle:
            if tenant_id is None or session.key[0] == tenant_id:
                del self._idle[session]
                session.close()
                self._uncount(session.key)
                return True
        return False

    async def _wait(self, key: Key, within_s: float) -> Session | None:
        waiter = _Waiter(key, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(within_s):
                return await waiter.future
        except BaseException as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.future.done() and not waiter.future.cancelled():
                session = waiter.future.result()
                if session is not None:
                    self.give_back(session)
                else:
                    self._free(key)
            if isinstance(error, TimeoutError):
                raise ServiceFault("database_busy", "no connection became free in time; use fewer at a time") from None
            raise

    def _pump(self) -> None:
        """Let those in that wait, the first first, as far as there is room for them."""
        for waiter in list(self._waiting):
            if waiter.future.done():
                continue
            granted, session = self._grant(waiter.key)
            if granted:
                self._waiting.remove(waiter)
                waiter.future.set_result(session)

    async def _connect(self, key: Key) -> Session:
        try:
            try:
                return await self._connected(key)
            except psycopg.OperationalError:
                # The role may be missing: a copy of the data was restored, or its making was interrupted.
                await self._provide(*key)
                return await self._connected(key)
        except (psycopg.Error, PlugyardError) as error:
            raise ServiceFault("service_unavailable", "the database cannot be reached; try again later") from error

    async def _connected(self, key: Key) -> Session:
        return Session(key, await psycopg.AsyncConnection.connect(self._address(*key), autocommit=True))

    def _expire(self, session: Session) -> None:
        if session in self._idle:
            del self._idle[session]
            session.close()
            self._free(session.key)

    async def _end(self, session: Session) -> None:
        try:
            await session.cancel()
        finally:
            session.close()
            self._free(session.key)

    def _uncount(self, key: Key) -> None:
        self._count -= 1
        left = self._of_tenant[key[0]] - 1
        if left:
            self._of_tenant[key[0]] = left
        else:
            del self._of_tenant[key[0]]

    def _free(self, key: Key) -> None:
        self._uncount(key)
        self._pump()
