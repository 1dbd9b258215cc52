"""Rate limits: in process, and counted on Valkey, each asked what the header fields and refusals are made of."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from plugyard.domain.identity import Caller, Role
from plugyard.domain.rates import Rate, RatePolicy
from plugyard.http.rates import RateClass, RateLimited, RateLimits, Rates
from plugyard.infrastructure.rates import LimitedRates
from plugyard.infrastructure.valkey.address import Address
from plugyard.infrastructure.valkey.link import Link
from plugyard.infrastructure.valkey.rates import SharedRates
from tests.valkeys import Valkey

Make = Callable[[], Rates]


@pytest.fixture(params=["in process", "valkey"])
async def rates(request: pytest.FixtureRequest) -> AsyncIterator[Rates]:
    """One implementation after the other."""
    async with AsyncExitStack() as parts:
        local = LimitedRates()
        parts.push_async_callback(local.close)
        if request.param == "in process":
            await local.load()
            yield local
            return
        server: Valkey = request.getfixturevalue("valkey")
        yield await shared(server, local, parts)


async def shared(server: Valkey, local: LimitedRates, parts: AsyncExitStack) -> SharedRates:
    # A test run has two cores for many processes: what is late there is not away.
    link = Link(Address(server.url), connect_s=5, command_s=2)
    made = SharedRates(link, local)
    parts.push_async_callback(link.close)
    await link.open()
    assert link.up
    return made


async def spent(rates: Rates, policy: RatePolicy, who: str = "acme") -> Rate:
    return rates.at_hand(policy, who) or await rates.take(policy, who)


async def early_in_a_window(window_s: int = 60) -> None:
    """Wait, where a window is about to end: what a test counts is counted in one."""
    left = window_s - time.time() % window_s
    if left < min(10.0, 0.7 * window_s):
        await asyncio.sleep(left + 0.01)


@pytest.mark.parametrize("limit", [1, 7, 250, 1_234])
async def test_exactly_as_many_are_let_through_as_the_limit_says(rates: Rates, limit: int) -> None:
    await early_in_a_window()
    policy = RatePolicy(f"of-{limit}", limit)
    allowed = [(await spent(rates, policy)).allowed for _ in range(limit + 5)]
    assert allowed == [True] * limit + [False] * 5


async def test_what_is_left_counts_down_by_one_and_never_tells_of_more(rates: Rates) -> None:
    await early_in_a_window()
    policy = RatePolicy("execute-key", 1_000)
    told = [(await spent(rates, policy)).remaining for _ in range(1_000)]
    assert told == list(range(999, -1, -1))
    refused = await spent(rates, policy)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert 0 < refused.resets_in_s <= 60


async def test_a_window_that_slides_frees_what_was_taken_bit_by_bit(rates: Rates) -> None:
    policy = RatePolicy("read-key", 60, window_s=2)
    await asyncio.sleep(2 - time.time() % 2 + 0.01)
    assert [(await spent(rates, policy)).allowed for _ in range(61)] == [True] * 60 + [False]
    await asyncio.sleep(2 - time.time() % 2 + 1)  # the next window begins, and half of the one before weighs still
    left = 2 - time.time() % 2
    allowed = sum([(await spent(rates, policy)).allowed for _ in range(60)])
    assert abs(allowed - 60 * (1 - left / 2)) < 6
    await asyncio.sleep(4)
    assert (await spent(rates, policy)).remaining == 59


async def test_one_who_asks_uses_up_nothing_of_another_s(rates: Rates) -> None:
    await early_in_a_window()
    policy = RatePolicy("read-key", 3)
    for _ in range(5):
        await spent(rates, policy, "one")
    assert (await spent(rates, policy, "another")).remaining == 2
    assert (await spent(rates, RatePolicy("write-key", 3), "one")).remaining == 2
    # Names that differ in what a key of a server could be cut at.
    for name in ("a:b", "a b", "a", "{a}", "a\x00", "a\r\nb", "\ud800", "é" * 5_000):
        assert (await spent(rates, policy, name)).remaining == 2, name


async def test_many_who_ask_at_once_get_together_what_the_limit_says(rates: Rates) -> None:
    await early_in_a_window()
    policy = RatePolicy("execute-key", 300)
    answers = await asyncio.gather(*(spent(rates, policy) for _ in range(400)))
    assert sum(one.allowed for one in answers) == 300


async def test_a_refusal_is_not_asked_for_again_at_once(rates: Rates) -> None:
    await early_in_a_window()
    policy = RatePolicy("read-key", 1)
    await spent(rates, policy)
    await spent(rates, policy)
    refused = rates.at_hand(policy, "acme")
    assert refused is not None
    assert not refused.allowed
    await asyncio.sleep(0.3)
    assert rates.at_hand(policy, "acme") is None


async def test_the_header_fields_tell_of_the_key_and_its_tenant(rates: Rates) -> None:
    await early_in_a_window()
    limits = RateLimits(rates, {RateClass.READ: 3}, {RateClass.READ: 4})
    states: list[dict[str, object]] = [{} for _ in range(4)]
    for state in states[:3]:
        await limits.admit(RateClass.READ, Caller("key:1", Role.ADMIN, "acme"), state)
    told = [dict(state["rate"])[b"ratelimit"] for state in states[:3]]  # type: ignore[call-overload]
    left = [[part.split(b";")[1] for part in one.split(b", ")] for one in told]
    assert left == [[b"r=2", b"r=3"], [b"r=1", b"r=2"], [b"r=0", b"r=1"]]
    with pytest.raises(RateLimited, match="this key"):
        await limits.admit(RateClass.READ, Caller("key:1", Role.ADMIN, "acme"), states[3])
    await limits.admit(RateClass.READ, Caller("key:2", Role.ADMIN, "acme"), {})
    with pytest.raises(RateLimited, match="the tenant"):
        await limits.admit(RateClass.READ, Caller("key:2", Role.ADMIN, "acme"), {})
    await limits.admit(RateClass.READ, Caller("key:1", Role.ADMIN, "other"), {})


# --- what only a shared count has -------------------------------------------------------------------------------------


async def test_replicas_count_together(valkey: Valkey) -> None:
    await early_in_a_window()
    async with AsyncExitStack() as parts:
        replicas = [await shared(valkey, LimitedRates(), parts) for _ in range(3)]
        for limit in (7, 100, 1_000):
            policy = RatePolicy(f"of-{limit}", limit)
            answers = [(await spent(replicas[number % 3], policy)).allowed for number in range(limit + 60)]
            assert sum(answers) == limit
        # What one replica took and did not spend is all that another can miss: a hundredth of the limit.
        policy = RatePolicy("idle-replica", 1_000)
        assert (await spent(replicas[0], policy)).remaining == 999
        assert sum([(await spent(replicas[1], policy)).allowed for _ in range(1_000)]) == 1_000 - 10


async def test_a_busy_caller_waits_for_no_round_trip_and_a_new_one_for_one(valkey: Valkey) -> None:
    await early_in_a_window()
    async with AsyncExitStack() as parts:
        rates = await shared(valkey, LimitedRates(), parts)
        limits = RateLimits(rates, {RateClass.EXECUTE: 20_000}, {RateClass.EXECUTE: 40_000})
        trips = 0
        run = rates._lane.run

        def counted(*arguments: object) -> asyncio.Future[object]:
            nonlocal trips
            trips += 1
            return run(*arguments)  # type: ignore[arg-type]

        rates._lane.run = counted  # type: ignore[method-assign, assignment]
        caller = Caller("key:1", Role.ADMIN, "acme")
        await limits.admit(RateClass.EXECUTE, caller, {})
        assert trips == 1, "the key's and the tenant's limit come in one round trip"

        async def waited(*arguments: object) -> Rate:
            raise AssertionError("more was to be fetched before all is spent")

        rates.take = waited  # type: ignore[method-assign]
        for _ in range(2_000):
            await limits.admit(RateClass.EXECUTE, caller, {})
            await asyncio.sleep(0.0005)
        assert trips <= 2 + 2_000 // 150 + 2_000 // 300


async def test_keys_on_the_server_end_by_themselves_and_hold_no_names(valkey: Valkey) -> None:
    async with AsyncExitStack() as parts:
        rates = await shared(valkey, LimitedRates(), parts)
        await spent(rates, RatePolicy("read-key", 10), "acme user:ada@example.com")
        listed = valkey.ask("KEYS", "plugyard:rate:*")
        assert b"plugyard:rate:read-key:60:" in listed
        assert b"ada" not in listed
        name = listed.split(b"\r\n")[2].decode()
        assert 0 < int(valkey.ask("TTL", name)[1:]) <= 120
