"""What a tenant's executions add up to over a window, and how durations are counted so that counts can be merged.

A duration falls into one of 255 buckets, each a tenth wider than the one before. Counts of buckets add up, over hours
as over plugins, and a percentile that is read from them lies within 5 % of the true one (the idea of DDSketch, Masson
and others 2019, with fixed buckets). The database has the same rule as the function ``wall_bucket``; a test holds the
two against each other.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.domain.execution import ExecutionStatus

LOWEST_MS, GROWTH, BUCKETS = 0.01, 1.1, 255
LONGEST = timedelta(days=90)
LONGEST_BY_HOUR = timedelta(days=31)
_BY_HOUR_UP_TO = timedelta(days=2)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Grain(StrEnum):
    """How long the pieces are that a window is cut into; a day is one of UTC."""

    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Window:
    """From ``since`` on and before ``until``, both at a full hour, in pieces of one ``grain``."""

    since: datetime
    until: datetime
    grain: Grain


@dataclass(frozen=True, slots=True)
class Piece:
    """One hour or day: how many executions started in it and how many of them failed; cancelled ones did not."""

    at: datetime
    executions: int
    failed: int


@dataclass(frozen=True, slots=True)
class PluginShare:
    """A plugin's part of a window; milliseconds. An execution without a duration counts as none in the mean."""

    plugin_id: str
    name: str
    executions: int
    failed: int
    wall_ms_mean: float
    cpu_ms_total: float


@dataclass(frozen=True, slots=True)
class Analytics:
    """What all of a tenant's executions in a window add up to; pieces in which nothing ran are left out.

    ``walls`` counts durations by their bucket; ``plugins`` are those with the most executions, the most first.
    """

    window: Window
    by_status: Mapping[ExecutionStatus, int]
    pieces: tuple[Piece, ...]
    walls: Mapping[int, int]
    wall_ms_mean: float | None
    wall_ms_max: float | None
    cpu_ms_total: float
    logs: int
    plugins: tuple[PluginShare, ...]

    @property
    def error_rate(self) -> float | None:
        """The part of executions that failed, without those that were cancelled; ``None`` where nothing ran."""
        return error_rate(self.by_status)


def error_rate(by_status: Mapping[ExecutionStatus, int]) -> float | None:
    """The part that failed of so many executions of each status; cancelled ones tell nothing."""
    ended = sum(count for status, count in by_status.items() if status is not ExecutionStatus.CANCELLED)
    return 1 - by_status.get(ExecutionStatus.SUCCEEDED, 0) / ended if ended else None


def bucket_of(wall_ms: float | None) -> int:
    """In which bucket a duration falls; 0 for an execution that has none."""
    if wall_ms is None:
        return 0
    if wall_ms <= LOWEST_MS:
        return 1
    return min(BUCKETS, 1 + math.ceil(math.log(wall_ms / LOWEST_MS) / math.log(GROWTH)))


def percentile(walls: Mapping[int, int], part: float) -> float | None:
    """The duration in ms that a part of all, 0 to 1, does not exceed; ``None`` where nothing has a duration."""
    total = sum(count for bucket, count in walls.items() if bucket)
    if not total:
        return None
    rank, seen = max(1, math.ceil(part * total)), 0
    for bucket in sorted(bucket for bucket in walls if bucket):
        seen += walls[bucket]
        if seen >= rank:
            break
    # The value whose distance from both ends of the bucket is the same part of them.
    return LOWEST_MS * GROWTH ** (bucket - 1) * 2 / (1 + GROWTH)


def window_of(now: datetime, since: datetime | None, until: datetime | None, grain: Grain | None) -> Window:
    """The window that was asked for, widened to full hours: by default the last day, by the hour up to two days.

    Raises ``InvalidInput`` where it is empty, longer than 90 days, or longer than 31 days and by the hour.
    """
    try:
        end = _next_hour(until or now)
        begin = _hour(since or (until or now) - _DAY)
    except OverflowError:
        raise InvalidInput(errors=[FieldError("query/since", "must be a time of this age")]) from None
    longest = LONGEST_BY_HOUR if grain is Grain.HOUR else LONGEST
    if begin >= end:
        raise InvalidInput(errors=[FieldError("query/since", "must be before until")])
    # A window of exactly the longest may begin and end within hours.
    if end - begin > longest + 2 * _HOUR:
        words = f"at most {longest.days} days before until" + (" where by is hour" if grain is Grain.HOUR else "")
        raise InvalidInput(errors=[FieldError("query/since", f"must be {words}")])
    default = Grain.HOUR if end - begin <= _BY_HOUR_UP_TO + 2 * _HOUR else Grain.DAY
    return Window(begin, end, grain or default)


def whole_days(window: Window) -> tuple[datetime, datetime]:
    """The first and the last midnight in the window, between which all days are whole; twice the end without any."""
    first = window.since + (_EPOCH - window.since) % _DAY
    last = window.until - (window.until - _EPOCH) % _DAY
    return (first, last) if first < last else (window.until, window.until)


def _hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC) - (moment - _EPOCH) % _HOUR


def _next_hour(moment: datetime) -> datetime:
    return moment.astimezone(UTC) + (_EPOCH - moment) % _HOUR
