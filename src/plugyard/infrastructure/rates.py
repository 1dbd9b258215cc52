"""`http.rates.Rates` by the library `limits`: its sliding window counter, over a storage that its URL names.

Made by `plugyard.bootstrap`. Asking the library for every execution would cost too much: 25 microseconds with its own
storage in memory and one key, 700 with 5,000 keys, because each hit looks through all of them, and a round trip with
Redis. So requests are taken out of it a hundredth of the limit at a time and spent from that; a process counts at most
that much too many, and none too few. The storage in memory is ours for the same reason: it tidies itself now and then.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from typing import TYPE_CHECKING, Any

from plugyard.domain.rates import Rate, RatePolicy

if TYPE_CHECKING:
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

_PORTIONS = 100
_FORGET_ABOVE = 20_000
_ASK_AGAIN_S = 0.25
"""How long a refusal holds without asking again, so that a flood of refused requests costs next to nothing."""


class _Portion:
    """What was taken for one who asks. `beyond` is what the library had left, `ends` when the portion is too old."""

    __slots__ = ("asking", "beyond", "ends", "left", "refused_until", "resets_at")

    def __init__(self) -> None:
        self.left = self.beyond = 0
        self.ends = self.resets_at = self.refused_until = 0.0
        self.asking: asyncio.Lock | None = None


class LimitedRates:
    """Counts requests. The library takes a quarter of a second to load, so `load` does that beside the serving."""

    def __init__(self, storage_url: str = "async+tidy-memory://") -> None:
        self._url = storage_url
        self._portions: dict[tuple[str, str], _Portion] = {}
        self._items: dict[RatePolicy, Any] = {}
        self._loading: asyncio.Task[SlidingWindowCounterRateLimiter] | None = None

    def load(self) -> asyncio.Task[SlidingWindowCounterRateLimiter]:
        """Begin to load the library, unless that was begun."""
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return self._loading

    async def close(self) -> None:
        """Wait for the loading, if it goes on still."""
        if self._loading is not None:
            await self._loading

    async def _load(self) -> SlidingWindowCounterRateLimiter:
        module: Any = await asyncio.to_thread(importlib.import_module, "plugyard.infrastructure.ratestorage")
        limiter: SlidingWindowCounterRateLimiter = module.limiter(self._url)
        return limiter

    def at_hand(self, policy: RatePolicy, who: str) -> Rate | None:
        """Count one from what was taken before; `None` where there is nothing left of it."""
        portion = self._portions.get((policy.name, who))
        if portion is None:
            return None
        now = time.monotonic()
        if portion.left and now < portion.ends:
            portion.left -= 1
            return Rate(True, portion.beyond + portion.left, max(0.0, portion.resets_at - now))
        if now < portion.refused_until:
            return Rate(False, 0, max(0.0, portion.resets_at - now))
        return None

    async def take(self, policy: RatePolicy, who: str) -> Rate:
        """Count one, and take a portion for those that follow."""
        limiter = await self.load()
        portion = self._portions.get((policy.name, who))
        if portion is None:
            portion = self._remembered(policy, who)
        portion.asking = portion.asking or asyncio.Lock()
        async with portion.asking:
            # Somebody else may have taken one while this waited.
            return self.at_hand(policy, who) or await self._ask(limiter, policy, who, portion)

    async def _ask(
        self, limiter: SlidingWindowCounterRateLimiter, policy: RatePolicy, who: str, portion: _Portion
    ) -> Rate:
        item = self._items.get(policy)
        if item is None:
            from limits import RateLimitItemPerSecond

            item = self._items[policy] = RateLimitItemPerSecond(policy.limit, policy.window_s)
        wanted = max(1, policy.limit // _PORTIONS)
        taken = wanted if await limiter.hit(item, policy.name, who, cost=wanted) else 0
        if not taken and wanted > 1 and await limiter.hit(item, policy.name, who):
            taken = 1
        reset, beyond = await limiter.get_window_stats(item, policy.name, who)
        now = time.monotonic()
        portion.resets_at = now + max(0.0, reset - time.time())
        if not taken:
            portion.left = 0
            portion.refused_until = min(portion.resets_at, now + _ASK_AGAIN_S)
            return Rate(False, 0, portion.resets_at - now)
        portion.left, portion.beyond, portion.ends = taken - 1, beyond, now + policy.window_s
        return Rate(True, beyond + portion.left, portion.resets_at - now)

    def _remembered(self, policy: RatePolicy, who: str) -> _Portion:
        if len(self._portions) >= _FORGET_ABOVE:
            now = time.monotonic()
            kept = {name: one for name, one in self._portions.items() if now < max(one.ends, one.refused_until)}
            # Were nearly all of them of use, the oldest half goes: what was taken for it is lost to it, and no more.
            names = list(kept)[-_FORGET_ABOVE // 2 :]
            self._portions = {name: kept[name] for name in names}
        return self._portions.setdefault((policy.name, who), _Portion())
