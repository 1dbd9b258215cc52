"""What executions add up to, read from the rollups. A part of the transaction that `store` opens.

The rollups are the database's: `record_executions` notes each execution as not counted yet, and `fold_executions`,
which the service calls every few seconds, counts what is noted.
"""

from __future__ import annotations

from datetime import datetime

from plugyard.domain.analytics import Analytics, Grain, Piece, PluginShare, Window, whole_days
from plugyard.domain.execution import ExecutionStatus
from plugyard.infrastructure.postgres.rows import Session
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("analytics")


class AnalyticsRows(Session):
    """The analytics part of `application.ports.Transaction`."""

    async def analytics(self, window: Window, top: int) -> Analytics:
        """What all of the tenant's executions in the window add up to, with the plugins that ran most."""
        first_day, last_day = whole_days(window)
        bounds = {"since": window.since, "until": window.until, "first_day": first_day, "last_day": last_day}
        parameters = {**bounds, "grain": window.grain.value}
        if window.grain is Grain.HOUR:
            # The rows of whole days do not tell the hours apart.
            parameters |= {"first_day": window.until, "last_day": window.until}
        found = await self._one(_SQL["tenant's window"], parameters) or {}
        walls = {row["bucket"]: row["n"] for row in await self._all(_SQL["durations of a window"], bounds)}
        with_duration = sum(walls.values())
        plugins = await self._all(_SQL["plugins of a window"], {**bounds, "top": top})
        return Analytics(
            window=window,
            by_status={ExecutionStatus(status): count for status, count in found["by_status"].items()},
            pieces=tuple(Piece(datetime.fromisoformat(at), *counts) for at, *counts in found["pieces"]),
            walls=walls,
            wall_ms_mean=found["wall_total"] / with_duration if with_duration else None,
            wall_ms_max=found["wall_max"] if with_duration else None,
            cpu_ms_total=found["cpu_total"],
            logs=found["logs"],
            plugins=tuple(PluginShare(**row) for row in plugins),
        )
