"""What all of a tenant's plugins did over a window."""

from collections.abc import Mapping
from datetime import datetime

from starlette.types import ASGIApp

from plugyard.application.analytics import analytics
from plugyard.domain.analytics import Analytics, Grain, percentile
from plugyard.http import examples, views
from plugyard.http.answers import json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Reply, operation
from plugyard.http.queries import choice_of, moment, whole
from plugyard.http.view import View


class PieceView(View, frozen=True):
    """One hour or one day of UTC; those in which nothing ran are left out."""

    at: datetime
    executions: int
    failed: int


class PluginShareView(View, frozen=True):
    """A plugin's part of the window."""

    plugin_id: str
    name: str
    executions: int
    failed: int
    wall_ms_mean: float
    cpu_ms_total: float


class AnalyticsView(View, frozen=True):
    """All of the tenant's executions over a window of full hours. Percentiles are within 5 % of the true ones."""

    since: datetime
    until: datetime
    by: Grain
    executions: int
    by_status: Mapping[str, int]
    error_rate: float | None
    wall_ms: views.WallView
    cpu_ms_total: float
    logs: int
    pieces: list[PieceView]
    plugins: list[PluginShareView]


EXAMPLE = {
    "since": "2026-01-30T09:00:00Z",
    "until": "2026-01-31T10:00:00Z",
    "by": "hour",
    "executions": 41,
    "byStatus": {"succeeded": 40, "failed": 1},
    "errorRate": 0.0244,
    "wallMs": {"mean": 2.1, "p50": 1.9, "p95": 3.2, "p99": 4.0, "max": 9.7},
    "cpuMsTotal": 33.6,
    "logs": 82,
    "pieces": [{"at": "2026-01-31T08:00:00Z", "executions": 41, "failed": 1}],
    "plugins": [
        {
            "pluginId": examples.PLUGIN_ID,
            "name": "invoice-totals",
            "executions": 41,
            "failed": 1,
            "wallMsMean": 2.1,
            "cpuMsTotal": 33.6,
        }
    ],
}


@operation(
    "GET",
    "/api/v1/analytics",
    tag="Logs and metrics",
    query=(
        moment("since", "The beginning of the window; by default a day before its end, at most 90 days."),
        moment("until", "The end of the window; by default now."),
        choice_of("by", "The pieces of the window: by default hours up to two days; hours go up to 31 days.", Grain),
        whole("top", "How many plugins to show, those that ran most first.", 1, 100, 10),
    ),
    replies=[Reply(200, "The aggregates.", AnalyticsView, EXAMPLE)],
)
async def read_analytics(exchange: Exchange) -> ASGIApp:
    """Show what all of the tenant's plugins did over a window: counts, error rate, latency, CPU and log lines.

    The window is widened to full hours. Executions count in the hour in which they started.
    """
    asked = exchange.query
    found = await analytics(
        exchange.platform,
        exchange.caller,
        since=asked["since"],
        until=asked["until"],
        grain=asked["by"],
        top=asked["top"],
    )
    return json_answer(_view(found))


def _view(found: Analytics) -> AnalyticsView:
    rate = found.error_rate
    middle, high, highest = (percentile(found.walls, part) for part in (0.5, 0.95, 0.99))
    return AnalyticsView(
        since=found.window.since,
        until=found.window.until,
        by=found.window.grain,
        executions=sum(found.by_status.values()),
        by_status={status.value: count for status, count in found.by_status.items()},
        error_rate=None if rate is None else round(rate, 4),
        wall_ms=views.WallView(mean=found.wall_ms_mean, p50=middle, p95=high, p99=highest, max=found.wall_ms_max),
        cpu_ms_total=found.cpu_ms_total,
        logs=found.logs,
        pieces=[PieceView(at=one.at, executions=one.executions, failed=one.failed) for one in found.pieces],
        plugins=[
            PluginShareView(
                plugin_id=one.plugin_id,
                name=one.name,
                executions=one.executions,
                failed=one.failed,
                wall_ms_mean=one.wall_ms_mean,
                cpu_ms_total=one.cpu_ms_total,
            )
            for one in found.plugins
        ],
    )


OPERATIONS = (read_analytics,)
