"""Servers on loopback, and the http service that speaks to them.

Every name leads to loopback by a lookup of the tests' own; `allow_private` is on for them alone.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.services.base import Scope
from plugyard.sandbox.services.egress.addresses import Lookup
from plugyard.sandbox.services.http import EgressSettings, HttpEgress

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Raw = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
GZIP = {"Content-Encoding": "gzip"}
SMALL = EgressSettings(allow_private=True, response_bytes=100_000, timeout_s=5, response_header_bytes=8_000)


async def loopback(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


@contextlib.asynccontextmanager
async def server(
    handler: Handler, address: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """An HTTP server that gives every request to `handler`; its port."""
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, address, port, ssl_context=tls)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw_server(talk: Raw) -> AsyncIterator[int]:
    """A server that speaks as `talk` does, after the head of a request."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await talk(reader, writer)
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for writer in writers:
            writer.close()
        await listening.wait_closed()


@contextlib.asynccontextmanager
async def egress(settings: EgressSettings = SMALL, lookup: Lookup = loopback) -> AsyncIterator[HttpEgress]:
    service = HttpEgress(settings, lookup)
    try:
        yield service
    finally:
        await service.close()


def scope(*hosts: str, tenant: str = "acme", seconds: float = 10, **narrowed: tuple[str, ...]) -> Scope:
    grant = Permission(Service.NETWORK, hosts=hosts, **narrowed)
    return Scope(tenant, "plugin", "execution", grant, asyncio.get_running_loop().time() + seconds)


async def get(service: HttpEgress, within: Scope, url: str, method: str = "GET", **options: Any) -> dict[str, Any]:
    answer: dict[str, Any] = await service.call(within, "request", {"method": method, "url": url, "options": options})
    return answer


def lower(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


async def echo(request: web.Request) -> web.Response:
    told = {
        "method": request.method,
        "path": request.raw_path,
        "headers": lower(request),
        "body": (await request.read()).decode("latin-1"),
    }
    return web.json_response(told, headers={"X-Peer": str(request.transport and id(request.transport))})


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)
