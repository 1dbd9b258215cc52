"""Work that many ask for at once: done once, for as long as it is under way, and forgotten when it should be."""

import asyncio
from functools import partial

import pytest

from plugyard.application.together import Together


async def test_what_is_forgotten_is_begun_anew_and_the_first_work_knows_it() -> None:
    together: Together[str, tuple[str, bool]] = Together()
    may_end = asyncio.Event()

    async def work(word: str) -> tuple[str, bool]:
        await may_end.wait()
        return word, together.stands("name")

    first = asyncio.create_task(together.share("name", partial(work, "first")))
    await asyncio.sleep(0)
    together.forget(lambda name: name == "other")
    joined = asyncio.create_task(together.share("name", partial(work, "never")))
    await asyncio.sleep(0)
    together.forget(lambda name: name == "name")
    second = asyncio.create_task(together.share("name", partial(work, "second")))
    await asyncio.sleep(0)
    may_end.set()
    assert await asyncio.gather(first, joined, second) == [("first", False), ("first", False), ("second", True)]
    assert await together.share("name", partial(work, "third")) == ("third", True)


async def test_closing_ends_what_is_under_way() -> None:
    together: Together[str, None] = Together()
    waiting = asyncio.create_task(together.share("name", asyncio.Event().wait))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    await together.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
