"""Answers that last: a tenant has so many of a kind at a time, and each ends with its reader."""

import asyncio
from collections.abc import AsyncGenerator

from plugyard.domain.errors import Overloaded
from plugyard.http.exchange import Exchange


def require_room(exchange: Exchange, kind: str, most: int) -> None:
    """Raise ``Overloaded`` where the tenant has as many answers of this kind under way as it may.

    To be asked before the answer is begun, and again when that has waited for something: others begin meanwhile.
    """
    if exchange.service.streams[_name(exchange, kind)] >= most:
        raise Overloaded(f"The tenant has {most} of this under way: {kind}. End one first.", retry_after_s=5)


async def counted(exchange: Exchange, kind: str, pieces: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The pieces, counted as one answer of the tenant until they end or their reader has left."""
    streams, name = exchange.service.streams, _name(exchange, kind)
    streams[name] += 1
    left = asyncio.ensure_future(_client_left(exchange))
    try:
        async for piece in pieces:
            if left.done():
                return
            yield piece
    finally:
        left.cancel()
        await pieces.aclose()
        streams[name] -= 1
        if not streams[name]:
            del streams[name]


def _name(exchange: Exchange, kind: str) -> str:
    return f"{kind} {exchange.caller.tenant_id}"


async def _client_left(exchange: Exchange) -> None:
    while (await exchange.receive())["type"] != "http.disconnect":
        pass
