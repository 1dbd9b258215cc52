"""When a schedule is due, over changes of the clock."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.cron import Cron
from plugyard.domain.schedule import Schedule
from plugyard.gate.cron import problem

PLAIN, VIENNA = ZoneInfo("UTC"), ZoneInfo("Europe/Vienna")


def due(expression: str, after: str, zone: ZoneInfo = PLAIN, count: int = 1) -> list[str]:
    moment, found = datetime.fromisoformat(after).replace(tzinfo=zone).astimezone(UTC), []
    for _ in range(count):
        following = Cron.parse(expression).next_after(moment, zone)
        assert following is not None
        moment = following
        found.append(f"{moment.astimezone(zone):%Y-%m-%d %H:%M%z}")
    return found


@pytest.mark.parametrize(
    ("expression", "after", "expected"),
    [
        ("*/15 * * * *", "2026-01-01T00:00", "2026-01-01 00:15+0000"),
        ("0 6 * * 1-5", "2026-01-02T06:00", "2026-01-05 06:00+0000"),
        ("0 6 * * mon,fri", "2026-01-05T06:00:30", "2026-01-09 06:00+0000"),
        ("30 4 1,15 * *", "2026-01-15T04:30", "2026-02-01 04:30+0000"),
        ("0 0 13 * 5", "2026-02-01T00:00", "2026-02-06 00:00+0000"),
        ("0 0 29 feb *", "2026-01-01T00:00", "2028-02-29 00:00+0000"),
        ("0 0 * * 7", "2026-01-01T00:00", "2026-01-04 00:00+0000"),
        ("5/20 3 * * *", "2026-01-01T03:06", "2026-01-01 03:25+0000"),
        ("59 23 31 12 *", "2026-12-31T23:59", "2027-12-31 23:59+0000"),
    ],
)
def test_the_next_time_is_the_first_that_fits(expression: str, after: str, expected: str) -> None:
    assert due(expression, after) == [expected]


def test_a_day_that_never_comes_is_never_due() -> None:
    assert Cron.parse("0 0 30 2 *").next_after(datetime(2026, 1, 1, tzinfo=UTC), VIENNA) is None


def test_a_time_that_the_clock_leaves_out_runs_once_later() -> None:
    # On 29 March 2026 the clock goes from 02:00 to 03:00.
    found = due("30 2 * * *", "2026-03-28T00:00", VIENNA, 3)
    assert found == ["2026-03-28 02:30+0100", "2026-03-29 03:30+0200", "2026-03-30 02:30+0200"]


def test_a_time_that_comes_twice_runs_the_first_time() -> None:
    # On 25 October 2026 the clock goes from 03:00 to 02:00.
    found = due("30 2 * * *", "2026-10-24T12:00", VIENNA, 2)
    assert found == ["2026-10-25 02:30+0200", "2026-10-26 02:30+0100"]


def test_a_rhythm_goes_on_through_both_of_two_equal_hours_and_over_one_that_is_left_out() -> None:
    twice = due("*/30 * * * *", "2026-10-25T01:45", VIENNA, 5)
    assert twice == [
        "2026-10-25 02:00+0200",
        "2026-10-25 02:30+0200",
        "2026-10-25 02:00+0100",
        "2026-10-25 02:30+0100",
        "2026-10-25 03:00+0100",
    ]
    over = due("*/30 * * * *", "2026-03-29T01:15", VIENNA, 2)
    assert over == ["2026-03-29 01:30+0100", "2026-03-29 03:00+0200"]


ITEM = st.sampled_from(["*", "*/7", "1", "3-5", "2,4", "1-6/2", "6"])


@given(
    fields=st.tuples(ITEM, ITEM, ITEM, ITEM, ITEM),
    at=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
    zone=st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_what_the_gate_lets_in_is_due_later_and_in_its_zone(fields: tuple[str, ...], at: datetime, zone: str) -> None:
    expression = " ".join(fields)
    assert problem(expression) is None
    moment = at.replace(tzinfo=UTC)
    cron, tz = Cron.parse(expression), ZoneInfo(zone)
    found = cron.next_after(moment, tz)
    assert found is not None
    assert found > moment
    assert found.second == 0
    assert found.astimezone(tz).date().month in cron.months
    again = cron.next_after(found - timedelta(seconds=1), tz)
    assert again == found


def test_the_jitter_is_the_same_for_whoever_asks_and_bounded() -> None:
    one = Schedule("t", "p", 1, "1.0.0", "0 * * * *", "UTC", "run", jitter_s=60)
    times = [datetime(2026, 1, 1, hour, tzinfo=UTC) for hour in range(24)]
    delays = [(one.begins(at) - at).total_seconds() for at in times]
    assert delays == [(one.begins(at) - at).total_seconds() for at in times]
    assert min(delays) >= 0
    assert max(delays) < 60
    assert len(set(delays)) > 20
