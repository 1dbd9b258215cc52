"""`http.rates.Rates` by the library `limits`: its sliding window counter, over a storage that its URL names.

Made by `plugyard.bootstrap`. Asking the library for every execution would cost too much: 25 microseconds with its own
storage in memory and one key, 700 with 5,000 keys, because each hit looks through all of them. So requests are taken
out of it a hundredth of the limit at a time and spent from that; a process counts at most that much too many, and none
too few. The storage in memory is ours for the same reason: it tidies itself now and then. `valkey/rates.py` counts for
all replicas together, in portions of the same size.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from plugyard.domain.rates import Rate, RatePolicy

if TYPE_CHECKING:
    from limits.aio.strategies import SlidingWindowCounterRateLimiter

PORTIONS = 100
_FORGET_ABOVE = 20_000
ASK_AGAIN_S = 0.25
"""How long a refusal holds without asking again, so that a flood of refused requests costs next to nothing."""


class Portion:
    """What was taken for one who asks. `beyond` is what its limit had left, `ends` when the portion is too old."""

    __slots__ = ("asking", "beyond", "ends", "left", "refused_until", "resets_at")

    def __init__(self) -> None:
        self.left = self.beyond = 0
        self.ends = self.resets_at = self.refused_until = 0.0
        self.asking: asyncio.Lock | None = None


P = TypeVar("P", bound=Portion)


class Portions(Generic[P]):
    """The portions of all who ask, by the name of their policy and their own; so many are remembered."""

    def __init__(self, make: Callable[[], P]) -> None:
        self._make = make
        self._portions: dict[tuple[str, str], P] = {}

    def _remembered(self, policy: RatePolicy, who: str) -> P:
        portion = self._portions.get((policy.name, who))
        if portion is not None:
            return portion
        if len(self._portions) >= _FORGET_ABOVE:
            now = time.monotonic()
            kept = {name: one for name, one in self._portions.items() if now < max(one.ends, one.refused_until)}
            # Were nearly all of them of use, the oldest half goes: what was taken for it is lost to it, and no more.
            names = list(kept)[-_FORGET_ABOVE // 2 :]
            self._portions = {name: kept[name] for name in names}
        return self._portions.setdefault((policy.name, who), self._make())


class LimitedRates(Portions[Portion]):
    """Counts requests. The library takes a quarter of a second to load, so `load` does that beside the serving."""

    def __init__(self, storage_url: str = "async+tidy-memory://") -> None:
        super().__init__(Portion)
        self._url = storage_url
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

    async def take(self, policy: RatePolicy, who: str, beside: tuple[RatePolicy, str] | None = None) -> Rate:
        """Count one, and take a portion for those that follow. What is asked for next is near, and so not fetched."""
        limiter = await self.load()
        portion = self._remembered(policy, who)
        portion.asking = portion.asking or asyncio.Lock()
        async with portion.asking:
            # Somebody else may have taken one while this waited.
            return self.at_hand(policy, who) or await self._ask(limiter, policy, who, portion)

    async def count(self, policy: RatePolicy, who: str, number: int) -> None:
        """Count requests that were let through by another's count, as far as the limit reaches."""
        limiter, item = await self.load(), self._item(policy)
        _, beyond = await limiter.get_window_stats(item, policy.name, who)
        if min(number, beyond) > 0:
            await limiter.hit(item, policy.name, who, cost=min(number, beyond))

    def _item(self, policy: RatePolicy) -> Any:
        item = self._items.get(policy)
        if item is None:
            from limits import RateLimitItemPerSecond

            item = self._items[policy] = RateLimitItemPerSecond(policy.limit, policy.window_s)
        return item

    async def _ask(
        self, limiter: SlidingWindowCounterRateLimiter, policy: RatePolicy, who: str, portion: Portion
    ) -> Rate:
        item = self._item(policy)
        wanted = max(1, policy.limit // PORTIONS)
        taken = wanted if await limiter.hit(item, policy.name, who, cost=wanted) else 0
        if not taken and wanted > 1 and await limiter.hit(item, policy.name, who):
            taken = 1
        reset, beyond = await limiter.get_window_stats(item, policy.name, who)
        now = time.monotonic()
        portion.resets_at = now + max(0.0, reset - time.time())
        if not taken:
            portion.left = 0
            portion.refused_until = min(portion.resets_at, now + ASK_AGAIN_S)
            return Rate(False, 0, portion.resets_at - now)
        portion.left, portion.beyond, portion.ends = taken - 1, beyond, now + policy.window_s
        return Rate(True, beyond + portion.left, portion.resets_at - now)
