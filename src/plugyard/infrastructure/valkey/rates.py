"""`http.rates.Rates` counted by all replicas together; `bootstrap.sharing` puts it in the place of `LimitedRates`.

Requests are taken out of their limit a hundredth at a time, as in process, and spent from that without asking. When a
quarter of it is left more is fetched in the background, so that a busy caller waits for nothing; where a portion is a
single request (limits below 200) each is asked for. A key's limit and its tenant's are asked for in one round trip.

While the server is away the replica counts by itself, going on from what it took within the window.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence

from plugyard.domain.rates import Rate, RatePolicy
from plugyard.infrastructure.rates import ASK_AGAIN_S, PORTIONS, LimitedRates, Portion, Portions
from plugyard.infrastructure.valkey.link import PREFIX, Away, Lane, Link, Script

_TAKE = Script("take_requests")
_Wanted = tuple[RatePolicy, str]


class _SharedPortion(Portion):
    """``asked`` is how many questions are under way, ``counted`` what was taken in the ``window`` of that number, and
    ``low`` what is left when the next portion is fetched."""

    __slots__ = ("asked", "counted", "low", "window")

    def __init__(self) -> None:
        super().__init__()
        self.low = -1
        self.asked = self.counted = self.window = 0


class SharedRates(Portions[_SharedPortion]):
    """Counts requests on the server; by ``local`` while it is away."""

    def __init__(self, link: Link, local: LimitedRates) -> None:
        super().__init__(_SharedPortion)
        self._link, self._local = link, local
        self._lane: Lane = link.lane(_TAKE)

    def at_hand(self, policy: RatePolicy, who: str) -> Rate | None:
        """Count one from what was taken before; `None` where there is nothing left of it."""
        portion = self._portions.get((policy.name, who))
        if portion is not None:
            now = time.monotonic()
            if portion.left and now < portion.ends:
                portion.left -= 1
                if portion.left == portion.low and portion.beyond and not portion.asked:
                    self._fetch_ahead(policy, who, portion)
                return Rate(True, portion.beyond + portion.left, max(0.0, portion.resets_at - now))
            if now < portion.refused_until and self._link.up:
                return Rate(False, 0, max(0.0, portion.resets_at - now))
        return None if self._link.up else self._local.at_hand(policy, who)

    async def take(self, policy: RatePolicy, who: str, beside: _Wanted | None = None) -> Rate:
        """Count one, and take a portion for those that follow. ``beside`` will be asked for next, and comes along."""
        rate = self.at_hand(policy, who)
        if rate is not None:
            return rate
        wanted = [(policy, who)]
        if beside is not None and not self._covered(*beside):
            wanted.append(beside)
        try:
            asked = self._ask(wanted)
        except Away:
            return await self._alone(policy, who)
        try:
            portions = [portion for _, _, portion in asked[1]]
            for portion in portions:
                portion.asked += 1
            try:
                answers = await asked[0]
            finally:
                for portion in portions:
                    portion.asked -= 1
        except Away:
            return await self._alone(policy, who)
        for (its_policy, _, portion), answer in zip(asked[1], answers, strict=True):
            self._keep(its_policy, portion, answer)
        portion = portions[0]
        now = time.monotonic()
        # Where nothing was left for this question, what another has brought meanwhile serves as well.
        if not portion.left:
            return Rate(False, 0, max(0.0, portion.resets_at - now))
        portion.left -= 1
        return Rate(True, portion.beyond + portion.left, max(0.0, portion.resets_at - now))

    def _ask(
        self, wanted: Sequence[_Wanted]
    ) -> tuple[asyncio.Future[list[list[int]]], list[tuple[RatePolicy, str, _SharedPortion]]]:
        keys, arguments, asked = [], [], []
        for policy, who in wanted:
            portion = self._remembered(policy, who)
            if time.monotonic() >= portion.ends:
                portion.left = 0  # what was taken in a window that is over is spent no more
            # While a portion is on its way already, whoever comes meanwhile takes one for itself.
            size = 1 if portion.asked else max(1, policy.limit // PORTIONS - portion.left)
            keys.append(_key(policy, who))
            arguments += [policy.limit, policy.window_s, size]
            asked.append((policy, who, portion))
        return self._lane.run(_TAKE, keys, *arguments), asked

    def _fetch_ahead(self, policy: RatePolicy, who: str, portion: _SharedPortion) -> None:
        try:
            answer, _ = self._ask([(policy, who)])
        except Away:
            return
        portion.asked += 1

        def came(future: asyncio.Future[list[list[int]]]) -> None:
            portion.asked -= 1
            if not future.cancelled() and future.exception() is None:
                self._keep(policy, portion, future.result()[0])

        answer.add_done_callback(came)

    def _keep(self, policy: RatePolicy, portion: _SharedPortion, answer: Sequence[int]) -> None:
        taken, beyond, resets_ms = answer
        now = time.monotonic()
        portion.resets_at = now + resets_ms / 1000
        if not taken:
            if not portion.left:
                portion.refused_until = min(portion.resets_at, now + ASK_AGAIN_S)
            return
        portion.low = policy.limit // (4 * PORTIONS) if policy.limit >= 2 * PORTIONS else -1
        portion.left, portion.beyond, portion.ends = portion.left + taken, beyond, now + policy.window_s
        window = int(time.time()) // policy.window_s
        if window != portion.window:
            portion.window, portion.counted = window, 0
        portion.counted += taken

    def _covered(self, policy: RatePolicy, who: str) -> bool:
        portion = self._portions.get((policy.name, who))
        if portion is None:
            return False
        now = time.monotonic()
        return bool(portion.left and now < portion.ends) or now < portion.refused_until

    async def _alone(self, policy: RatePolicy, who: str) -> Rate:
        """Count by this replica alone, what it took of this window before included."""
        portion = self._portions.get((policy.name, who))
        if portion is not None and portion.counted:
            counted, portion.counted = portion.counted, 0
            if portion.window == int(time.time()) // policy.window_s:
                await self._local.count(policy, who, counted)
        return self._local.at_hand(policy, who) or await self._local.take(policy, who)


def _key(policy: RatePolicy, who: str) -> bytes:
    # Names come from outside, of any length and with any characters; their digest has neither.
    digest = hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{PREFIX}rate:{policy.name}:{policy.window_s}:{digest}".encode()
