"""From CSV text, or rows that are JSON already, to a header and rows of cells."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DELIMITERS = ",;\t|"


@dataclass(frozen=True)
class Table:
    """``rows`` can be walked through once; each row has exactly as many cells as there are columns."""

    columns: tuple[str, ...]
    rows: Iterator[list[Any]]
    delimiter: str | None = None


def read_csv(text: str, delimiter: str | None = None) -> Table:
    """Read CSV as RFC 4180 has it, with any of the usual delimiters.

    Raises ValueError with the line when a row has more or fewer cells than the header.
    """
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise ValueError("the table is empty: its first line must name the columns")
    chosen = delimiter or _guess_delimiter(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=chosen, strict=True)
    columns = tuple(name.strip() for name in next(reader))
    _check_columns(columns)
    return Table(columns, _cells(reader, columns), chosen)


def from_records(records: list[dict[str, Any]]) -> Table:
    """Take JSON objects as rows; a column is every name that occurs, in the order of first occurrence."""
    if not records:
        raise ValueError("the table is empty: give at least one row")
    columns = tuple(dict.fromkeys(name for record in records for name in record))
    _check_columns(columns)
    return Table(columns, ([record.get(name) for name in columns] for record in records))


def _guess_delimiter(text: str) -> str:
    header = text.split("\n", 1)[0]
    return max(DELIMITERS, key=lambda candidate: (header.count(candidate), -DELIMITERS.index(candidate)))


def _check_columns(columns: tuple[str, ...]) -> None:
    if not columns or any(not name for name in columns):
        raise ValueError("every column needs a name")
    repeated = sorted({name for name in columns if columns.count(name) > 1})
    if repeated:
        raise ValueError(f"the columns {', '.join(repeated)} are there more than once")


def _cells(reader: Any, columns: tuple[str, ...]) -> Iterator[list[Any]]:
    try:
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(columns):
                raise ValueError(f"line {reader.line_num}: {len(cells)} cells, but there are {len(columns)} columns")
            yield cells
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error
