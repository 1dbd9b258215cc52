"""Answers that last end with their reader, and a tenant has only so many of a kind."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from types import SimpleNamespace
from typing import Any

import pytest

from plugyard.domain.errors import Overloaded
from plugyard.http.streams import counted, require_room


def exchange(streams: Counter[str], left: asyncio.Event, tenant_id: str = "one") -> Any:
    async def receive() -> dict[str, str]:
        await left.wait()
        return {"type": "http.disconnect"}

    caller, service = SimpleNamespace(tenant_id=tenant_id), SimpleNamespace(streams=streams)
    return SimpleNamespace(caller=caller, service=service, receive=receive)


async def test_an_answer_without_end_ends_when_its_reader_leaves() -> None:
    streams, left, closed = Counter[str](), asyncio.Event(), []

    async def without_end() -> AsyncGenerator[bytes, None]:
        try:
            while True:
                await asyncio.sleep(0)
                yield b"piece"
        finally:
            closed.append(True)

    mine = exchange(streams, left)
    read = 0
    async for _ in counted(mine, "exports", without_end()):
        read += 1
        if read == 3:
            with pytest.raises(Overloaded, match="exports"):
                require_room(mine, "exports", 1)
            require_room(mine, "exports", 2)
            require_room(mine, "exports of the trail", 1)
            require_room(exchange(streams, left, "another"), "exports", 1)
            left.set()
    assert read < 10
    assert closed == [True]
    assert streams == {}


async def test_what_ends_by_itself_and_what_fails_are_counted_no_longer() -> None:
    streams, left = Counter[str](), asyncio.Event()

    async def two(fails: bool) -> AsyncGenerator[bytes, None]:
        yield b"one"
        if fails:
            raise OSError
        yield b"two"

    assert [one async for one in counted(exchange(streams, left), "exports", two(False))] == [b"one", b"two"]
    with pytest.raises(OSError):  # noqa: PT011 - the very one that was raised above
        async for _ in counted(exchange(streams, left), "exports", two(True)):
            pass
    assert streams == {}
