"""The storage in memory that `rates` counts in, for the library `limits`. Imported late: the library is slow to load.

The library's own looks through every key at every hit; this one drops what has served its time when it has grown to
twice what was left the last time, so that a hit costs the same whatever the number of keys.
"""

from __future__ import annotations

import math
import time
from typing import Any

from limits.aio.storage import SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import storage_from_string

_SMALLEST_SWEEP = 1_024
_MOST = 200_000
"""Counters that are kept at most; beyond them the oldest go, so that strangers cannot fill the memory."""


def limiter(storage_url: str) -> SlidingWindowCounterRateLimiter:
    """The strategy over the storage that the URL names."""
    return SlidingWindowCounterRateLimiter(storage_from_string(storage_url))


class TidyMemory(Storage, SlidingWindowCounterSupport):
    """Counters by key, each with the time at which it ends (seconds since the epoch)."""

    STORAGE_SCHEME = ["async+tidy-memory"]  # noqa: RUF012 - the library declares it so

    def __init__(self, uri: str | None = None, wrap_exceptions: bool = False, **options: Any) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions, **options)
        self._counters: dict[str, tuple[int, float]] = {}
        self._sweep_at = _SMALLEST_SWEEP

    @property
    def base_exceptions(self) -> type[Exception] | tuple[type[Exception], ...]:
        """Nothing that goes wrong here is the storage's own."""
        return ()

    async def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        """Counts; a counter that is new ends after `expiry` seconds."""
        now = time.time()
        count, ends = self._counters.get(key, (0, 0.0))
        count, ends = (count + amount, ends) if now < ends else (amount, now + expiry)
        self._counters[key] = count, ends
        if len(self._counters) >= self._sweep_at:
            self._sweep(now)
        return count

    async def get(self, key: str) -> int:
        """What was counted."""
        count, ends = self._counters.get(key, (0, 0.0))
        return count if time.time() < ends else 0

    async def get_expiry(self, key: str) -> float:
        """When the counter ends."""
        return self._counters.get(key, (0, time.time()))[1]

    async def check(self) -> bool:
        """Memory is always there."""
        return True

    async def reset(self) -> int | None:
        """Forgets everything."""
        count = len(self._counters)
        self._counters.clear()
        return count

    async def clear(self, key: str) -> None:
        """Forgets one counter."""
        self._counters.pop(key, None)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Counts where the weighted count of the window before and of this one leaves room for it."""
        before, left_s, now, _ = await self.get_sliding_window(key, expiry)
        if math.floor(before * left_s / expiry + now) + amount > limit:
            return False
        await self.incr(_names(key, expiry)[1], 2 * expiry, amount)
        return True

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        """The count of the window before with the seconds that it still weighs, and of this one with those it lasts."""
        previous, current = _names(key, expiry)
        left_s = expiry - time.time() % expiry
        return await self.get(previous), left_s, await self.get(current), left_s + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        """Forgets both windows."""
        for name in _names(key, expiry):
            await self.clear(name)

    def _sweep(self, now: float) -> None:
        kept = {key: held for key, held in self._counters.items() if now < held[1]}
        if len(kept) > _MOST:
            kept = {key: kept[key] for key in list(kept)[-_MOST // 2 :]}
        self._counters, self._sweep_at = kept, max(_SMALLEST_SWEEP, 2 * len(kept))


def _names(key: str, expiry: int) -> tuple[str, str]:
    window = int(time.time() // expiry)
    return f"{key}/{window - 1}", f"{key}/{window}"
