"""What a tenant's executions add up to, the same before and after they were counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from plugyard.domain.analytics import Analytics, Grain, Window, percentile
from plugyard.domain.execution import ExecutionStatus, Usage
from plugyard.domain.plugin import Plugin
from plugyard.infrastructure.postgres.store import PostgresStore
from tests.contract.conftest import Stored
from tests.contract.given import a_log_line, a_stored_plugin, a_tenant, an_execution

MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
# From an hour of one day over two whole days to an hour of the next.
WIDE = Window(MIDNIGHT - timedelta(days=3, hours=2), MIDNIGHT - timedelta(hours=20), Grain.DAY)


async def _fold(stored: Stored) -> None:
    if isinstance(stored.store, PostgresStore):
        await stored.store.fold_executions()


async def _read(stored: Stored, tenant_id: str, window: Window, top: int = 10) -> Analytics:
    async with stored.store.for_tenant(tenant_id) as tx:
        return await tx.analytics(window, top)


async def _given(stored: Stored, *, fold_at: int = -1) -> tuple[Plugin, Plugin]:
    tenant = await a_tenant(stored.store)
    often = await a_stored_plugin(stored.store, tenant.id, "often")
    seldom = await a_stored_plugin(stored.store, tenant.id, "seldom")
    for number in range(60):
        at = WIDE.since + timedelta(minutes=70 * number)
        status = ExecutionStatus.FAILED if number % 6 == 5 else ExecutionStatus.SUCCEEDED
        usage = Usage(1.5 + number, 0.5, 1000, 0, "warm")
        execution = an_execution(often, started_at=at, status=status, usage=usage)
        await stored.recorder.record(execution, [a_log_line(execution)] * (number % 2), [], [])
        if number == fold_at:
            await _fold(stored)
    cancelled = an_execution(
        seldom, started_at=MIDNIGHT - timedelta(days=2), status=ExecutionStatus.CANCELLED, usage=None
    )
    await stored.recorder.record(cancelled, [], [], [])
    return often, seldom


@pytest.mark.parametrize("folded", ["before", "half", "after"])
async def test_everything_in_the_window_is_counted_once(stored: Stored, folded: str) -> None:
    often, seldom = await _given(stored, fold_at=30 if folded == "half" else -1)
    if folded == "after":
        await _fold(stored)
    found = await _read(stored, often.tenant_id, WIDE)
    inside = [n for n in range(60) if WIDE.since + timedelta(minutes=70 * n) < WIDE.until]
    failed = sum(n % 6 == 5 for n in inside)
    assert 40 < len(inside) < 60
    assert found.by_status == {
        ExecutionStatus.SUCCEEDED: len(inside) - failed,
        ExecutionStatus.FAILED: failed,
        ExecutionStatus.CANCELLED: 1,
    }
    assert found.error_rate == pytest.approx(failed / len(inside))
    assert sum(piece.executions for piece in found.pieces) == len(inside) + 1
    assert sum(piece.failed for piece in found.pieces) == failed
    assert [piece.at for piece in found.pieces] == [MIDNIGHT - timedelta(days=days) for days in (4, 3, 2, 1)]
    assert found.wall_ms_mean == pytest.approx(1.5 + sum(inside) / len(inside))
    assert found.wall_ms_max == 1.5 + max(inside)
    assert found.cpu_ms_total == pytest.approx(0.5 * len(inside))
    assert found.logs == sum(n % 2 for n in inside)
    assert percentile(found.walls, 0.5) == pytest.approx(1.5 + inside[len(inside) // 2 - 1], rel=0.05)
    assert [(one.plugin_id, one.name, one.executions, one.failed) for one in found.plugins] == [
        (often.id, "often", len(inside), failed),
        (seldom.id, "seldom", 1, 0),
    ]
    assert [one.plugin_id for one in (await _read(stored, often.tenant_id, WIDE, top=1)).plugins] == [often.id]


@pytest.mark.parametrize("folded", [False, True])
async def test_a_day_is_cut_into_its_hours(stored: Stored, folded: bool) -> None:
    often, _ = await _given(stored)
    if folded:
        await _fold(stored)
    window = Window(MIDNIGHT - timedelta(days=2), MIDNIGHT - timedelta(days=1), Grain.HOUR)
    found = await _read(stored, often.tenant_id, window)
    times = [at for n in range(60) if window.since <= (at := WIDE.since + timedelta(minutes=70 * n)) < window.until]
    hours = {at.replace(minute=0) for at in times} | {window.since}
    assert {piece.at for piece in found.pieces} == hours
    assert sum(piece.executions for piece in found.pieces) == len(times) + 1


async def test_other_tenants_and_a_window_without_anything_count_nothing(stored: Stored) -> None:
    often, _ = await _given(stored)
    other = await a_tenant(stored.store)
    for tenant_id, window in (
        (other.id, WIDE),
        (often.tenant_id, Window(MIDNIGHT - timedelta(days=80), MIDNIGHT - timedelta(days=70), Grain.DAY)),
    ):
        found = await _read(stored, tenant_id, window)
        assert (found.by_status, found.pieces, found.plugins) == ({}, (), ())
        assert (found.error_rate, found.wall_ms_mean, found.wall_ms_max, found.logs) == (None, None, None, 0)
        assert percentile(found.walls, 0.5) is None


async def test_a_record_that_is_written_twice_is_counted_once(stored: Stored) -> None:
    plugin = await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)
    execution = an_execution(plugin)
    for _ in range(2):
        await stored.recorder.record(execution, [], [], [])
    hour = execution.started_at.replace(minute=0, second=0, microsecond=0)
    found = await _read(stored, plugin.tenant_id, Window(hour, hour + timedelta(hours=1), Grain.HOUR))
    assert found.by_status == {ExecutionStatus.SUCCEEDED: 1}
