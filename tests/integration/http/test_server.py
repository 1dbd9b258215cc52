"""What strangers send before there is a request: the server's own bounds, met over a socket."""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from plugyard.domain.identity import Role
from plugyard.http import server
from plugyard.http.server import MAX_HEAD_BYTES, Server
from tests.integration.http.service import KEYS, Http

Say = Callable[..., Awaitable[bytes]]


@pytest.fixture
async def say(tmp_path: Path) -> AsyncIterator[Say]:
    """Sends pieces to the application over one connection; what came back until it was closed or quiet."""
    http = Http(tmp_path)
    await http.tenant()
    async with http.served() as url:
        yield partial(_say, int(url.rpartition(":")[2]))


async def _say(port: int, *pieces: bytes, quiet_s: float = 0.5) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await asyncio.sleep(0.01)
    said = b""
    try:
        async with asyncio.timeout(10):
            while piece := await asyncio.wait_for(reader.read(1 << 16), quiet_s):
                said += piece
    except TimeoutError:
        pass
    except ConnectionResetError:
        said += b"(reset)"
    writer.close()
    return said


def _problem(answer: bytes, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    assert b"connection: close" in head
    document = json.loads(body)
    assert document["code"] == code
    assert document["status"] == int(head.split()[1])


@pytest.mark.parametrize(
    "bytes_",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"NONSENSE\r\n\r\n",
    ],
)
async def test_what_is_no_http_is_answered_with_a_problem_and_closed(say: Say, bytes_: bytes) -> None:
    _problem(await say(bytes_), "malformed_request")


@pytest.mark.parametrize("field", [b"x-a: " + b"a" * 3_000 + b"\r\n", b"a" * 3_000], ids=["many fields", "one field"])
async def test_a_head_that_never_ends_is_refused_at_its_cap(say: Say, field: bytes) -> None:
    pieces = [field] * (MAX_HEAD_BYTES // len(field) + 2)
    _problem(
        await say(b"GET /health/live HTTP/1.1\r\n", b"x: " if b":" not in field else b"", *pieces), "malformed_request"
    )


async def test_a_head_below_the_cap_is_taken(say: Say) -> None:
    answer = await say(b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 60_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_head_that_comes_too_slowly_is_answered_408(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.2)
    _problem(await say(b"GET /health/live HTTP/1.1\r\n", b"x: y\r\n", quiet_s=2), "request_timeout")


async def test_a_connection_that_says_nothing_is_closed(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.2)
    began = asyncio.get_running_loop().time()
    assert await say(quiet_s=5) == b""
    assert asyncio.get_running_loop().time() - began < 3


async def test_the_head_of_a_later_request_has_bounds_of_its_own(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_WITHIN_S", 0.2)
    good = b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-a: " + b"a" * 40_000 + b"\r\n\r\n"
    answer = await say(good, good, b"GET / HTTP/1.1\r\n", quiet_s=2)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert answer.count(b"HTTP/1.1 408 ") == 1


async def test_requests_that_come_at_once_are_answered_in_their_order(say: Say) -> None:
    one = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n"
    other = b"GET /nowhere HTTP/1.1\r\nhost: x\r\n\r\n"
    answer = await say(one + other + one)
    assert re.findall(rb"HTTP/1\.1 (\d+) ", answer) == [b"200", b"404", b"200"]


@pytest.mark.parametrize("upgrade", [b"h2c", b"websocket", b"nonsense"])
async def test_an_offer_to_change_the_protocol_is_passed_over(say: Say, upgrade: bytes) -> None:
    head = b"GET /health/live HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nhttp2-settings: AA\r\n"
    assert (await say(head + b"upgrade: " + upgrade + b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_body_behind_an_offer_to_change_the_protocol_is_not_lost_without_a_word(say: Say) -> None:
    body = b'{"function":"greet"}'
    head = b"POST /api/v1/plugins/x/execute HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n"
    key = f"authorization: Bearer {KEYS[Role.ADMIN]}\r\ncontent-type: application/json\r\n".encode()
    answer = await say(head + key + b"content-length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 400 "))


async def test_every_answer_has_a_date(say: Say) -> None:
    assert b"\r\ndate: " in await say(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")


async def test_a_client_that_leaves_at_once_leaves_the_service_as_it_was(say: Say) -> None:
    for _ in range(50):
        await say(b"POST /api/v1/plugins/upload HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n", quiet_s=0.01)
    assert (await say(b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n")).startswith(b"HTTP/1.1 200 ")


async def test_a_connection_that_is_kept_brings_one_more_request_when_the_server_ends() -> None:
    """Whoever keeps a connection alive may have sent on it before it could see that the server ends."""
    listener = socket.create_server(("127.0.0.1", 0))
    ending = Server(_answers, lingers_s=5)
    serving = asyncio.ensure_future(ending.serve([listener]))
    await ending.listening.wait()
    port = listener.getsockname()[1]
    kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    request = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx"
    for reader, writer in kept:
        writer.write(request)
        assert b"connection: close" not in await reader.readuntil(b"well")
    ending.stop()
    assert any([await _refused(port) for _ in range(200)]), "it takes no new connection"
    for reader, writer in kept:
        writer.write(request)
        assert b"connection: close" in await reader.read(), "and it is closed behind that"
        writer.close()
    async with asyncio.timeout(2):
        await serving


async def test_a_connection_that_was_made_and_not_taken_yet_is_answered_when_the_server_ends() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ending = Server(_answers, lingers_s=1)
    serving = asyncio.ensure_future(ending.serve([listener]))
    await ending.listening.wait()
    # The kernel makes it by itself; nothing of the server's runs in between.
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\nx")
        await ending.shutdown([listener])
        client.settimeout(1)
        assert client.recv(1 << 16).endswith(b"well")
    ending.stop()
    await serving


async def test_a_connection_that_brings_nothing_holds_no_ending_server_up() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    ending = Server(_answers, lingers_s=0.2)
    serving = asyncio.ensure_future(ending.serve([listener]))
    await ending.listening.wait()
    reader, writer = await asyncio.open_connection("127.0.0.1", listener.getsockname()[1])
    ending.stop()
    async with asyncio.timeout(2):
        assert await reader.read() == b""
        await serving
    writer.close()


async def _refused(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionRefusedError:
        return True
    writer.close()
    await asyncio.sleep(0.01)
    return False


async def _answers(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"4")]})
    await send({"type": "http.response.body", "body": b"well"})
