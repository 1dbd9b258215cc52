"""Durations in buckets, and windows at full hours."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from plugyard.domain.analytics import BUCKETS, Grain, bucket_of, percentile, whole_days, window_of
from plugyard.domain.errors import InvalidInput

NOW = datetime(2026, 3, 10, 14, 25, 7, tzinfo=UTC)


def test_a_percentile_lies_within_a_twentieth_of_the_true_one() -> None:
    chance = random.Random(3)
    for spread in (0.1, 1.0, 3.0):
        walls = sorted(chance.lognormvariate(1, spread) for _ in range(2_001))
        counts: dict[int, int] = {}
        for wall in walls:
            counts[bucket_of(wall)] = counts.get(bucket_of(wall), 0) + 1
        for part, place in ((0.5, 1_000), (0.95, 1_900), (0.99, 1_980)):
            assert percentile(counts, part) == pytest.approx(walls[place], rel=0.05)


def test_what_has_no_duration_has_the_bucket_that_percentiles_leave_out() -> None:
    assert (bucket_of(None), bucket_of(0.0), bucket_of(1e12)) == (0, 1, BUCKETS)
    assert percentile({0: 5}, 0.5) is None
    assert percentile({0: 500, bucket_of(8.0): 1}, 0.5) == pytest.approx(8.0, rel=0.05)


def test_the_last_day_by_the_hour_is_what_nobody_has_to_ask_for() -> None:
    window = window_of(NOW, None, None, None)
    assert window.since == datetime(2026, 3, 9, 14, tzinfo=UTC)
    assert window.until == datetime(2026, 3, 10, 15, tzinfo=UTC)
    assert window.grain is Grain.HOUR
    assert window_of(NOW, NOW - timedelta(days=5), None, None).grain is Grain.DAY


@pytest.mark.parametrize(
    ("since", "until", "grain"),
    [
        (timedelta(0), timedelta(hours=-2), None),
        (timedelta(days=-91), timedelta(0), None),
        (timedelta(days=-32), timedelta(0), Grain.HOUR),
    ],
)
def test_a_window_that_is_empty_or_too_long_is_refused(since: timedelta, until: timedelta, grain: Grain | None) -> None:
    with pytest.raises(InvalidInput):
        window_of(NOW, NOW + since, NOW + until, grain)


@pytest.mark.parametrize("extreme", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_the_ends_of_time_are_refused_and_break_nothing(extreme: datetime) -> None:
    for since, until in ((extreme, None), (None, extreme)):
        with pytest.raises(InvalidInput):
            window_of(NOW, since, until, None)


def test_whole_days_lie_between_midnights_and_there_may_be_none() -> None:
    window = window_of(NOW, NOW - timedelta(days=3), NOW, None)
    assert whole_days(window) == (datetime(2026, 3, 8, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC))
    short = window_of(NOW, NOW - timedelta(hours=30), NOW, None)
    assert whole_days(short) == (short.until, short.until)
