"""The most frequent values of a stream."""

from __future__ import annotations

from collections import Counter


class Top:
    """Counts values, exactly as long as no more than ``limit`` different ones come.

    Values that first come when the table is full are not counted; ``complete`` then turns false and ``distinct`` is a
    lower bound.
    """

    def __init__(self, limit: int = 50_000) -> None:
        self._limit = limit
        self._counts: Counter[str] = Counter()
        self.complete = True

    def add(self, value: str) -> None:
        if value in self._counts or len(self._counts) < self._limit:
            self._counts[value] += 1
        else:
            self.complete = False

    @property
    def distinct(self) -> int:
        return len(self._counts)

    def most(self, number: int) -> list[tuple[str, int]]:
        """The most frequent values with their counts; equal counts are in the order of the values."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number]
