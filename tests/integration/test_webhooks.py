"""Webhooks behind the fences of the http service, against a real server on loopback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from plugyard.domain.permissions import Permission, Service
from plugyard.domain.queue import Delivery
from plugyard.sandbox.services.http import EgressSettings, HttpEgress
from plugyard.sandbox.services.webhooks import NO_GRANT, EgressWebhooks


@dataclass
class Listener:
    """Says one thing to whoever calls, and remembers what it was told."""

    answer: bytes
    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        self.heard.append(head + await reader.readexactly(length))
        writer.write(b"HTTP/1.1 " + self.answer + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


async def loopback(host: str, port: int) -> tuple[str, ...]:
    return ("127.0.0.1",)


@asynccontextmanager
async def webhooks(answer: bytes, *, private: bool = True) -> AsyncIterator[tuple[EgressWebhooks, Listener]]:
    listener = Listener(answer)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    egress = HttpEgress(EgressSettings(allow_private=private), loopback)
    try:
        yield EgressWebhooks(egress), listener
    finally:
        await egress.close()
        server.close()
        await server.wait_closed()


def granted(listener: Listener, **more: tuple[str, ...]) -> list[Permission]:
    return [Permission(Service.NETWORK, hosts=(f"hooks.example:{listener.port}",), **more)]


def delivery(listener: Listener) -> Delivery:
    return Delivery("execution-1", "tenant-1", "plugin-1", f"http://hooks.example:{listener.port}/done", 1)


async def test_what_is_told_arrives_as_it_was_said() -> None:
    async with webhooks(b"204 No Content") as (hooks, listener):
        headers = {"content-type": "application/json", "plugyard-signature": "t=1,v1=ab"}
        assert await hooks.send(delivery(listener), granted(listener), headers, '{"a":"\u00e4"}') is None
    (heard,) = listener.heard
    assert heard.startswith(b"POST /done HTTP/1.1\r\n")
    assert b"\r\nplugyard-signature: t=1,v1=ab\r\n" in heard.lower()
    assert heard.endswith('\r\n\r\n{"a":"\u00e4"}'.encode())


@pytest.mark.parametrize("answer", [b"500 No", b"302 Found\r\nlocation: http://hooks.example/"])
async def test_another_answer_than_a_2xx_is_none(answer: bytes) -> None:
    async with webhooks(answer) as (hooks, listener):
        said = await hooks.send(delivery(listener), granted(listener), {}, "{}")
    assert said == f"it answered with status {answer[:3].decode()}"


async def test_a_private_address_is_never_called() -> None:
    async with webhooks(b"204 No Content", private=False) as (hooks, listener):
        assert await hooks.send(delivery(listener), granted(listener), {}, "{}") is not None
    assert listener.heard == []


async def test_what_the_plugin_may_not_call_is_refused_before_and_at_the_sending() -> None:
    async with webhooks(b"204 No Content") as (hooks, listener):
        mine, url = delivery(listener), delivery(listener).url
        assert hooks.refusal([], url) == NO_GRANT
        assert await hooks.send(mine, [], {}, "{}") == NO_GRANT
        assert hooks.refusal(granted(listener), url) is None
        for grants in (granted(listener, methods=("GET",)), granted(listener, paths=("/other",))):
            refusal = hooks.refusal(grants, url)
            assert refusal is not None
            assert await hooks.send(mine, grants, {}, "{}") == refusal
        for wrong in ("http://127.0.0.1/", "ftp://hooks.example/", "nonsense", "http://elsewhere.example/"):
            assert hooks.refusal(granted(listener), wrong) is not None
    assert listener.heard == []
