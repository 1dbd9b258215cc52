"""Measures what quotas, ceilings and rate limits cost an execution.

    uv run python -m benchmarks.admission            # about a minute; starts two services of its own
    uv run python -m benchmarks.admission --json

First the parts by themselves, in this process: the best of many rounds, because whatever disturbs a round makes it
slower. Then two services side by side, one with every limit and quota set and one with none, called by turns.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import uvloop

from benchmarks.service import Caller, Service, plugin
from plugyard.application.tenants import require_active
from plugyard.domain.identity import Caller as Asker
from plugyard.domain.identity import Role, Tenant
from plugyard.domain.tallies import Tallies
from plugyard.domain.tenants import Quotas
from plugyard.http.rates import RateClass, RateLimits
from plugyard.infrastructure.rates import LimitedRates

CALLS, ROUNDS = 2_000, 15
OFF = [
    flag
    for kind in ("reads", "writes", "executions", "uploads")
    for whose in ("key", "tenant")
    for flag in (f"--rate-{kind}-per-{whose}", "0")
]
OFF += ["--rate-failed-authentications", "0", "--quota-plugins", "0", "--quota-storage-mb", "0"]
ON = [
    flag
    for name in ("executions-per-minute", "executions-per-day", "concurrent-executions")
    for flag in (f"--quota-{name}", "1000000000")
]
ON += ["--rate-executions-per-key", "10000000", "--rate-executions-per-tenant", "20000000"]


async def best_us(work: Callable[[], Awaitable[Any]]) -> float:
    """The microseconds that one call takes, in the best round."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            await work()
        rounds.append((time.perf_counter() - began) / CALLS * 1e6)
    return min(rounds)


async def nothing() -> None:
    """What the loop itself costs, to be taken off."""


async def parts() -> dict[str, float]:
    """Each part by itself."""
    tallies, quotas = Tallies(), Quotas(None, None, 10**9, 10**9, 10**9)

    async def quota() -> None:
        now = datetime.now(UTC)
        tallies.leave(tallies.take("tenant", quotas, now), now, happened=True)

    async def clock() -> None:
        datetime.now(UTC)

    rates = LimitedRates()
    many = {RateClass.EXECUTE: 10**7}
    limits = RateLimits(rates, many, many, failures=60)
    asker = Asker("key:1", Role.DEVELOPER, "tenant")

    async def rate() -> None:
        await limits.admit(RateClass.EXECUTE, asker, {})

    limiter = await rates.load()
    from limits import RateLimitItemPerMinute

    item = RateLimitItemPerMinute(10**9)

    async def library() -> None:
        await limiter.hit(item, "execute-key", "key:1")

    platform: Any = SimpleNamespace(
        clock=lambda: datetime.now(UTC),
        halted={},
        cached={
            ("standing", "tenant"): (datetime.max.replace(tzinfo=UTC), Tenant("tenant", "t", "T", datetime.now(UTC)))
        },
    )

    async def standing() -> None:
        await require_active(platform, asker)

    base = await best_us(nothing)
    return {
        "a place under three quotas, taken and given back": await best_us(quota) - await best_us(clock),
        "whether the tenant is suspended": await best_us(standing) - base,
        "two rate limits and their header fields": await best_us(rate) - base,
        "one hit on the library instead": await best_us(library) - base,
    }


async def one_caller(services: dict[str, tuple[Service, str]], rounds: int, calls: int) -> dict[str, list[float]]:
    """The medians of each round, the services called by turns; milliseconds."""
    callers = {name: await service.caller(plugin_id).open() for name, (service, plugin_id) in services.items()}
    found: dict[str, list[float]] = {name: [] for name in services}
    for number in range(rounds):
        for name in sorted(callers, reverse=bool(number % 2)):
            took = []
            for _ in range(calls):
                began = time.perf_counter()
                await callers[name].call()
                took.append((time.perf_counter() - began) * 1e3)
            if number:  # the first round warms up
                found[name].append(statistics.median(took))
    return found


async def crowd(services: dict[str, tuple[Service, str]], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Executions a second with 32 callers, by turns."""
    found: dict[str, list[float]] = {name: [] for name in services}
    for number in range(rounds):
        for name in sorted(services, reverse=bool(number % 2)):
            service, plugin_id = services[name]
            callers = [await service.caller(plugin_id).open() for _ in range(32)]
            ends = time.perf_counter() + seconds
            counts = await asyncio.gather(*(_until(caller, ends) for caller in callers))
            for caller in callers:
                caller.transport.close()
            if number:
                found[name].append(sum(counts) / seconds)
    return found


async def _until(caller: Caller, ends: float) -> int:
    count = 0
    while time.perf_counter() < ends:
        await caller.call()
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    alone = uvloop.run(parts())
    running = {"with limits": Service(*ON), "without": Service(*OFF)}
    try:
        for service in running.values():
            service.start()
        services = {name: (one, one.upload(plugin("sums"))) for name, one in running.items()}
        single = uvloop.run(one_caller(services, asked.rounds, 200))
        many = uvloop.run(crowd(services, max(3, asked.rounds // 3), 2.0))
    finally:
        for service in running.values():
            service.stop()
            service.remove()
    result = {
        "parts, µs": {name: round(value, 2) for name, value in alone.items()},
        "one caller, p50, ms": {name: round(statistics.median(values), 3) for name, values in single.items()},
        "one caller, what a round with limits took more, median, ms": {
            "difference": round(
                statistics.median(on - off for on, off in zip(single["with limits"], single["without"], strict=True)),
                3,
            )
        },
        "one caller, best round, ms": {name: round(min(values), 3) for name, values in single.items()},
        "32 callers, a second": {name: round(statistics.median(values)) for name, values in many.items()},
    }
    if asked.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return
    for title, values in result.items():
        print(title)
        for name, value in values.items():
            print(f"  {name:52} {value}")


if __name__ == "__main__":
    main()
