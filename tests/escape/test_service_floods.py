"""Floods of service calls: the service's own memory stays where it was, and the next call is served."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.registry import Services
from tests.escape.hostile import run, value

GRANTS = (Permission(Service.CACHE),)
# Lower than the defaults, so that fifty floods take seconds.
LIMITS = {"service_calls": 100, "service_bytes": 1 << 20}
JAVASCRIPT = """
export async function flood(_: unknown, { services: { cache } }) { for (;;) await cache.get("x").catch(() => {}); }
export async function burst(_: unknown, { services: { cache } }) {
  await Promise.all([...Array(500).keys()].map((n) => cache.set(String(n % 7), "x".repeat(1000))));
}
export async function large(_: unknown, { services: { cache } }) {
  for (;;) await cache.set("x", "x".repeat(200_000));
}
export async function huge(_: unknown, { services: { cache } }) {
  try { await cache.set("x", "x".repeat(5_000_000)); } catch (error) { return error.code; }
}
export async function many(_: unknown, { services: { cache } }) {
  try { await cache.set("x", Array(60_000).fill([])); } catch (error) { return error.code; }
}
export function ignored(_: unknown, { services: { cache } }) {
  for (let n = 0; n < 900; n++) cache.get("x");
  return "left";
}
export async function honest(_: unknown, { services: { cache } }) { await cache.set("a", 1); return cache.get("a"); }
"""


@pytest.fixture(scope="module")
async def served(guests: Guests) -> AsyncIterator[Sandbox]:
    """A sandbox that offers a cache."""
    services = Services(calls_per_second=100_000)
    services.offer("cache", CacheService())
    sandbox = Sandbox(guests, PoolSettings(spares=1, max_environments=8), services=services)
    await sandbox.start()
    yield sandbox
    await sandbox.close()
    await services.close()


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("flood", "service_calls_exceeded"),
        ("burst", "service_calls_exceeded"),
        ("large", "service_bytes_exceeded"),
    ],
)
async def test_a_flood_is_ended_each_time_and_leaves_no_memory_behind(
    served: Sandbox, function: str, code: str
) -> None:
    own = psutil.Process()
    before = None
    for number in range(50):
        outcome = await run(served, Runtime.JAVASCRIPT, JAVASCRIPT, function, grants=GRANTS, **LIMITS)
        assert (outcome.status, outcome.error and outcome.error.code) == (ExecutionStatus.FAILED, code)
        if number == 4:  # The cache may fill, and the interpreter has its pools.
            before = own.memory_info().rss
    assert value(await run(served, Runtime.JAVASCRIPT, JAVASCRIPT, "honest", grants=GRANTS)) == 1
    assert before is not None
    assert own.memory_info().rss - before < 32 << 20
    assert not [task for task in asyncio.all_tasks() if "Calls" in repr(task.get_coro())]


@pytest.mark.parametrize(("function", "told"), [("huge", "arguments_too_large"), ("many", "invalid_arguments")])
async def test_arguments_beyond_measure_are_an_error_that_the_plugin_can_catch(
    served: Sandbox, function: str, told: str
) -> None:
    assert value(await run(served, Runtime.JAVASCRIPT, JAVASCRIPT, function, grants=GRANTS)) == told


async def test_calls_that_nobody_waits_for_end_with_the_execution(served: Sandbox) -> None:
    for _ in range(5):
        outcome = await run(served, Runtime.JAVASCRIPT, JAVASCRIPT, "ignored", grants=GRANTS, plugin="p", fresh=False)
        assert value(outcome) == "left"
        after = await run(served, Runtime.JAVASCRIPT, JAVASCRIPT, "honest", grants=GRANTS, plugin="p", fresh=False)
        assert (value(after), after.usage.start, after.usage.service_calls) == (1, "warm", 2)


async def test_a_tenant_that_floods_does_not_keep_another_from_its_calls(served: Sandbox) -> None:
    floods = [
        asyncio.create_task(run(served, Runtime.JAVASCRIPT, JAVASCRIPT, "flood", grants=GRANTS, tenant="flood"))
        for _ in range(4)
    ]
    honest = await run(served, Runtime.JAVASCRIPT, JAVASCRIPT, "honest", grants=GRANTS, tenant="honest")
    assert value(honest) == 1
    await asyncio.gather(*floods)
