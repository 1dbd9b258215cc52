"""Quotas of executions: the tallies of one process, and places that replicas count together on Valkey."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Protocol

import pytest

from plugyard.domain.tallies import Full, Tallies, Tally
from plugyard.domain.tenants import Quota, Quotas
from plugyard.infrastructure.valkey import places as module
from plugyard.infrastructure.valkey.address import Address
from plugyard.infrastructure.valkey.link import Link
from plugyard.infrastructure.valkey.places import SharedPlaces
from tests.valkeys import Valkey

NOON = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)


class Counting(Protocol):
    """What both can do, in the words of the tests."""

    async def take(self, tenant: str, execution: str, quotas: Quotas, now: datetime, before: int = 0) -> None: ...
    async def leave(self, tenant: str, execution: str, taken_at: datetime, *, happened: bool = True) -> None: ...
    async def used(self, tenant: str, now: datetime) -> tuple[int, int, int]: ...


class InProcess:
    """The tallies of one process; ``before`` is what is on record of the day."""

    def __init__(self) -> None:
        self._tallies = Tallies()
        self._places: dict[tuple[str, str], Tally] = {}

    async def take(self, tenant: str, execution: str, quotas: Quotas, now: datetime, before: int = 0) -> None:
        if self._tallies.uncounted_until(tenant, now) is not None:
            self._tallies.begin_with(tenant, before, now)
        self._places[tenant, execution] = self._tallies.take(tenant, quotas, now)

    async def leave(self, tenant: str, execution: str, taken_at: datetime, *, happened: bool = True) -> None:
        self._tallies.leave(self._places.pop((tenant, execution)), taken_at, happened=happened)

    async def used(self, tenant: str, now: datetime) -> tuple[int, int, int]:
        tally = self._tallies.at(tenant, now)
        return tally.in_minute, tally.in_day + (tally.before or 0), tally.running


class OnValkey:
    """Places of one replica."""

    def __init__(self, places: SharedPlaces) -> None:
        self.places = places

    async def take(self, tenant: str, execution: str, quotas: Quotas, now: datetime, before: int = 0) -> None:
        async def on_record() -> int:
            return before

        await self.places.take(tenant, execution, quotas, now, on_record)

    async def leave(self, tenant: str, execution: str, taken_at: datetime, *, happened: bool = True) -> None:
        self.places.leave(tenant, execution, taken_at, happened=happened)

    async def used(self, tenant: str, now: datetime) -> tuple[int, int, int]:
        found = await self.places.used(tenant, now)
        assert found is not None
        return found.in_minute, found.in_day or 0, found.running


async def replica(server: Valkey, parts: AsyncExitStack) -> OnValkey:
    link = Link(Address(server.url), connect_s=5, command_s=2)
    places = SharedPlaces(link)
    parts.push_async_callback(link.close)
    await link.open()
    places.start()
    parts.push_async_callback(places.close)
    return OnValkey(places)


@pytest.fixture(params=["in process", "valkey"])
async def counting(request: pytest.FixtureRequest) -> AsyncIterator[Counting]:
    """One implementation after the other."""
    async with AsyncExitStack() as parts:
        if request.param == "in process":
            yield InProcess()
        else:
            yield await replica(request.getfixturevalue("valkey"), parts)


async def test_each_quota_refuses_what_goes_beyond_it_and_says_how_much(counting: Counting) -> None:
    for quotas, quota in (
        (Quotas(concurrent_executions=2), Quota.CONCURRENT),
        (Quotas(executions_per_minute=2), Quota.PER_MINUTE),
        (Quotas(executions_per_day=2), Quota.PER_DAY),
    ):
        tenant = quota.value
        await counting.take(tenant, "one", quotas, NOON)
        await counting.take(tenant, "two", quotas, NOON)
        with pytest.raises(Full) as full:
            await counting.take(tenant, "three", quotas, NOON)
        assert (full.value.quota, full.value.limit, full.value.used) == (quota, 2, 2)
        await counting.take("another", f"of {tenant}", quotas, NOON)
        await counting.leave("another", f"of {tenant}", NOON, happened=False)


async def test_a_quota_of_nothing_allows_nothing(counting: Counting) -> None:
    for quotas in (
        Quotas(concurrent_executions=0), Quotas(executions_per_minute=0), Quotas(executions_per_day=0)
    ):  # fmt: skip
        with pytest.raises(Full):
            await counting.take("t", "one", quotas, NOON)


async def test_a_place_that_was_given_back_is_there_for_the_next(counting: Counting) -> None:
    quotas = Quotas(concurrent_executions=1)
    for number in range(5):
        await counting.take("t", str(number), quotas, NOON)
        await counting.leave("t", str(number), NOON)
    assert (await counting.used("t", NOON))[0::2] == (5, 0)


async def test_what_did_not_happen_has_used_nothing_up(counting: Counting) -> None:
    quotas = Quotas(executions_per_minute=1, executions_per_day=1)
    for number in range(3):
        await counting.take("t", str(number), quotas, NOON)
        await counting.leave("t", str(number), NOON, happened=False)
    assert await counting.used("t", NOON) == (0, 0, 0)
    await counting.take("t", "happens", quotas, NOON)
    await counting.leave("t", "happens", NOON)
    with pytest.raises(Full):
        await counting.take("t", "more", quotas, NOON)


async def test_minutes_and_days_are_those_of_utc(counting: Counting) -> None:
    quotas = Quotas(executions_per_minute=1, executions_per_day=2)
    await counting.take("t", "one", quotas, NOON)
    with pytest.raises(Full) as full:
        await counting.take("t", "two", quotas, NOON + timedelta(seconds=29))
    assert full.value.quota is Quota.PER_MINUTE
    await counting.take("t", "three", quotas, NOON + timedelta(seconds=30))
    with pytest.raises(Full) as full:
        await counting.take("t", "four", quotas, NOON + timedelta(hours=11))
    assert full.value.quota is Quota.PER_DAY
    await counting.take("t", "five", quotas, NOON + timedelta(hours=12))


async def test_the_day_begins_with_what_is_on_record(counting: Counting) -> None:
    quotas = Quotas(executions_per_day=10)
    await counting.take("t", "one", quotas, NOON, before=9)
    with pytest.raises(Full) as full:
        await counting.take("t", "two", quotas, NOON, before=9)
    assert full.value.used == 10


# --- what only a shared count has -------------------------------------------------------------------------------------


async def test_replicas_count_together(valkey: Valkey) -> None:
    async with AsyncExitStack() as parts:
        replicas = [await replica(valkey, parts) for _ in range(2)]
        quotas = Quotas(concurrent_executions=10, executions_per_minute=25, executions_per_day=1_000)

        async def one(number: int) -> bool:
            try:
                await replicas[number % 2].take("t", str(number), quotas, NOON)
            except Full:
                return False
            return True

        assert sum(await asyncio.gather(*map(one, range(60)))) == 10
        for number in range(60):
            await replicas[number % 2].leave("t", str(number), NOON)
        assert await replicas[0].used("t", NOON) == (10, 10, 0)
        taken = 0
        for number in range(100, 160):
            if await one(number):
                taken += 1
                await replicas[number % 2].leave("t", str(number), NOON)
        assert taken == 15, "the minute is used up by both together"


async def test_a_replica_that_died_gives_its_places_back_and_one_that_lives_keeps_them(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LEASE_S", 0.6)
    monkeypatch.setattr(module, "_RENEWED_EVERY_S", 0.2)
    quotas = Quotas(concurrent_executions=2)
    async with AsyncExitStack() as parts:
        dying, living = await replica(valkey, parts), await replica(valkey, parts)
        await dying.take("t", "lost", quotas, NOON)
        await living.take("t", "runs on", quotas, NOON)
        await dying.places.close()  # it renews nothing any more
        with pytest.raises(Full):
            await living.take("t", "more", quotas, NOON)
        await asyncio.sleep(1.2)
        await living.take("t", "more", quotas, NOON)
        with pytest.raises(Full):
            await living.take("t", "too many", quotas, NOON)


async def test_a_server_without_memory_learns_again_what_runs_and_what_ran(valkey: Valkey) -> None:
    quotas = Quotas(concurrent_executions=2, executions_per_day=10)
    async with AsyncExitStack() as parts:
        with Valkey() as server:
            one = await replica(server, parts)
            await one.take("t", "runs on", quotas, NOON, before=3)
            server.kill()
            await until(one, up=False)
            await one.take("t", "begun meanwhile", quotas, NOON)
            server.start()
            await until(one, up=True)
            with pytest.raises(Full) as full:
                await one.take("t", "too many", quotas, NOON, before=5)
            assert (full.value.quota, full.value.used) == (Quota.CONCURRENT, 2)
            await one.leave("t", "runs on", NOON)
            await one.take("t", "next", quotas, NOON, before=5)
            assert (await one.used("t", NOON))[1:] == (6, 2)


async def until(one: OnValkey, *, up: bool) -> None:
    """Wait until a replica knows that the server is there, or that it is not."""
    for _ in range(500):
        if one.places._lane._link.up is up:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the replica has not noticed within 10 s")


async def test_nobody_is_refused_by_a_server_that_is_away(valkey: Valkey) -> None:
    async with AsyncExitStack() as parts:
        with Valkey() as server:
            one = await replica(server, parts)
        await one.take("t", "one", Quotas(concurrent_executions=0), NOON)
        assert await one.places.used("t", NOON) is None
        await one.leave("t", "one", NOON)


class Records:
    """Counts a tenant's day as the database does, when the test lets it, and says how often."""

    def __init__(self, executions: int = 3) -> None:
        self.executions, self.looks = executions, 0
        self.may_answer = asyncio.Event()

    async def __call__(self) -> int:
        self.looks += 1
        await self.may_answer.wait()
        return self.executions


