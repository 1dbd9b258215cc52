"""Counts and means of the rows that share the values of some columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from columns import Scalar, as_text
from tally import Moments

# Texts, as the table has them: as numbers, the codes "1e3" and "1000" would fall into one group.
Key = tuple[str | None, ...]


class Groups:
    """Folds rows by the columns ``by``; only counts and moments are kept for each group."""

    def __init__(self, by: Sequence[str], columns: Sequence[str]) -> None:
        missing = [name for name in by if name not in columns]
        if missing:
            raise ValueError(f"groupBy: there is no column {', '.join(missing)}; there are {', '.join(columns)}")
        self._by = [(name, columns.index(name)) for name in by]
        self._columns = columns
        self._rows: dict[Key, int] = {}
        self._measures: dict[Key, dict[int, Moments]] = {}

    def add(self, cells: Sequence[Any], values: Sequence[Scalar]) -> None:
        key = tuple(None if values[index] is None else as_text(cells[index]) for _, index in self._by)
        self._rows[key] = self._rows.get(key, 0) + 1
        measures = self._measures.setdefault(key, {})
        for index, value in enumerate(values):
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                if index not in measures:
                    measures[index] = Moments()
                measures[index].add(value)

    def describe(self, numeric: frozenset[str], limit: int) -> dict[str, Any]:
        """The largest groups, with the means of the numeric columns, and what the others hold together."""
        ordered = sorted(self._rows.items(), key=lambda item: (-item[1], [str(part) for part in item[0]]))
        return {
            "by": [name for name, _ in self._by],
            "count": len(ordered),
            "items": [self._one(key, rows, numeric) for key, rows in ordered[:limit]],
            "others": {"groups": len(ordered[limit:]), "rows": sum(rows for _, rows in ordered[limit:])},
        }

    def _one(self, key: Key, rows: int, numeric: frozenset[str]) -> dict[str, Any]:
        measures = {
            self._columns[index]: {"min": numbers.minimum, "max": numbers.maximum, "mean": numbers.mean}
            for index, numbers in sorted(self._measures[key].items())
            if self._columns[index] in numeric
        }
        return {"key": dict(zip((name for name, _ in self._by), key, strict=True)), "rows": rows, "numbers": measures}
