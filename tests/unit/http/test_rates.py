"""Requests are limited by kind, for a key and its tenant, and wrong credentials by address."""

import asyncio
from collections.abc import AsyncIterator
from ipaddress import ip_network
from typing import Any

import pytest

from plugyard.domain.identity import Caller, Role
from plugyard.domain.rates import Rate, RatePolicy
from plugyard.http.rates import RateClass, RateLimited, RateLimits, address_of
from plugyard.infrastructure import ratestorage
from plugyard.infrastructure.rates import LimitedRates

ACME = Caller("key:1", Role.ADMIN, "acme")


@pytest.fixture
async def rates() -> AsyncIterator[LimitedRates]:
    made = LimitedRates()
    yield made
    await made.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Both clocks that the counting looks at, moved by a test; they begin early in a window."""

    class Clock:
        moment = 1_800_000_001.0

        def time(self) -> float:
            return self.moment

        monotonic = time

    clock = Clock()
    for module in ("rates", "ratestorage"):
        monkeypatch.setattr(f"plugyard.infrastructure.{module}.time", clock)
    monkeypatch.setattr("limits.aio.strategies.time", clock)
    monkeypatch.setattr("plugyard.http.rates.time", clock)
    return clock


async def spent(rates: LimitedRates, policy: RatePolicy, who: str = "acme") -> Rate:
    return rates.at_hand(policy, who) or await rates.take(policy, who)


async def test_exactly_as_many_are_let_through_as_the_limit_says(rates: LimitedRates, clock: Any) -> None:
    for limit in (1, 7, 250, 1_234):
        policy = RatePolicy(f"of {limit}", limit)
        allowed = [(await spent(rates, policy)).allowed for _ in range(limit + 5)]
        assert allowed == [True] * limit + [False] * 5


async def test_what_is_left_counts_down_by_one_and_never_tells_of_more(rates: LimitedRates, clock: Any) -> None:
    policy = RatePolicy("execute-key", 1_000)
    told = [(await spent(rates, policy)).remaining for _ in range(1_000)]
    assert told == list(range(999, -1, -1))
    refused = await spent(rates, policy)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 0 < refused.resets_in_s <= 60


async def test_a_window_that_slides_frees_what_was_taken_bit_by_bit(rates: LimitedRates, clock: Any) -> None:
    policy = RatePolicy("read-key", 60)
    for _ in range(60):
        assert (await spent(rates, policy)).allowed
    clock.moment += 60 - 1  # the next window begins
    clock.moment += 30  # and half of the one before weighs still
    allowed = [(await spent(rates, policy)).allowed for _ in range(60)]
    assert 28 <= sum(allowed) <= 31
    clock.moment += 120
    assert (await spent(rates, policy)).remaining == 59


async def test_a_portion_that_is_older_than_the_window_is_spent_no_more(rates: LimitedRates, clock: Any) -> None:
    policy = RatePolicy("execute-key", 1_000)
    await spent(rates, policy)
    clock.moment += 200
    assert rates.at_hand(policy, "acme") is None
    assert (await spent(rates, policy)).remaining == 999


async def test_one_who_asks_uses_up_nothing_of_another_s(rates: LimitedRates, clock: Any) -> None:
    policy = RatePolicy("read-key", 3)
    for _ in range(5):
        await spent(rates, policy, "one")
    assert (await spent(rates, policy, "another")).remaining == 2
    assert (await spent(rates, RatePolicy("write-key", 3), "one")).remaining == 2


async def test_many_who_ask_at_once_get_together_what_the_limit_says(rates: LimitedRates, clock: Any) -> None:
    policy = RatePolicy("execute-key", 300)
    answers = await asyncio.gather(*(spent(rates, policy) for _ in range(400)))
    assert sum(one.allowed for one in answers) == 300


async def test_a_refusal_is_not_asked_for_again_at_once(rates: LimitedRates, clock: Any) -> None:
    policy = RatePolicy("read-key", 1)
    await spent(rates, policy)
    await spent(rates, policy)
    refused = rates.at_hand(policy, "acme")
    assert refused is not None
    assert not refused.allowed
    clock.moment += 0.3
    assert rates.at_hand(policy, "acme") is None


async def test_what_is_remembered_of_strangers_has_a_bound(
    rates: LimitedRates, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugyard.infrastructure.rates._FORGET_ABOVE", 100)
    monkeypatch.setattr(ratestorage, "_MOST", 2_000)
    storage = ratestorage.limiter("async+tidy-memory://").storage
    for number in range(10_000):
        await storage.incr(f"address {number}", 120)
    assert len(storage._counters) <= 4_096  # type: ignore[union-attr]
    clock.moment += 200
    for number in range(5_000):
        await storage.incr(f"another {number}", 120)
    assert not any(name.startswith("address") for name in storage._counters)  # type: ignore[union-attr]
    for number in range(300):
        await spent(rates, RatePolicy("failed", 5), str(number))
    assert len(rates._portions) <= 101


async def test_the_library_s_own_storage_can_take_the_place_of_ours(clock: Any) -> None:
    rates = LimitedRates("async+memory://")
    policy = RatePolicy("read-key", 2)
    assert [(await spent(rates, policy)).allowed for _ in range(3)] == [True, True, False]
    await rates.close()


def limits_of(rates: LimitedRates, key: int, tenant: int, **how: Any) -> RateLimits:
    return RateLimits(rates, {RateClass.READ: key}, {RateClass.READ: tenant}, **how)


async def test_the_header_fields_have_the_form_of_the_draft(rates: LimitedRates, clock: Any) -> None:
    state: dict[str, Any] = {}
    await limits_of(rates, 10, 20).admit(RateClass.READ, ACME, state)
    assert dict(state["rate"]) == {
        b"ratelimit-policy": b'"read-key";q=10;w=60, "read-tenant";q=20;w=60',
        b"ratelimit": b'"read-key";r=9;t=59, "read-tenant";r=19;t=59',
    }


async def test_a_key_and_its_tenant_are_limited_each(rates: LimitedRates, clock: Any) -> None:
    limits = limits_of(rates, 2, 3)
    for _ in range(2):
        await limits.admit(RateClass.READ, ACME, {})
    state: dict[str, Any] = {}
    with pytest.raises(RateLimited, match="this key") as raised:
        await limits.admit(RateClass.READ, ACME, state)
    assert raised.value.policy == RatePolicy("read-key", 2)
    assert dict(state["rate"])[b"ratelimit"].startswith(b'"read-key";r=0;t=')
    second = Caller("key:2", Role.ADMIN, "acme")
    await limits.admit(RateClass.READ, second, {})
    with pytest.raises(RateLimited, match="the tenant"):
        await limits.admit(RateClass.READ, second, {})
    await limits.admit(RateClass.READ, Caller("key:3", Role.ADMIN, "other"), {})


async def test_no_limit_is_no_header_field(rates: LimitedRates) -> None:
    state: dict[str, Any] = {}
    for _ in range(100):
        await limits_of(rates, 1, 1).admit(RateClass.WRITE, ACME, state)
    assert state == {}


def request(address: str, key: str | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    return {"client": (address, 1)}, {} if key is None else {"authorization": f"Bearer {key}"}


async def test_an_address_that_guesses_is_barred_and_those_known_before_are_not(
    rates: LimitedRates, clock: Any
) -> None:
    limits = limits_of(rates, 0, 0, failures=5)
    limits.recognise(request("192.0.2.1", "right")[1])
    for number in range(5):
        limits.check_address(*request("192.0.2.1", f"wrong {number}"))
        await limits.count_failure(request("192.0.2.1", f"wrong {number}")[0])
    with pytest.raises(RateLimited, match="wrong credentials") as raised:
        limits.check_address(*request("192.0.2.1", "another"))
    assert 0 < raised.value.retry_after_s <= 60
    with pytest.raises(RateLimited):
        limits.check_address(*request("192.0.2.1"))
    limits.check_address(*request("192.0.2.1", "right"))
    limits.check_address(*request("192.0.2.2", "another"))
    clock.moment += 121
    limits.check_address(*request("192.0.2.1", "another"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # who is no proxy of ours may say what it wants
        ("10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.7, 10.0.0.2", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, nonsense", "10.0.0.1"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "", "2001:db8:1:2::/64"),
        (None, "198.51.100.7", "unknown"),
        ("::ffff:192.0.2.1", "", "192.0.2.1"),  # of IPv4, as a socket of IPv6 has it
        ("::ffff:10.0.0.1", "198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.0.0.1", "198.51.100.7, ,", "198.51.100.7"),
    ],
)
def test_the_address_is_the_nearest_that_is_no_proxy_of_ours(peer: str | None, forwarded: str, address: str) -> None:
    headers = [(b"x-forwarded-for", forwarded.encode())] if forwarded else []
    scope = {"client": None if peer is None else (peer, 1), "headers": headers}
    assert address_of(scope, [ip_network("10.0.0.0/8")]) == address


def test_proxies_may_each_add_a_line_of_their_own() -> None:
    lines = [(b"x-forwarded-for", b"203.0.113.9, 198.51.100.7"), (b"host", b"a"), (b"x-forwarded-for", b"10.0.0.2")]
    scope = {"client": ("10.0.0.1", 1), "headers": lines}
    assert address_of(scope, [ip_network("10.0.0.0/8")]) == "198.51.100.7"


async def test_who_guesses_bars_no_others_where_the_service_listens_on_all_addresses(
    rates: LimitedRates, clock: Any
) -> None:
    limits = limits_of(rates, 0, 0, failures=1)
    await limits.count_failure(request("::ffff:192.0.2.1", "wrong")[0])
    limits.check_address(*request("::ffff:198.51.100.7", "another"))
    with pytest.raises(RateLimited):
        limits.check_address(*request("::ffff:192.0.2.1", "another"))
