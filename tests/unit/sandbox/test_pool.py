"""The pool with environments that are none: who gets one, who waits, for how long, and what makes way."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from plugyard.domain.errors import Overloaded
from plugyard.sandbox.jail import JailConfig
from plugyard.sandbox.outside import pool as pool_module
from plugyard.sandbox.outside.broker import End, Environment, State
from plugyard.sandbox.outside.pool import Key, Pool, PoolSettings

MB = 1 << 20
Make = Callable[..., Pool]


class Stub(Environment):
    """An environment without a process."""

    numbers = itertools.count(1)

    def __init__(self, runtime: str) -> None:
        self.number = next(self.numbers)
        self.runtime, self.state = runtime, State.IDLE
        self.born = self.idle_since = time.monotonic()
        self.private_bytes, self.counted_bytes = 10 * MB, 0
        self.retired = self.renewing = False
        self.ended: End | None = None

    @property
    def alive(self) -> bool:
        return self.state is not State.ENDED

    def end(self, why: End, how: Any = None, detail: str = "") -> None:
        self.state, self.ended = State.ENDED, why


@pytest.fixture
async def make(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Make]:
    made: list[Pool] = []

    async def start(pool: Pool, runtime: str, stack_bytes: int = 0) -> Environment:
        await asyncio.sleep(0)
        return Stub(runtime)

    monkeypatch.setattr(pool_module.Pool, "_make", start)

    def pool(**settings: Any) -> Pool:
        made.append(Pool(None, ("python",), PoolSettings(spares=0, **settings), JailConfig()))  # type: ignore[arg-type]
        return made[-1]

    yield pool
    for one in made:
        await one.close()


def key(tenant: str, plugin: str = "p") -> Key:
    return (tenant, plugin, "digest", 128 * MB)


async def _acquire(pool: Pool, tenant: str, plugin: str = "p") -> Environment:
    environment, _ = await pool.acquire(key(tenant, plugin), "python", False)
    return environment


async def test_an_environment_is_used_again_for_the_same_plugin_of_the_same_tenant_alone(make: Make) -> None:
    pool = make()
    first = await _acquire(pool, "acme")
    pool.release(first)
    assert await _acquire(pool, "acme") is first
    pool.release(first)
    assert await _acquire(pool, "globex") is not first
    assert await _acquire(pool, "acme", "other") is not first


async def test_one_tenant_cannot_hold_all_environments(make: Make) -> None:
    pool = make(max_environments=8, share=0.75, crowd=100)
    held = [await _acquire(pool, "acme", f"p{number}") for number in range(6)]
    seventh = asyncio.create_task(_acquire(pool, "acme", "p6"))
    await asyncio.sleep(0.01)
    assert not seventh.done()
    others = [await asyncio.wait_for(_acquire(pool, "globex", f"p{number}"), 1) for number in range(2)]
    pool.release(held[0])
    await asyncio.wait_for(seventh, 1)
    assert len({*held, *others, seventh.result()}) == 9


async def test_a_burst_queues_behind_its_own_and_others_have_their_turn(make: Make) -> None:
    pool = make(max_environments=4, share=1.0, crowd=100)
    held = [await _acquire(pool, "acme", f"p{number}") for number in range(4)]
    order: list[str] = []

    async def call(tenant: str) -> None:
        environment = await _acquire(pool, tenant, "later")
        order.append(tenant)
        pool.discard(environment)

    burst = [asyncio.create_task(call("acme")) for _ in range(20)]
    await asyncio.sleep(0.01)
    late = asyncio.create_task(call("globex"))
    await asyncio.sleep(0.01)
    pool.discard(held[0])
    await asyncio.gather(*burst, late)
    assert order.index("globex") <= 1


async def test_two_loud_tenants_that_hold_everything_do_not_starve_a_third(make: Make) -> None:
    pool = make(max_environments=4, queue_timeout_s=2)
    ends = asyncio.Event()
    calls: dict[str, int] = {"acme": 0, "globex": 0}

    async def loud(tenant: str) -> None:
        while not ends.is_set():
            environment = await _acquire(pool, tenant)
            await asyncio.sleep(0.005)
            calls[tenant] += 1
            pool.release(environment)

    callers = [asyncio.create_task(loud(tenant)) for tenant in calls for _ in range(12)]
    await asyncio.sleep(0.1)
    began = asyncio.get_running_loop().time()
    quiet = await _acquire(pool, "initech")
    assert asyncio.get_running_loop().time() - began < 0.5
    pool.release(quiet)
    ends.set()
    await asyncio.gather(*callers)
    assert max(calls.values()) < 2 * min(calls.values())


async def test_a_place_that_somebody_waited_for_is_not_taken_by_whoever_comes_at_that_moment(make: Make) -> None:
    pool = make(max_environments=1, share=1.0)
    held = await _acquire(pool, "acme", "held")
    waiting = asyncio.create_task(_acquire(pool, "acme", "waiting"))
    await asyncio.sleep(0.01)
    pool.discard(held)
    late = asyncio.create_task(_acquire(pool, "acme", "late"))
    await asyncio.sleep(0.05)
    assert waiting.done()
    assert not late.done()
    assert pool.environments()["running"] == 1
    pool.discard(waiting.result())
    pool.discard(await asyncio.wait_for(late, 1))
    assert pool.environments()["starting"] == 0


async def test_room_for_several_lets_several_in(make: Make) -> None:
    pool = make(memory_bytes=100 * MB, max_environments=100)
    large = await _acquire(pool, "acme", "large")
    large.private_bytes = 200 * MB
    pool._count_memory(large)
    waiting = [asyncio.create_task(_acquire(pool, "acme", f"p{number}")) for number in range(3)]
    await asyncio.sleep(0.01)
    assert not any(one.done() for one in waiting)
    pool.discard(large)
    await asyncio.wait_for(asyncio.gather(*waiting), 1)


async def test_a_waiter_that_was_let_in_and_is_cancelled_leaves_its_place_to_the_next(make: Make) -> None:
    pool = make(max_environments=1, share=1.0)
    held = await _acquire(pool, "acme", "held")
    first, second = (asyncio.create_task(_acquire(pool, "acme", name)) for name in ("first", "second"))
    await asyncio.sleep(0.01)
    pool.discard(held)
    first.cancel()
    await asyncio.wait_for(second, 1)
    assert first.cancelled()
    assert pool.environments()["running"] == 1
    assert pool.environments()["starting"] == 0


async def test_past_the_bound_a_call_is_refused_with_how_long_the_first_has_waited(make: Make) -> None:
    pool = make(max_environments=1, queue_per_tenant=2)
    held = await _acquire(pool, "acme", "held")
    waiting = [asyncio.create_task(_acquire(pool, "acme", f"w{number}")) for number in range(2)]
    await asyncio.sleep(1.2)
    with pytest.raises(Overloaded) as refused:
        await _acquire(pool, "acme", "refused")
    assert 1.1 < refused.value.retry_after_s < 2
    pool.discard(held)
    pool.discard(await waiting[0])
    await waiting[1]


async def test_who_waits_too_long_is_told_so_and_leaves_no_trace(make: Make) -> None:
    pool = make(max_environments=1, queue_timeout_s=0.05)
    held = await _acquire(pool, "acme", "held")
    with pytest.raises(Overloaded):
        await _acquire(pool, "globex")
    assert pool.environments()["queued"] == 0
    pool.release(held)
    await asyncio.wait_for(_acquire(pool, "globex"), 1)


async def test_a_wait_that_is_cancelled_gives_its_environment_to_the_next(make: Make) -> None:
    pool = make(max_environments=1)
    held = await _acquire(pool, "acme")
    first, second = (asyncio.create_task(_acquire(pool, "acme")) for _ in range(2))
    await asyncio.sleep(0.01)
    pool.release(held)
    first.cancel()
    assert await asyncio.wait_for(second, 1) is held
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_idle_environments_make_way_where_memory_is_short(make: Make) -> None:
    pool = make(memory_bytes=35 * MB, max_environments=100)
    idle = [await _acquire(pool, "acme", f"p{number}") for number in range(3)]
    for one in idle:
        pool.release(one)
    pool.release(await _acquire(pool, "globex"))
    assert [one.alive for one in idle] == [False, True, True]


async def test_an_idle_environment_of_another_tenant_makes_way_where_processes_are_short(make: Make) -> None:
    pool = make(max_environments=2, share=1.0)
    idle = [await _acquire(pool, "acme", f"p{number}") for number in range(2)]
    for one in idle:
        pool.release(one)
    await _acquire(pool, "globex")
    assert [one.alive for one in idle] == [False, True]


async def test_an_environment_that_nobody_uses_and_one_that_is_old_are_ended(make: Make) -> None:
    pool = make(idle_s=0.05, max_age_s=3600.0)
    unused = await _acquire(pool, "acme")
    pool.release(unused)
    sweeping = asyncio.create_task(pool._sweep())
    await asyncio.sleep(0.2)
    sweeping.cancel()
    assert not unused.alive
    pool = make(max_age_s=0.05)
    old = await _acquire(pool, "acme")
    await asyncio.sleep(0.1)
    pool.release(old)
    assert not old.alive
    assert pool.environments()["idle"] == 0


async def test_the_sum_of_memory_is_what_its_environments_use(make: Make) -> None:
    pool = make(max_environments=100)
    held = [await _acquire(pool, "acme", f"p{number}") for number in range(5)]
    held[0].private_bytes = 50 * MB
    pool.release(held[0])
    pool.discard(held[1])
    held[2].end(End.DIED)
    pool.discard(held[2])
    assert pool._memory() == (50 + 10 + 10) * MB
    pool.forget("p0")
    assert pool._memory() == 20 * MB
    for one in held[3:]:
        pool.discard(one)
    assert pool._memory() == 0
    assert pool.environments()["running"] == 0


async def test_closing_tells_those_who_wait(make: Make) -> None:
    pool = make(max_environments=1)
    await _acquire(pool, "acme")
    waiting = asyncio.create_task(_acquire(pool, "acme"))
    await asyncio.sleep(0.01)
    await pool.close()
    with pytest.raises(Exception, match="closing"):
        await waiting
