"""The functions that the manifest declares. Their input was checked against its schema before they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from columns import Column
from groups import Groups
from table import Table, from_records, read_csv

if TYPE_CHECKING:
    from plugyard_sdk import Context

NULL_WORDS = ("", "NA", "N/A", "n/a", "NULL", "null", "None", "NaN", "nan")


def describe(input: dict[str, Any], context: Context) -> dict[str, Any]:
    """Statistics of every column of a table, and of its groups when ``groupBy`` names columns."""
    settings = context.configuration
    null_words = frozenset(settings.get("nullWords", NULL_WORDS))
    table = _open(input)
    columns = [Column(name, null_words, settings.get("sampleSize", 100_000)) for name in table.columns]
    by = input.get("groupBy", [])
    groups = Groups([by] if isinstance(by, str) else by, table.columns) if by else None
    rows = 0
    for rows, cells in enumerate(table.rows, start=1):
        values = [column.add(rows, cell) for column, cell in zip(columns, cells, strict=True)]
        if groups is not None:
            groups.add(cells, values)
    context.services.logger.info("table described", rows=rows, columns=len(columns))
    result: dict[str, Any] = {
        "rows": rows,
        "delimiter": table.delimiter,
        "columns": [column.describe(settings.get("topValues", 5), settings.get("outliers", 5)) for column in columns],
    }
    if groups is not None:
        numeric = frozenset(column.name for column in columns if column.numeric)
        result["groups"] = groups.describe(numeric, settings.get("groups", 20))
    return result


def infer(input: dict[str, Any], context: Context) -> dict[str, Any]:
    """A JSON Schema for the rows of a table: a start for whoever has to write one."""
    null_words = frozenset(context.configuration.get("nullWords", NULL_WORDS))
    table = _open(input)
    columns = [Column(name, null_words) for name in table.columns]
    for row, cells in enumerate(table.rows, start=1):
        for column, cell in zip(columns, cells, strict=True):
            column.add(row, cell)
    return {
        "type": "object",
        "required": [column.name for column in columns if not column.kinds["null"]],
        "properties": {column.name: _schema(column) for column in columns},
    }


def _open(input: dict[str, Any]) -> Table:
    if "rows" in input:
        return from_records(input["rows"])
    return read_csv(input["csv"], input.get("delimiter"))


def _schema(column: Column) -> dict[str, Any]:
    plain = {"integer": "integer", "number": "number", "boolean": "boolean", "empty": "null"}.get(column.type, "string")
    schema: dict[str, Any] = {"type": [plain, "null"] if column.kinds["null"] and plain != "null" else plain}
    if column.type in ("date", "datetime"):
        schema["format"] = "date" if column.type == "date" else "date-time"
    return schema
