"""Moments and quantiles of a stream of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .reservoir import Reservoir


@dataclass(frozen=True)
class Fences:
    """Tukey's fences: values outside of them are called outliers."""

    low: float
    high: float

    def encloses(self, value: float) -> bool:
        return self.low <= value <= self.high


class Moments:
    """Count, extremes, mean and standard deviation, all exact and in constant memory.

    Welford's recurrence does not lose digits when the values are large and close together, as the sum of squares would.
    """

    def __init__(self) -> None:
        self.count = 0
        self.minimum = math.inf
        self.maximum = -math.inf
        self._mean = 0.0
        self._squares = 0.0

    def add(self, value: float) -> None:
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a finite number")
        self.count += 1
        distance = value - self._mean
        self._mean += distance / self.count
        self._squares += distance * (value - self._mean)
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value

    @property
    def mean(self) -> float | None:
        return self._mean if self.count else None

    @property
    def stddev(self) -> float | None:
        """The sample standard deviation (n - 1); None for fewer than two values."""
        return math.sqrt(self._squares / (self.count - 1)) if self.count > 1 else None


class Numbers(Moments):
    """Moments and quantiles; the quantiles are exact up to ``keep`` values and come from a fair sample beyond."""

    def __init__(self, keep: int = 100_000, seed: int = 0) -> None:
        super().__init__()
        self._kept = Reservoir[float](keep, seed)
        self._sorted: list[float] | None = None

    def add(self, value: float) -> None:
        super().add(value)
        self._kept.add(value)
        self._sorted = None

    @property
    def exact(self) -> bool:
        """Whether quantiles come from all the values and not from a random sample of them."""
        return self._kept.complete

    def quantile(self, share: float) -> float | None:
        """The value below which ``share`` (0 to 1) of the values lie, interpolated between neighbours.

        It is the seventh of the definitions of Hyndman and Fan, the one that R, NumPy and spreadsheets use by default.
        """
        if not 0 <= share <= 1:
            raise ValueError(f"a share lies between 0 and 1, not at {share}")
        if self._sorted is None:
            self._sorted = sorted(self._kept)
        values = self._sorted
        if not values:
            return None
        position = share * (len(values) - 1)
        below = math.floor(position)
        above = min(below + 1, len(values) - 1)
        return values[below] + (values[above] - values[below]) * (position - below)

    def fences(self, reach: float = 1.5) -> Fences | None:
        """The quartiles, widened by ``reach`` times the distance between them."""
        low, high = self.quantile(0.25), self.quantile(0.75)
        if low is None or high is None:
            return None
        margin = (high - low) * reach
        return Fences(low - margin, high + margin)
