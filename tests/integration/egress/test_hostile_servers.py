"""The http service against servers that mean it ill: each meets a cap, and the next call is well."""

import asyncio
import time

import pytest

from plugyard.sandbox.services.base import ServiceFault
from tests.integration.egress.servers import Raw, echo, egress, get, raw_server, scope, server, silent


async def endless_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"x" * 10_000)
        await writer.drain()


async def slow_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        writer.write(b"X-Header: y\r\n" * 100)
        await writer.drain()


async def endless_header(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        writer.write(b"y" * 10_000)
        await writer.drain()


async def many_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"X-Header: %s\r\n" % (b"y" * 200) * 100 + b"Content-Length: 0\r\n\r\n")


async def endless_interim(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def no_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"SSH-2.0-OpenSSH_9.9\r\n")


async def cut_short(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")


async def two_lengths(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nhello")


async def switching(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
    await asyncio.sleep(1)


async def gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    return


@pytest.mark.parametrize(
    ("talk", "codes"),
    [
        (endless_body, {"response_too_large"}),
        (slow_body, {"timed_out"}),
        (silent, {"timed_out"}),
        (endless_headers, {"bad_response"}),
        (endless_header, {"bad_response"}),
        (many_headers, {"response_too_large"}),
        (endless_interim, {"timed_out", "bad_response"}),
        (no_http, {"bad_response"}),
        (cut_short, {"bad_response"}),
        (two_lengths, {"bad_response"}),
        (switching, {"bad_response"}),
        (gone, {"connection_failed"}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_hostile_server_meets_a_cap_and_the_next_call_is_well(talk: Raw, codes: set[str]) -> None:
    began = time.monotonic()
    async with raw_server(talk) as port, server(echo) as good, egress() as service:
        with pytest.raises(ServiceFault) as fault:
            await get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/", timeoutMs=600)
        assert fault.value.code in codes
        assert (await get(service, scope(f"a.test:{good}"), f"http://a.test:{good}/"))["status"] == 200
    assert time.monotonic() - began < 4
