"""Executions, logs and metrics as rows. A part of the transaction that `store` opens; `recorder` writes them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from plugyard.application.ports import ExecutionFilter, LogFilter, LogStep, Metrics, Page, PageRequest, StoredLogLine
from plugyard.domain.execution import Attempt, Execution, ExecutionFailure, ExecutionStatus, LogLine, Usage
from plugyard.infrastructure.postgres.rows import Session, time_in, uuid_or_none
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("executions")
_BEFORE, _BEHIND = timedelta(minutes=5), timedelta(hours=1)
"""How far an execution's start may lie from the time in its id and be found at once."""


class ExecutionRows(Session):
    """The execution part of `application.ports.Transaction`."""

    async def execution(self, execution_id: str) -> Execution | None:
        """The execution of that id."""
        if uuid_or_none(execution_id) is None:
            return None
        row, made = None, time_in(execution_id)
        if made is not None:
            # Few partitions instead of all. What started much later than its id was made is looked for below.
            near = {"id": execution_id, "since": made - _BEFORE, "until": made + _BEHIND}
            row = await self._one(_SQL["execution by id, near its time"], near)
        if row is None:
            row = await self._one(_SQL["execution by id"], {"id": execution_id})
        return _execution(row) if row else None

    async def list_executions(self, plugin_id: str, filters: ExecutionFilter, page: PageRequest) -> Page[Execution]:
        """The plugin's executions that pass the filters, the newest first."""
        from plugyard.infrastructure.postgres import lists

        if uuid_or_none(plugin_id) is None:
            return Page(())
        query = lists.executions(plugin_id, filters, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_execution(row) for row in rows), cursor)

    async def list_logs(self, plugin_id: str, filters: LogFilter, page: PageRequest) -> Page[StoredLogLine]:
        """The plugin's log lines that pass the filters, the newest first."""
        from plugyard.infrastructure.postgres import lists

        if uuid_or_none(plugin_id) is None:
            return Page(())
        query = lists.logs(plugin_id, filters, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_log_line(row) for row in rows), cursor)

    async def logs_after(self, plugin_id: str, filters: LogFilter, after_id: str | None) -> LogStep:
        """At most 200 log lines behind `after_id`, the oldest first; without one, the newest line to follow from."""
        from plugyard.infrastructure.postgres import lists

        if uuid_or_none(plugin_id) is None:
            return LogStep()
        if after_id is None:
            # Whatever the filters pass: to find where they last did, all of the log might have to be read.
            newest = (await self.list_logs(plugin_id, LogFilter(), PageRequest(limit=1))).items
            lines = newest if filters == LogFilter() else None
            if lines is None:
                lines = (await self.list_logs(plugin_id, filters, PageRequest(limit=1))).items
            return LogStep(lines, newest[0].id if newest else None)
        if uuid_or_none(after_id) is None:
            return LogStep()
        query = lists.logs_after(plugin_id, filters, after_id)
        rows = await self._all(query.text, query.parameters)
        passing = [row for row in rows if row.get("passes", True)][: query.limit]
        if not rows:
            return LogStep()
        full = len(passing) == query.limit
        last = passing[-1] if full else rows[-1]
        more = full or last.get("seen") == lists.MOST_SEEN
        return LogStep(tuple(_log_line(row) for row in passing), last["id"], more)

    async def metrics(self, plugin_id: str, since: datetime, until: datetime) -> Metrics:
        """Aggregates over the executions that started from `since` on and before `until`."""
        row = None
        if uuid_or_none(plugin_id) is not None:
            parameters = {"plugin_id": plugin_id, "since": since, "until": until}
            row = await self._one(_SQL["metrics of a window"], parameters)
        found = row or {}
        middle, high, highest = found.get("wall_percentiles") or (None, None, None)
        return Metrics(
            since=since,
            until=until,
            by_status={ExecutionStatus(status): count for status, count in found.get("by_status", {}).items()},
            wall_ms={
                "mean": found.get("wall_mean"),
                "p50": middle,
                "p95": high,
                "p99": highest,
                "max": found.get("wall_max"),
            },
            cpu_ms_total=found.get("cpu_total", 0.0),
            cpu_ms_mean=found.get("cpu_mean"),
            peak_memory_bytes_max=found.get("peak_memory"),
            by_function=found.get("by_function", {}),
            starts=found.get("starts", {}),
        )

    async def outcomes(self, plugin_id: str, since: datetime) -> Mapping[ExecutionStatus, int]:
        """How many executions that started from `since` on have each status."""
        if uuid_or_none(plugin_id) is None:
            return {}
        rows = await self._all(_SQL["outcomes since"], {"plugin_id": plugin_id, "since": since})
        return {ExecutionStatus(row["status"]): row["n"] for row in rows}

    async def count_executions(self, since: datetime, before: datetime) -> int:
        """How many executions of all of the tenant's plugins started from `since` on and before `before`."""
        row = await self._one(_SQL["count executions"], {"since": since, "before": before})
        return row["n"] if row else 0


def _execution(row: dict[str, Any]) -> Execution:
    usage = error = None
    if row["wall_ms"] is not None:
        usage = Usage(row["wall_ms"], row["cpu_ms"], row["peak_memory_bytes"], row["service_calls"], row["start"])
    if row["error_code"] is not None:
        error = ExecutionFailure(
            row["error_code"], row["error_message"], row["error_stack"], row["error_limit"], row["error_used"]
        )
    return Execution(
        id=row["id"],
        tenant_id=row["tenant_id"],
        plugin_id=row["plugin_id"],
        version=row["version"],
        function=row["function"],
        status=ExecutionStatus(row["status"]),
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        usage=usage,
        error=error,
        actor=row["actor"],
        request_id=row["request_id"],
        input_bytes=row["input_bytes"],
        output_bytes=row["output_bytes"],
        queued_at=row["queued_at"],
        attempts=tuple(Attempt.from_document(one) for one in row["attempts"] or ()),
    )


def _log_line(row: dict[str, Any]) -> StoredLogLine:
    return StoredLogLine(
        row["id"], row["execution_id"], LogLine(row["at"], row["level"], row["message"], row["fields"])
    )
