"""Lists of the store in memory: filters, orders, cursors and aggregates."""

import base64
import json
import re
import statistics
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from plugyard.application.ports import (
    ExecutionFilter,
    ListingFilter,
    LogFilter,
    Metrics,
    Page,
    PageRequest,
    PluginFilter,
    StoredLogLine,
    UpgradeFilter,
)
from plugyard.domain.analytics import Analytics, Grain, Piece, PluginShare, Window, bucket_of
from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.domain.execution import Execution, ExecutionStatus
from plugyard.domain.manifest import Manifest
from plugyard.domain.marketplace import Listing
from plugyard.domain.plugin import PluginState, PluginView

Row = TypeVar("Row")
Key = tuple[Any, ...]
LEVELS = ("debug", "info", "warning", "error")


def moment(at: datetime) -> str:
    """A time as text that sorts as the time does."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")


def paged(
    name: str,
    rows: Iterable[Row],
    key: Callable[[Row], Key],
    page: PageRequest,
    *,
    descending: bool = True,
    rank: Callable[[Key], Any] = lambda key: key,
) -> Page[Row]:
    """The rows behind the cursor. The cursor holds the last row's own key, so that rows may come and go meanwhile."""
    ordered = sorted(rows, key=lambda row: rank(key(row)), reverse=descending)
    if page.cursor is not None:
        try:
            behind = rank(_read(name, page.cursor))
            ordered = [row for row in ordered if (rank(key(row)) < behind if descending else rank(key(row)) > behind)]
        except (ValueError, TypeError, IndexError) as error:
            fault = FieldError("query/cursor", "use nextCursor as it was given")
            raise InvalidInput("The cursor is none that this list gave.", [fault]) from error
    shown = ordered[: page.limit]
    more = len(ordered) > len(shown)
    return Page(tuple(shown), _cursor(name, key(shown[-1])) if more and shown else None)


def _cursor(name: str, key: Key) -> str:
    return base64.urlsafe_b64encode(json.dumps([name, *key]).encode()).decode().rstrip("=")


def _read(name: str, cursor: str) -> Key:
    made_for, *key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    if made_for != name:
        raise ValueError("the cursor is of another list")
    return tuple(key)


def plugins(
    rows: Iterable[PluginView], filters: PluginFilter, page: PageRequest, newer: Callable[[PluginView], bool]
) -> Page[PluginView]:
    """The plugins that pass the filters, in the order asked for."""
    keys: dict[str, Callable[[PluginView], Key]] = {
        "createdAt": lambda view: (moment(view.plugin.created_at), view.plugin.id),
        "updatedAt": lambda view: (moment(view.plugin.updated_at), view.plugin.id),
        "name": lambda view: (view.plugin.name, view.plugin.id),
    }
    key = keys.get(filters.sort.removeprefix("-"))
    if key is None:
        raise InvalidInput("There is no such order.", [FieldError("query/sort", f"one of {', '.join(keys)}")])
    passing = [view for view in rows if _plugin_passes(view, filters) and _upgrade_passes(view, filters, newer)]
    return paged(f"plugins {filters.sort}", passing, key, page, descending=filters.sort.startswith("-"))


def _plugin_passes(view: PluginView, filters: PluginFilter) -> bool:
    manifest, state = view.version.manifest, view.plugin.state
    return all(
        (
            state is filters.status if filters.status else state is not PluginState.UNINSTALLED,
            filters.category in (None, manifest.category),
            filters.runtime in (None, manifest.runtime),
            filters.author in (None, manifest.author),
            filters.permission in (None, *(permission.service.value for permission in manifest.permissions)),
            has_words(manifest, filters.q),
        )
    )


def _upgrade_passes(view: PluginView, filters: PluginFilter, newer: Callable[[PluginView], bool]) -> bool:
    if filters.upgrade is UpgradeFilter.WAITING:
        return view.plugin.waiting is not None and not view.plugin.waiting.declined
    return filters.upgrade is None or newer(view)


def words(text: str) -> list[str]:
    """The words of a text, lower case."""
    return re.findall(r"\w+", text.lower())


def has_words(manifest: Manifest, q: str | None) -> bool:
    """Whether every word asked for is in the name, the description or the keywords."""
    held = words(" ".join((manifest.name, manifest.description, *manifest.keywords)))
    return set(words(q or "")) <= set(held)


