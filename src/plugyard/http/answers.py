"""What a handler gives back: bytes that are ready to be sent, or a stream."""

from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

encode = msgspec.json.Encoder().encode
JSON = "application/json"
EXTENSION = "plugyard"
"""The name of the server's own extension of ASGI's scope; `server.Direct` says what it can."""
WHOLE = "plugyard.answer"
"""The type of a message that is a whole answer. `middleware.Around` passes it on in the server's terms."""


class Answer:
    """A status, headers and a body, sent as they are."""

    def __init__(
        self,
        body: bytes,
        *,
        status: int = 200,
        media_type: str = JSON,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        self.status, self.body = status, body
        # RFC 9110, 8.6: an answer without content says nothing of its length.
        described = [
            (b"content-type", media_type.encode("latin-1")),
            (b"content-length", str(len(body)).encode()),
        ]
        self._sent = [
            *(described if status != 204 else ()),
            *((name.encode("latin-1"), value.encode("latin-1")) for name, value in headers),
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a HEAD request gets the same headers and no body (RFC 9110, 9.3.2)."""
        await send({"type": WHOLE, "status": self.status, "headers": self._sent, "body": self.body})


def json_answer(value: Any, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> Answer:
    """A value as JSON."""
    return Answer(encode(value), status=status, headers=headers)


class ByteStream:
    """Pieces of a body, as they come, until the iterator ends or the client leaves.

    An error on the way breaks the connection off, so that nobody takes a part for the whole.
    """

    def __init__(
        self, pieces: AsyncGenerator[bytes, None], media_type: str, headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        self._pieces, self._media_type, self._more = pieces, media_type, tuple(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send each piece when the one before is on its way. ``X-Accel-Buffering`` tells proxies to pass it on."""
        headers = [(b"content-type", self._media_type.encode("latin-1")), (b"x-accel-buffering", b"no"), *self._more]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async with aclosing(self._pieces) as pieces:
            if scope.get("method") != "HEAD":
                async for piece in pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class EventStream(ByteStream):
    """Server-sent events."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        super().__init__(events, "text/event-stream; charset=utf-8")


class Download(ByteStream):
    """A file that is made while it is sent, under a name to save it by."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str, name: str) -> None:
        super().__init__(pieces, media_type, [(b"content-disposition", f'attachment; filename="{name}"'.encode())])
