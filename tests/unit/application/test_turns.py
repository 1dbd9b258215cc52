"""Reads that take long leave connections to other tenants."""

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from plugyard.application import turns
from plugyard.application.analytics import analytics
from plugyard.application.history import executions
from plugyard.application.observe import LONGEST, logs, logs_after, metrics
from plugyard.application.ports import ExecutionFilter, LogFilter, PageRequest
from plugyard.application.turns import Turns
from plugyard.domain.errors import InvalidInput, Overloaded
from plugyard.domain.identity import Caller
from tests.memory.world import World


async def test_long_reads_of_a_tenant_take_turns_and_those_of_others_go_on(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    ours, theirs = (await world.active(admin)).plugin.id, (await world.active(other)).plugin.id

    def reads(caller: Caller, plugin_id: str) -> list[asyncio.Task[object]]:
        page = PageRequest()
        return [
            asyncio.ensure_future(one)
            for one in (
                metrics(world.platform, caller, plugin_id, None, None),
                logs(world.platform, caller, plugin_id, LogFilter(), page),
                logs_after(world.platform, caller, plugin_id, LogFilter(), None),
                executions(world.platform, caller, plugin_id, ExecutionFilter(), page),
                analytics(world.platform, caller, since=None, until=None, grain=None, top=1),
            )
        ]

    async with AsyncExitStack() as held:
        for _ in range(4):
            await held.enter_async_context(world.platform.long_reads.one(str(admin.tenant_id)))
        waiting = reads(admin, ours)
        await asyncio.wait_for(asyncio.gather(*reads(other, theirs)), 2)
        assert not any(one.done() for one in waiting)
    await asyncio.wait_for(asyncio.gather(*waiting), 2)


async def test_so_many_wait_for_their_turn_and_nothing_is_kept_of_a_tenant_that_has_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(turns, "MOST_WAITING", 1)
    of_all = Turns(1)

    async def turn() -> None:
        async with of_all.one("a"):
            pass

    async with of_all.one("a"):
        waiting = asyncio.create_task(turn())
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await turn()
        async with of_all.one("b"):
            pass
        waiting.cancel()
        await asyncio.wait([waiting])
        waiting = asyncio.create_task(turn())
        await asyncio.sleep(0)
    await waiting
    assert of_all._tenants == {}


async def test_a_window_of_metrics_has_a_longest(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin)).plugin.id
    until = world.clock()
    await metrics(world.platform, admin, plugin_id, until - LONGEST, until)
    for since, end in (
        (until - LONGEST - timedelta(seconds=1), None),
        (datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)),
        (None, datetime(1, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(InvalidInput):
            await metrics(world.platform, admin, plugin_id, since, end)
