"""The store's executions, logs and metrics, written by the recorder that belongs to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from plugyard.application.ports import AuditFilter, ExecutionFilter, LogFilter, LogStep, PageRequest, Reply, StoredReply
from plugyard.domain.execution import ExecutionStatus, Usage
from plugyard.domain.plugin import Plugin, PluginState
from tests.contract.conftest import Stored
from tests.contract.given import (
    NOW,
    a_failure,
    a_log_line,
    a_stored_plugin,
    a_tenant,
    ago,
    an_entry,
    an_event,
    an_execution,
    new_id,
)


async def _plugin(stored: Stored, **changes: object) -> Plugin:
    return await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id, **changes)  # type: ignore[arg-type]


async def test_an_execution_is_there_with_its_logs_and_trail_when_record_returns(stored: Stored) -> None:
    plugin = await _plugin(stored)
    execution = an_execution(plugin, status=ExecutionStatus.TIMED_OUT, error=a_failure())
    lines = [a_log_line(execution, "first"), a_log_line(execution, "second", "error", deep={"a": [1, None]})]
    entry = an_entry(plugin.tenant_id, action="security.violated")
    await stored.recorder.record(execution, lines, [an_event(plugin)], [entry])
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(execution.id) == execution
        assert (await tx.list_logs(plugin.id, LogFilter(), PageRequest())).items == tuple(lines[::-1])
        assert (await tx.list_audit(AuditFilter(), PageRequest())).items == (entry,)


async def test_an_execution_without_usage_comes_back_as_it_was(stored: Stored) -> None:
    plugin = await _plugin(stored)
    execution = an_execution(plugin, status=ExecutionStatus.CANCELLED, usage=None, ended_at=None)
    await stored.recorder.record(execution, [], [], [])
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.execution(execution.id) == execution


async def test_another_tenants_executions_and_logs_are_not_found(stored: Stored) -> None:
    plugin, other = await _plugin(stored), await a_tenant(stored.store)
    execution = an_execution(plugin)
    await stored.recorder.record(execution, [a_log_line(execution)], [], [])
    async with stored.store.for_tenant(other.id) as tx:
        assert await tx.execution(execution.id) is None
        assert (await tx.list_executions(plugin.id, ExecutionFilter(), PageRequest())).items == ()
        assert (await tx.list_logs(plugin.id, LogFilter(), PageRequest())).items == ()
        assert await tx.logs_after(plugin.id, LogFilter(), None) == LogStep()
        assert await tx.outcomes(plugin.id, ago(days=1)) == {}
        assert (await tx.metrics(plugin.id, ago(days=1), NOW)).by_status == {}


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (ExecutionFilter(), [0, 1, 2, 3]),
        (ExecutionFilter(status=ExecutionStatus.FAILED), [1]),
        (ExecutionFilter(function="stop"), [2]),
        (ExecutionFilter(version="2.0.0"), [3]),
        (ExecutionFilter(since=ago(minutes=2), until=NOW), [1, 2]),
        (ExecutionFilter(since=ago(minutes=2), status=ExecutionStatus.FAILED), [1]),
    ],
)
async def test_executions_come_newest_first_and_pass_the_filters(
    stored: Stored, filters: ExecutionFilter, expected: list[int]
) -> None:
    plugin = await _plugin(stored)
    executions = [
        an_execution(plugin),
        an_execution(plugin, started_at=ago(minutes=1), status=ExecutionStatus.FAILED),
        an_execution(plugin, started_at=ago(minutes=2), function="stop"),
        an_execution(plugin, started_at=ago(minutes=3), version="2.0.0"),
    ]
    for execution in executions:
        await stored.recorder.record(execution, [], [], [])
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        first = await tx.list_executions(plugin.id, filters, PageRequest(3))
        rest = await tx.list_executions(plugin.id, filters, PageRequest(3, first.next_cursor))
    found = first.items + (rest.items if first.next_cursor else ())
    assert [one.id for one in found] == [executions[place].id for place in expected]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (LogFilter(), ["boom", "careful", "100% done_it", "quiet"]),
        (LogFilter(level="info"), ["boom", "careful", "100% done_it"]),
        (LogFilter(level="error"), ["boom"]),
        (LogFilter(q="CARE"), ["careful"]),
        (LogFilter(q="%"), ["100% done_it"]),
        (LogFilter(q="_"), ["100% done_it"]),
        (LogFilter(since=ago(seconds=2), until=ago(seconds=1)), ["100% done_it"]),
        (LogFilter(execution_id="nothing"), []),
        (LogFilter(execution_id="00000000-0000-0000-0000-000000000000"), []),
    ],
)
async def test_log_lines_come_newest_first_and_pass_the_filters(
    stored: Stored, filters: LogFilter, expected: list[str]
) -> None:
    plugin = await _plugin(stored)
    execution = an_execution(plugin)
    said = [("quiet", "debug"), ("100% done_it", "info"), ("careful", "warning"), ("boom", "error")]
    lines = [
        a_log_line(execution, message, level, at=ago(seconds=3 - place)) for place, (message, level) in enumerate(said)
    ]
    await stored.recorder.record(execution, lines, [], [])
    found, cursor = [], None
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        for _ in range(3):
            page = await tx.list_logs(plugin.id, filters, PageRequest(2, cursor))
            found += [one.line.message for one in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
        of_it = await tx.list_logs(plugin.id, LogFilter(execution_id=execution.id), PageRequest())
    assert found == expected
    assert len(of_it.items) == 4


async def test_a_log_is_followed_from_its_newest_line_on(stored: Stored) -> None:
    plugin = await _plugin(stored)
    execution = an_execution(plugin)
    early = [a_log_line(execution, f"early {number}") for number in range(3)]
    await stored.recorder.record(execution, early, [], [])
    later_execution = an_execution(plugin)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        newest = early[-1]
        assert await tx.logs_after(plugin.id, LogFilter(), None) == LogStep((newest,), newest.id)
        assert await tx.logs_after(plugin.id, LogFilter(q="2"), None) == LogStep((newest,), newest.id)
        assert await tx.logs_after(plugin.id, LogFilter(), newest.id) == LogStep()
    late = [a_log_line(later_execution, f"late {number}", "error" if number % 2 else "info") for number in range(250)]
    await stored.recorder.record(later_execution, late, [], [])
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        step = await tx.logs_after(plugin.id, LogFilter(), newest.id)
        assert step == LogStep(tuple(late[:200]), late[199].id, more=True)
        assert await tx.logs_after(plugin.id, LogFilter(), late[199].id) == LogStep(tuple(late[200:]), late[-1].id)
        errors = await tx.logs_after(plugin.id, LogFilter(level="error"), newest.id)
        assert errors == LogStep(tuple(late[1::2]), late[-1].id)


async def test_a_log_is_followed_behind_what_does_not_pass(stored: Stored) -> None:
    plugin = await _plugin(stored)
    execution = an_execution(plugin)
    lines = [a_log_line(execution, f"line {number}") for number in range(3)]
    await stored.recorder.record(execution, lines, [], [])
    nothing = LogFilter(q="nobody says this")
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.logs_after(plugin.id, nothing, None) == LogStep((), lines[-1].id)
        assert await tx.logs_after(plugin.id, nothing, lines[0].id) == LogStep((), lines[-1].id)
        assert await tx.logs_after(plugin.id, nothing, lines[-1].id) == LogStep()
        assert await tx.logs_after(plugin.id, LogFilter(q="line 1"), lines[0].id) == LogStep((lines[1],), lines[-1].id)


async def test_metrics_tell_the_same_on_every_store(stored: Stored) -> None:
    plugin = await _plugin(stored)
    for number in range(10):
        execution = an_execution(
            plugin,
            started_at=ago(minutes=number),
            status=ExecutionStatus.FAILED if number == 3 else ExecutionStatus.SUCCEEDED,
            function="stop" if number == 4 else "run",
            usage=Usage(float(number), 2.0, 1000 + number, 1, "cold" if number == 9 else "warm"),
        )
        await stored.recorder.record(execution, [], [], [])
    queued = an_execution(plugin, status=ExecutionStatus.QUEUED, usage=None, started_at=ago(seconds=30))
    await stored.recorder.record(queued, [], [], [])
    outside = an_execution(plugin, started_at=NOW + timedelta(seconds=1))
    await stored.recorder.record(outside, [], [], [])
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        metrics = await tx.metrics(plugin.id, ago(minutes=9), NOW + timedelta(seconds=1))
    assert metrics.by_status == {
        ExecutionStatus.SUCCEEDED: 9,
        ExecutionStatus.FAILED: 1,
        ExecutionStatus.QUEUED: 1,
    }
    assert metrics.wall_ms == pytest.approx({"mean": 4.5, "p50": 4.5, "p95": 8.55, "p99": 8.91, "max": 9.0})
    assert metrics.cpu_ms_total == pytest.approx(20.0)
    assert metrics.cpu_ms_mean == pytest.approx(2.0)
    assert metrics.peak_memory_bytes_max == 1009
    assert metrics.by_function == {"run": 10, "stop": 1}
    assert metrics.starts == {"warm": 9, "cold": 1}


async def test_metrics_of_an_empty_window_say_so(stored: Stored) -> None:
    plugin = await _plugin(stored)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        metrics = await tx.metrics(plugin.id, ago(days=1), NOW)
    assert metrics.by_status == {}
    assert metrics.wall_ms == {"mean": None, "p50": None, "p95": None, "p99": None, "max": None}
    assert (metrics.cpu_ms_total, metrics.cpu_ms_mean, metrics.peak_memory_bytes_max) == (0, None, None)


async def test_outcomes_count_each_status_in_the_window(stored: Stored) -> None:
    plugin = await _plugin(stored)
    for status, minutes in [("succeeded", 1), ("succeeded", 2), ("crashed", 3), ("failed", 60)]:
        execution = an_execution(plugin, status=ExecutionStatus(status), started_at=ago(minutes=minutes))
        await stored.recorder.record(execution, [], [], [])
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        counts = await tx.outcomes(plugin.id, ago(minutes=5))
    assert dict(counts) == {ExecutionStatus.SUCCEEDED: 2, ExecutionStatus.CRASHED: 1}


async def test_plugins_to_check_are_active_and_ran_and_the_longest_unchecked_come_first(stored: Stored) -> None:
    from plugyard.domain.health import Health, HealthStatus

    tenant = await a_tenant(stored.store)
    ran_never_checked = await a_stored_plugin(stored.store, tenant.id, "a", state=PluginState.ACTIVE)
    checked = Health(HealthStatus.HEALTHY, 100, ago(minutes=5))
    ran_checked = await a_stored_plugin(stored.store, tenant.id, "b", state=PluginState.ACTIVE, health=checked)
    inactive = await a_stored_plugin(stored.store, tenant.id, "c", state=PluginState.INACTIVE)
    await a_stored_plugin(stored.store, tenant.id, "d", state=PluginState.ACTIVE)
    for plugin in (ran_never_checked, ran_checked, inactive):
        await stored.recorder.record(an_execution(plugin), [], [], [])
    async with stored.store.for_operator() as tx:
        found = await tx.plugins_to_check(ago(minutes=1), 100_000)
    mine = [plugin_id for tenant_id, plugin_id in found if tenant_id == tenant.id]
    assert mine == [ran_never_checked.id, ran_checked.id]


async def test_an_execution_of_an_unknown_id_is_none(stored: Stored) -> None:
    tenant = await a_tenant(stored.store)
    async with stored.store.for_tenant(tenant.id) as tx:
        assert await tx.execution(new_id()) is None


async def test_the_answer_under_a_key_is_kept_with_the_record_and_by_who_holds_it_alone(stored: Stored) -> None:
    plugin = await a_stored_plugin(stored.store, (await a_tenant(stored.store)).id)
    execution, other = an_execution(plugin), an_execution(plugin)
    claim = StoredReply("hash", execution.id, None, NOW)
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.claim_key(plugin.id, "key", claim) is None
    await stored.recorder.record(other, [], [], [], reply=Reply("key", {"output": "other"}))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        assert await tx.claim_key(plugin.id, "key", claim) == claim
    await stored.recorder.record(execution, [], [], [], reply=Reply("key", {"output": "[1]"}))
    async with stored.store.for_tenant(plugin.tenant_id) as tx:
        # It has an answer, so it is nobody's to give free.
        await tx.settle_key(plugin.id, "key", execution.id, None)
        assert await tx.claim_key(plugin.id, "key", claim) == replace(claim, response={"output": "[1]"})
