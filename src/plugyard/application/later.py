"""What has to be done even where the store is away at this moment."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from plugyard.application.platform import Platform
from plugyard.domain.errors import StoreUnavailable

_TRIES, TRIED_EVERY_S = 120, 0.5


async def now_or_later(platform: Platform, work: Callable[[], Awaitable[None]]) -> None:
    """Do it; where the store is away, as soon as it is back, if that is within a minute."""
    try:
        await work()
    except StoreUnavailable:
        platform.in_background(_later(work))


async def _later(work: Callable[[], Awaitable[None]]) -> None:
    for _ in range(_TRIES):
        await asyncio.sleep(TRIED_EVERY_S)
        with suppress(StoreUnavailable):
            await work()
            return
