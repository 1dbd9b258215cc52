"""Measures what a limit costs, counted in process and on a Valkey that replicas share.

    uv run python -m benchmarks.limits           # half a minute; starts a Valkey of its own on loopback
    uv run python -m benchmarks.limits --json

Each part by itself, in this process, on the event loop of the service: medians of the rounds, in microseconds for one
call. What is asked of the server waits for its answer; what is at hand does not.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import uvloop

from plugyard.domain.identity import Caller, Role
from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.domain.rates import RatePolicy
from plugyard.domain.tallies import Tallies
from plugyard.domain.tenants import Quotas
from plugyard.http.rates import RateClass, RateLimits, Rates
from plugyard.infrastructure.rates import LimitedRates
from plugyard.infrastructure.valkey.address import Address
from plugyard.infrastructure.valkey.cache import ValkeyShelves
from plugyard.infrastructure.valkey.link import Link
from plugyard.infrastructure.valkey.places import SharedPlaces
from plugyard.infrastructure.valkey.rates import SharedRates
from plugyard.sandbox.services.base import Scope, Service
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.shared_cache import SharedCacheService
from tests.valkeys import Valkey

CALLS, ROUNDS = 1_000, 15
ASKER = Caller("key:1", Role.DEVELOPER, "tenant")
QUOTAS = Quotas(None, None, 10**9, 10**9, 10**9)
Work = Callable[[], Awaitable[Any]]


async def median_us(work: Work, calls: int = CALLS) -> float:
    """The microseconds that one call takes, in the median round."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(calls):
            await work()
        rounds.append((time.perf_counter() - began) / calls * 1e6)
    return statistics.median(rounds)


async def crowd_us(work: Work, callers: int = 32, calls: int = 100) -> float:
    """The same with so many who ask at once: the time of all, by the number of calls."""

    async def caller() -> None:
        for _ in range(calls):
            await work()

    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(callers)))
        rounds.append((time.perf_counter() - began) / (callers * calls) * 1e6)
    return statistics.median(rounds)


def limits(rates: Rates) -> Work:
    """Two limits with their header fields, of a size that a busy service has."""
    most = {RateClass.EXECUTE: 10**7}
    made = RateLimits(rates, most, most)
    return lambda: made.admit(RateClass.EXECUTE, ASKER, {})


def asked(rates: Rates) -> Work:
    """A limit whose portions are a single request, so that every one is asked for; each time another asks."""
    policy, number = RatePolicy("small", 100), iter(range(10**9))
    return lambda: rates.take(policy, str(next(number)))


def cached(cache: Service) -> Work:
    """A plugin's look for a value of some 100 bytes."""
    scope = Scope("tenant", "plugin", "execution", Permission(Word.CACHE), 0)
    return lambda: cache.call(scope, "get", {"key": "k"})


async def measure(url: str) -> dict[str, float]:
    """Everything, one after another."""
    local = LimitedRates()
    await local.load()
    link = Link(Address(url), connect_s=1, command_s=1)
    rates, places = SharedRates(link, local), SharedPlaces(link)
    sizes = {"plugin_bytes": 1 << 20, "plugin_entries": 1_000, "total_bytes": 1 << 24}
    caches: list[Service] = [CacheService(**sizes), SharedCacheService(ValkeyShelves(link, **sizes))]
    await link.open()
    scope = Scope("tenant", "plugin", "execution", Permission(Word.CACHE), 0)
    for cache in caches:
        await cache.call(scope, "set", {"key": "k", "value": "x" * 100})
    tallies, number = Tallies(), iter(range(10**9))

    async def tally() -> None:
        now = datetime.now(UTC)
        tallies.leave(tallies.take("tenant", QUOTAS, now), now, happened=True)

    async def none() -> int:
        return 0

    async def place() -> None:
        now, execution = datetime.now(UTC), str(next(number))
        await places.take("tenant", execution, QUOTAS, now, none)
        places.leave("tenant", execution, now, happened=True)

    async def ping() -> None:
        await link._lanes[0].send("PING")

    found = {
        "two rate limits, at hand, in process": await median_us(limits(LimitedRates())),
        "two rate limits, at hand, Valkey": await median_us(limits(rates)),
        "one rate limit, asked for, in process": await median_us(asked(LimitedRates())),
        "one rate limit, asked for, Valkey": await median_us(asked(rates)),
        "the same, 32 who ask at once": await crowd_us(asked(rates)),
        "three quotas, taken and given back, in process": await median_us(tally),
        "three quotas, taken and given back, Valkey": await median_us(place),
        "the same, 32 who ask at once ": await crowd_us(place),
        "a plugin's cache get, in process": await median_us(cached(caches[0])),
        "a plugin's cache get, Valkey": await median_us(cached(caches[1])),
        "a round trip that does nothing (PING)": await median_us(ping),
    }
    link.lose("the benchmark takes it away")
    link._watching and link._watching.cancel()
    found["two rate limits, Valkey away"] = await median_us(limits(rates))
    await link.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    with Valkey() as server:
        found = uvloop.run(measure(server.url))
    if as_json:
        print(json.dumps({name.strip(): round(took, 2) for name, took in found.items()}, indent=2))
        return
    for name, took in found.items():
        print(f"{name:52} {took:8.2f} us")


if __name__ == "__main__":
    main()