def listings(rows: Iterable[Listing], filters: ListingFilter, page: PageRequest) -> Page[Listing]:
    """Published listings that pass the filters, best first."""
    passing = [
        one
        for one in rows
        if one.withdrawn_at is None
        and filters.category in (None, one.manifest.category)
        and has_words(one.manifest, filters.q)
    ]
    return paged("listings", passing, lambda one: (one.score, one.id), page)


def executions(rows: Iterable[Execution], filters: ExecutionFilter, page: PageRequest) -> Page[Execution]:
    """Executions that pass the filters, newest first."""
    passing = [
        one
        for one in rows
        if filters.status in (None, one.status)
        and filters.function in (None, one.function)
        and filters.version in (None, one.version)
        and within(one.started_at, filters.since, filters.until)
    ]
    return paged("executions", passing, lambda one: (moment(one.started_at), one.id), page)


def log_passes(row: StoredLogLine, filters: LogFilter) -> bool:
    """Whether a line is of the level or above, and passes the other filters."""
    lowest = LEVELS.index(filters.level) if filters.level else 0
    return (
        LEVELS.index(row.line.level) >= lowest
        and filters.execution_id in (None, row.execution_id)
        and (filters.q or "").lower() in row.line.message.lower()
        and within(row.line.at, filters.since, filters.until)
    )


def within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    """Whether a time is not before ``since`` and before ``until``."""
    return (since is None or at >= since) and (until is None or at < until)


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The percentile by linear interpolation, as PostgreSQL's ``percentile_cont`` has it."""
    if not ordered:
        return None
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def metrics(rows: Sequence[Execution], since: datetime, until: datetime) -> Metrics:
    """The aggregates of executions that began in the window."""
    inside = [one for one in rows if within(one.started_at, since, until)]
    usages = [one.usage for one in inside if one.usage is not None]
    wall = sorted(usage.wall_ms for usage in usages)
    return Metrics(
        since,
        until,
        dict(Counter(one.status for one in inside)),
        {
            "mean": statistics.fmean(wall) if wall else None,
            "p50": percentile(wall, 0.5),
            "p95": percentile(wall, 0.95),
            "p99": percentile(wall, 0.99),
            "max": wall[-1] if wall else None,
        },
        sum(usage.cpu_ms for usage in usages),
        statistics.fmean(usage.cpu_ms for usage in usages) if usages else None,
        max((usage.peak_memory_bytes for usage in usages), default=None),
        dict(Counter(one.function for one in inside)),
        dict(Counter(usage.start for usage in usages)),
    )


def _failed(rows: Iterable[Execution]) -> int:
    return sum(one.status not in (ExecutionStatus.SUCCEEDED, ExecutionStatus.CANCELLED) for one in rows)


def _wall(rows: Iterable[Execution]) -> float:
    return sum(one.usage.wall_ms for one in rows if one.usage is not None)


def _cpu(rows: Iterable[Execution]) -> float:
    return sum(one.usage.cpu_ms for one in rows if one.usage is not None)


def analytics(
    rows: Iterable[Execution], names: Mapping[str, str], lines: Mapping[str, int], window: Window, top: int
) -> Analytics:
    """What a tenant's executions in the window add up to."""
    inside = [one for one in rows if one.status.final and within(one.started_at, window.since, window.until)]
    walls = [one.usage.wall_ms for one in inside if one.usage is not None]
    by_piece: dict[datetime, list[Execution]] = {}
    by_plugin: dict[str, list[Execution]] = {}
    for one in inside:
        at = one.started_at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        by_piece.setdefault(at if window.grain is Grain.HOUR else at.replace(hour=0), []).append(one)
        by_plugin.setdefault(one.plugin_id, []).append(one)
    shares = [
        PluginShare(plugin_id, names.get(plugin_id, ""), len(own), _failed(own), _wall(own) / len(own), _cpu(own))
        for plugin_id, own in by_plugin.items()
    ]
    return Analytics(
        window,
        dict(Counter(one.status for one in inside)),
        tuple(Piece(at, len(own), _failed(own)) for at, own in sorted(by_piece.items())),
        dict(Counter(map(bucket_of, walls))),
        statistics.fmean(walls) if walls else None,
        max(walls, default=None),
        _cpu(inside),
        sum(lines[one.id] for one in inside),
        tuple(sorted(shares, key=lambda one: (-one.executions, one.plugin_id))[:top]),
    )
