"""The HTTP server: uvicorn in this process and on this event loop, with bounds on what comes before a request's body.

``bootstrap`` runs one. uvicorn reads HTTP/1.1 with llhttp, which judges every byte and bounds none of it; what a
stranger may send before anything of ours looks at it is bounded here.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from plugyard.http.answers import EXTENSION
from plugyard.http.problems import MEDIA_TYPE, PROBLEMS

MAX_HEAD_BYTES = 64 * 1024
HEAD_WITHIN_S = 30.0
KEEP_ALIVE_S = 75.0
LINGERS_S = 1.0
_BACKLOG = 1024
_LOOKED_AT_EVERY_S = 0.02


class Direct:
    """The way past ASGI for what nearly every request is: a body that came whole, and an answer that leaves whole.

    An extension of ASGI's scope under the name ``EXTENSION``, so that another server, as tests use, has no need of it.
    One write for head and body is one packet and one wake-up of the client; two messages of ASGI would be two.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    def body(self) -> bytes | None:
        """The whole body, if it has come; otherwise it is to be received piece by piece."""
        cycle = self._cycle
        if cycle.more_body or cycle.disconnected:
            return None
        whole, cycle.body = bytes(cycle.body), bytearray()
        cycle.flow.resume_reading()
        return whole

    async def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """Send all of it. Names and values of headers are ours, and have been checked."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        lines = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if cycle.scope["method"] != "HEAD":
            lines.append(body)
        cycle.response_started = cycle.response_complete = True
        cycle.transport.write(b"".join(lines))
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, where the head of a request has a size and a time (RFC 6585, section 5; RFC 9110, 15.5.9)."""

    _head_bytes = 0
    _in_head = True
    _last = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A connection that says nothing is ended like one that says it too slowly."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes while the head is not complete."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_timer is None:
                self._expect_head()
        super().data_received(data)
        # llhttp hands a field over when it is whole, so a head that never ends is seen by its bytes alone.
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse("malformed_request", f"The head of the request has more than {MAX_HEAD_BYTES} bytes.")

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._in_head = False
        self._head_is_there()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next byte begins another head."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def end_with_answer(self) -> None:
        """Close behind the answer that is under way, or the next one; it says so (RFC 9112, section 9.6)."""
        self._last = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if self._last:
            cycle.keep_alive = False
        extensions: dict[str, Any] = {EXTENSION: Direct(cycle)}
        cycle.scope["extensions"] = extensions
        super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP as every other fault is answered, and close."""
        self._refuse("malformed_request", "What was sent is no HTTP/1.1 request.")

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_WITHIN_S, self._head_is_late)

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_is_late(self) -> None:
        self._head_timer = None
        if self._head_bytes:
            self._refuse("request_timeout", f"The head was not complete within {HEAD_WITHIN_S:g} seconds.")
        else:
            self.transport.close()

    def _refuse(self, code: str, detail: str) -> None:
        """Answer by hand: there is no request yet that the application could answer."""
        status, title = PROBLEMS[code]
        document: dict[str, Any] = {
            "type": f"/docs#problem-{code}",
            "title": title,
            "status": status,
            "detail": detail,
            "code": code,
            "errors": [],
        }
        body = msgspec.json.encode(document)
        head = (
            f"HTTP/1.1 {status} {title}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()


class Server(uvicorn.Server):
    """Serves one application on one socket until it is told to stop. Signals are the command line's business.

    A connection that is kept alive is not closed at once then, for a request may be on its way in it; for ``lingers_s``
    it may bring one more.
    """

    def __init__(self, app: ASGIApp, *, lingers_s: float = 0.0) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                log_level="error",  # what strangers send wrong is answered, and is no news
                access_log=False,
                backlog=_BACKLOG,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=int(KEEP_ALIVE_S),
            )
        )

        self.listening = asyncio.Event()
        self._lingers_s = lingers_s

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and say so."""
        await super().startup(sockets)
        self.listening.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Refuse connections, let those that there are end with an answer, and wait for what is under way."""
        loop = asyncio.get_running_loop()
        made = _not_taken_yet(sockets or []) if self._lingers_s else []
        for server in self.servers:
            server.close()
        for one in sockets or []:
            one.close()
        for one in made:
            with contextlib.suppress(OSError):
                await loop.connect_accepted_socket(self._protocol, one)
        clock = loop.time
        ends = clock() + self._lingers_s
        while self.server_state.connections and clock() < ends:
            # Again each time: one may have been taken at the last moment.
            for connection in list(self.server_state.connections):
                connection.end_with_answer()  # type: ignore[union-attr]
            await asyncio.sleep(_LOOKED_AT_EVERY_S)
        await super().shutdown(sockets)

    def _protocol(self) -> BoundedProtocol:
        return BoundedProtocol(self.config, self.server_state, self.lifespan.state)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to whoever runs this process."""
        yield

    def stop(self) -> None:
        """Take no more requests; ``serve`` returns when those under way have been answered."""
        self.should_exit = True


def _not_taken_yet(listeners: list[socket.socket]) -> list[socket.socket]:
    """Connections that the kernel has made already. With the listener it would reset them, sent on or not."""
    made = []
    for listener in listeners:
        with contextlib.suppress(OSError):
            while True:
                one, _ = listener.accept()
                one.setblocking(False)
                made.append(one)
    return made