async def test_nobody_counts_the_day_for_a_server_that_is_away(valkey: Valkey) -> None:
    quotas, records = Quotas(executions_per_day=10), Records()
    records.may_answer.set()
    async with AsyncExitStack() as parts:
        with Valkey() as server:
            one = await replica(server, parts)
            server.kill()
            await until(one, up=False)
            for number in range(5):
                await one.places.take("t", str(number), quotas, NOON, records)
            assert records.looks == 0
            server.start()
            await until(one, up=True)
            for number in range(5, 8):
                await one.places.take("t", str(number), quotas, NOON, records)
            assert records.looks == 1
            assert (await one.used("t", NOON))[1:] == (6, 8), "what was begun meanwhile runs, and the day goes on"


async def test_executions_that_come_together_share_one_count_of_the_day(valkey: Valkey) -> None:
    quotas, records = Quotas(executions_per_day=10), Records()
    async with AsyncExitStack() as parts:
        one = await replica(valkey, parts)
        takes = [asyncio.create_task(one.places.take("t", str(n), quotas, NOON, records)) for n in range(9)]
        await asyncio.sleep(0.05)
        takes[0].cancel()  # it began the count, and the others wait for it still
        await asyncio.sleep(0.05)
        records.may_answer.set()
        ended = await asyncio.gather(*takes, return_exceptions=True)
        assert records.looks == 1
        assert [type(end) for end in ended] == [asyncio.CancelledError] + 7 * [type(None)] + [Full]


