"""What one column holds: its type, its gaps and its statistics, folded cell by cell."""

from __future__ import annotations

import re
from collections import Counter
from datetime import date, datetime
from typing import Any

from tally import Moments, Numbers, Top

DECIMAL = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}.*")
BOOLEANS = {"true": True, "false": False, "yes": True, "no": False}

# Beyond this a number is no quantity but a long code, and would not fit into a float.
LARGEST = 10**300

Scalar = int | float | bool | str | None


def read_cell(cell: Any, null_words: frozenset[str]) -> tuple[str, Scalar]:
    """The kind of a cell and its value. A number with leading zeros stays text: it is a code, not an amount."""
    if cell is None:
        return "null", None
    if isinstance(cell, bool):
        return "boolean", cell
    if isinstance(cell, int):
        return ("integer", cell) if abs(cell) < LARGEST else ("text", str(cell))
    if isinstance(cell, float):
        return "number", cell
    text = str(cell).strip()
    if text in null_words:
        return "null", None
    return _read_text(text)


def as_text(cell: Any) -> str:
    """A cell as a table shows it."""
    return str(cell).lower() if isinstance(cell, bool) else str(cell).strip()


def _read_text(text: str) -> tuple[str, Scalar]:
    first = text[0]
    if first.isdigit() or first in "+-":
        if DECIMAL.fullmatch(text):
            value = float(text)
            if abs(value) >= LARGEST:
                return "text", text
            return ("integer", int(text)) if text.lstrip("+-").isdigit() else ("number", value)
        if _is_date(text):
            return ("date" if DATE.fullmatch(text) else "datetime"), text
        return "text", text
    if text.lower() in BOOLEANS:
        return "boolean", BOOLEANS[text.lower()]
    return "text", text


def _is_date(text: str) -> bool:
    try:
        if DATE.fullmatch(text):
            date.fromisoformat(text)
            return True
        if DATE_TIME.fullmatch(text):
            datetime.fromisoformat(text)
            return True
    except ValueError:
        return False
    return False


class Column:
    """Folds the cells of one column. ``keep`` bounds how many numbers stay in memory for the quantiles."""

    def __init__(self, name: str, null_words: frozenset[str], keep: int = 100_000) -> None:
        self.name = name
        self.kinds: Counter[str] = Counter()
        self.numbers = Numbers(keep)
        self.values = Top()
        self.lengths = Moments()
        self._null_words = null_words
        self._numeric: list[tuple[int, float]] = []
        self._keep = keep
        self._first: str | None = None
        self._last: str | None = None

    def add(self, row: int, cell: Any) -> Scalar:
        kind, value = read_cell(cell, self._null_words)
        self.kinds[kind] += 1
        if value is None:
            return None
        text = as_text(cell)
        if kind in ("integer", "number"):
            number = float(value)
            self.numbers.add(number)
            if len(self._numeric) < self._keep:
                self._numeric.append((row, number))
        else:
            self._extend_range(text)
        self.lengths.add(len(text))
        self.values.add(text)
        return value

    def _extend_range(self, text: str) -> None:
        if self._first is None or text < self._first:
            self._first = text
        if self._last is None or text > self._last:
            self._last = text

    @property
    def type(self) -> str:
        """The narrowest type that every cell with a value has."""
        kinds = {kind for kind in self.kinds if kind != "null"}
        if not kinds:
            return "empty"
        if len(kinds) == 1:
            return kinds.pop()
        if kinds == {"integer", "number"}:
            return "number"
        if kinds == {"date", "datetime"}:
            return "datetime"
        return "text"

    @property
    def numeric(self) -> bool:
        return self.type in ("integer", "number")

    def describe(self, top: int, outliers: int) -> dict[str, Any]:
        total = sum(self.kinds.values())
        result: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "nulls": self.kinds["null"],
            "distinct": self.values.distinct,
            "unique": self.values.complete and self.values.distinct == total and total > 0,
            "top": [{"value": value, "count": count} for value, count in self.values.most(top)],
        }
        if self.numeric:
            result["statistics"] = self._statistics()
            result["outliers"] = self._outliers(outliers)
        elif self.type in ("date", "datetime"):
            result["range"] = {"min": self._first, "max": self._last}
        elif self.type == "text":
            lengths = self.lengths
            result["length"] = {"min": lengths.minimum, "max": lengths.maximum, "mean": lengths.mean}
            if self.numbers.count:
                result["notice"] = self._mixture()
        return result

    def _statistics(self) -> dict[str, Any]:
        numbers = self.numbers
        return {
            "min": numbers.minimum,
            "max": numbers.maximum,
            "mean": numbers.mean,
            "median": numbers.quantile(0.5),
            "stddev": numbers.stddev,
            "q1": numbers.quantile(0.25),
            "q3": numbers.quantile(0.75),
            "exact": numbers.exact,
        }

    def _outliers(self, show: int) -> dict[str, Any]:
        fences = self.numbers.fences()
        if fences is None:
            return {"count": 0, "examples": []}
        outside = [(row, value) for row, value in self._numeric if not fences.encloses(value)]
        middle = (fences.low + fences.high) / 2
        outside.sort(key=lambda found: (-abs(found[1] - middle), found[0]))
        return {
            "count": len(outside),
            "low": fences.low,
            "high": fences.high,
            "examples": [{"row": row, "value": value} for row, value in outside[:show]],
        }

    def _mixture(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in self.kinds.most_common() if kind != "null")
        return f"treated as text because its cells differ: {kinds}"
