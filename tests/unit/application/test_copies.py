"""Copies of what the store has: used for a moment, read once for all who ask, and never older than a change."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plugyard.application.copies import Copies

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOON = NOW + timedelta(seconds=1)
NAME = ("plugin", "tenant", "id")


class Source:
    """Something that takes until it is told to be read."""

    def __init__(self, *values: Any) -> None:
        self.values = list(values)
        self.reads = 0
        self.may_end = asyncio.Event()

    async def read(self) -> Any:
        self.reads += 1
        value = self.values.pop(0)
        await self.may_end.wait()
        if isinstance(value, Exception):
            raise value
        return value


async def _asked(copies: Copies, source: Source, times: int) -> list[asyncio.Task[Any]]:
    tasks = [asyncio.create_task(copies.get(NAME, NOW, SOON, source.read)) for _ in range(times)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


async def test_all_who_ask_at_once_share_one_read_and_later_ones_the_copy() -> None:
    copies, source = Copies(), Source("first", "second")
    tasks = await _asked(copies, source, 5)
    source.may_end.set()
    assert await asyncio.gather(*tasks) == ["first"] * 5
    assert await copies.get(NAME, NOW, SOON, source.read) == "first"
    assert source.reads == 1
    assert await copies.get(NAME, SOON, SOON + timedelta(seconds=1), source.read) == "second", "it has aged out"


async def test_an_error_goes_to_all_who_wait_and_is_not_kept() -> None:
    copies, source = Copies(), Source(ValueError("away"), "there")
    tasks = await _asked(copies, source, 3)
    source.may_end.set()
    assert [type(one) for one in await asyncio.gather(*tasks, return_exceptions=True)] == [ValueError] * 3
    assert await copies.get(NAME, NOW, SOON, source.read) == "there"


async def test_who_leaves_leaves_the_read_to_the_others() -> None:
    copies, source = Copies(), Source("value")
    first, second = await _asked(copies, source, 2)
    first.cancel()
    source.may_end.set()
    assert await second == "value"
    assert source.reads == 1


async def test_what_is_not_there_is_not_kept_and_ends_an_older_copy() -> None:
    copies, source = Copies(), Source(None, "there")
    copies.put(NAME, "older", NOW)
    source.may_end.set()
    assert await copies.get(NAME, NOW, SOON, source.read) is None
    assert NAME not in copies
    assert await copies.get(NAME, NOW, SOON, source.read) == "there"


async def test_what_was_being_read_when_it_changed_is_not_kept_and_later_ones_read_anew() -> None:
    copies, source = Copies(), Source("before", "after")
    (before,) = await _asked(copies, source, 1)
    copies.forget()
    (after,) = await _asked(copies, source, 1)
    source.may_end.set()
    assert (await before, await after) == ("before", "after")
    assert copies.last(NAME) == "after"


async def test_only_what_is_named_is_forgotten() -> None:
    copies = Copies()
    copies.put(NAME, 1, SOON)
    copies.put(("key", b"hash"), 2, SOON)
    copies.forget(lambda name: name[0] == "key")
    assert NAME in copies
    assert ("key", b"hash") not in copies


@pytest.mark.parametrize("most", [2, 10])
async def test_no_more_are_kept_than_there_may_be(most: int) -> None:
    copies = Copies(most)
    for number in range(3 * most):
        copies.put(("key", number), number, SOON)
        assert len(copies) <= most
    assert copies.last(("key", 3 * most - 1)) == 3 * most - 1
