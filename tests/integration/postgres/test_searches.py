"""A search looks at so many rows for a page, and its pages together find everything, once."""

from __future__ import annotations

import pytest

from plugyard.application.ports import ExecutionFilter, LogFilter, LogStep, PageRequest
from plugyard.domain.execution import ExecutionStatus
from plugyard.infrastructure.postgres import lists
from tests.contract.given import a_log_line, a_stored_plugin, a_tenant, ago, an_execution
from tests.integration.conftest import Database

NIL = "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize("most", [1, 7, 10, 30, 31])
async def test_what_is_rare_is_found_over_pages_that_may_be_empty(
    database: Database, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(lists, "MOST_SEEN", most)
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    rare = {3, 4, 20, 29}
    executions = []
    for number in range(30):
        status = ExecutionStatus.CRASHED if number in rare else ExecutionStatus.SUCCEEDED
        execution = an_execution(plugin, started_at=ago(minutes=number), status=status)
        executions.append(execution)
        await database.recorder.record(execution, [a_log_line(execution, f"line {status.value}")], [], [])
    crashed, lines, pages = [], [], 0
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        cursor = None
        while True:
            page = await tx.list_executions(plugin.id, ExecutionFilter(ExecutionStatus.CRASHED), PageRequest(2, cursor))
            crashed += [one.id for one in page.items]
            pages += 1
            assert len(page.items) <= 2
            if (cursor := page.next_cursor) is None:
                break
        while True:
            found = await tx.list_logs(plugin.id, LogFilter(q="crashed"), PageRequest(2, cursor))
            lines += [one.execution_id for one in found.items]
            if (cursor := found.next_cursor) is None:
                break
    assert crashed == [executions[number].id for number in sorted(rare)]
    assert sorted(lines) == sorted(crashed)
    assert pages >= 30 // most


async def test_a_step_of_following_looks_at_so_many_lines_and_goes_on_behind_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "MOST_SEEN", 10)
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    execution = an_execution(plugin)
    lines = [a_log_line(execution, "rare" if number in {3, 24} else "usual") for number in range(30)]
    await database.recorder.record(execution, lines, [], [])
    rare, place, steps = LogFilter(q="rare"), NIL, []
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        while True:
            step = await tx.logs_after(plugin.id, rare, place)
            steps.append(step)
            if not step.more:
                break
            assert step.last is not None
            place = step.last
        # The newest that passes is behind those that one look goes through.
        usual = [a_log_line(execution, "usual") for _ in range(20)]
    await database.recorder.record(execution, usual, [], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.logs_after(plugin.id, rare, None) == LogStep((), usual[-1].id)
    assert steps == [
        LogStep((lines[3],), lines[9].id, more=True),
        LogStep((), lines[19].id, more=True),
        LogStep((lines[24],), lines[29].id, more=True),
        LogStep(),
    ]


async def test_an_execution_is_found_however_far_from_the_time_in_its_id_it_started(database: Database) -> None:
    plugin = await a_stored_plugin(database.store, (await a_tenant(database.store)).id)
    near, far = an_execution(plugin), an_execution(plugin, started_at=ago(days=3))
    odd = an_execution(plugin, id="123e4567-e89b-42d3-a456-426614174000")
    beyond = an_execution(plugin, id="ffffffff-ffff-7fff-bfff-ffffffffffff")
    for one in (near, far, odd, beyond):
        await database.recorder.record(one, [], [], [])
    async with database.store.for_tenant(plugin.tenant_id) as tx:
        for one in (near, far, odd, beyond):
            assert await tx.execution(one.id) == one
