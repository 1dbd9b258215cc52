"""When a schedule is due: the five fields of crontab(5), in a time zone, over changes of daylight saving time.

An expression with hours of its own names times of the wall: each runs once. One that the clock leaves out when it is
put forward runs as much later as the clock was; one that comes twice runs the first time. An expression with
a star for the hour names a rhythm, and follows real time: it runs in both of two equal hours, and leaves out none.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FARTHEST = timedelta(days=366 * 9)  # 29 February may be eight years away
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)


def _field(text: str, low: int, high: int, words: tuple[str, ...] = (), first: int = 0) -> frozenset[int]:
    found: set[int] = set()
    named = {word: number for number, word in enumerate(words, first)}
    for item in text.lower().split(","):
        span, _, step = item.partition("/")
        begin, dash, end = span.partition("-")
        if span == "*":
            numbers = range(low, high + 1)
        else:
            lowest = named.get(begin) if begin in named else int(begin)
            highest = (named.get(end) if end in named else int(end)) if dash else (high if step else lowest)
            if lowest is None or highest is None or not low <= lowest <= highest <= high:
                raise ValueError(f"{item!r} is no part of a cron expression")
            numbers = range(lowest, highest + 1)
        found.update(numbers[:: int(step) if step else 1])
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression, read. A day has to fit the month, and of day and weekday one where both are narrowed."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # Sunday is 0
    any_hour: bool
    any_day: bool
    any_weekday: bool

    @classmethod
    def parse(cls, expression: str) -> "Cron":
        """Read five fields; raises ``ValueError``. What the gate has let in can be read."""
        minute, hour, day, month, weekday = expression.split()
        return cls(
            tuple(sorted(_field(minute, 0, 59))),
            tuple(sorted(_field(hour, 0, 23))),
            _field(day, 1, 31),
            _field(month, 1, 12, _MONTHS, 1),
            frozenset(number % 7 for number in _field(weekday, 0, 7, _DAYS)),
            hour.startswith("*"),
            day.startswith("*"),
            weekday.startswith("*"),
        )

    def fits(self, day: date) -> bool:
        """Whether it is due on a day at all."""
        if day.month not in self.months:
            return False
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        if self.any_day or self.any_weekday:
            return in_month and in_week
        return in_month or in_week

    def next_after(self, moment: datetime, zone: ZoneInfo) -> datetime | None:
        """The first due moment behind this one, in UTC; ``None`` where there is none within nine years."""
        found = self._rhythm(moment, zone) if self.any_hour else self._times(moment, zone)
        return next(found, None)

    def _times(self, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        day = moment.astimezone(zone).date() - _DAY
        last = day + _FARTHEST
        while day < last:
            if self.fits(day):
                # Times that the clock left out come later, perhaps behind others of the day.
                due = {
                    datetime.combine(day, time(hour, minute), zone).astimezone(UTC)
                    for hour in self.hours
                    for minute in self.minutes
                }
                yield from sorted(one for one in due if one > moment)
            day += _DAY

    def _rhythm(self, moment: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        at = moment.astimezone(UTC).replace(second=0, microsecond=0) + _MINUTE
        last = at + _FARTHEST
        while at < last:
            local = at.astimezone(zone)
            if not self.fits(local.date()):
                following = datetime.combine(local.date() + _DAY, time(0), zone).astimezone(UTC)
                at = max(following, at + _MINUTE)
            else:
                if local.hour in self.hours and local.minute in self.minutes:
                    yield at
                at += _MINUTE