async def test_a_count_from_before_the_server_was_away_is_not_that_of_afterwards(valkey: Valkey) -> None:
    quotas, before, after = Quotas(executions_per_day=10), Records(3), Records(8)
    after.may_answer.set()
    async with AsyncExitStack() as parts:
        with Valkey() as server:
            one = await replica(server, parts)
            early = asyncio.create_task(one.places.take("t", "early", quotas, NOON, before))
            await asyncio.sleep(0.05)
            server.kill()
            await until(one, up=False)
            server.start()
            await until(one, up=True)
            await one.places.take("t", "late", quotas, NOON, after)
            before.may_answer.set()
            await early
            assert (before.looks, after.looks) == (1, 1)
            assert (await one.used("t", NOON))[1] == 10


async def test_what_is_remembered_of_days_ends_with_them(valkey: Valkey) -> None:
    quotas = Quotas(executions_per_day=10)
    async with AsyncExitStack() as parts:
        one = await replica(valkey, parts)
        for number in range(20):
            await one.take(f"t{number}", "one", quotas, NOON)
        await one.take("t0", "two", quotas, NOON + timedelta(days=1))
        assert len(one.places._known) == 1


async def test_an_execution_is_not_refused_because_of_its_own_lease(
    valkey: Valkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_RENEWED_EVERY_S", 0.05)
    quotas, records = Quotas(concurrent_executions=1, executions_per_day=10), Records()
    async with AsyncExitStack() as parts:
        one = await replica(valkey, parts)
        take = asyncio.create_task(one.places.take("t", "one", quotas, NOON, records))
        await asyncio.sleep(0.3)  # whatever is held is renewed meanwhile, this one as well
        records.may_answer.set()
        await take
        assert (await one.used("t", NOON))[0::2] == (1, 1)
        with pytest.raises(Full):
            await one.take("t", "two", quotas, NOON)
