"""Loads the titled statements under `sql/`. Used by the modules that run them, when they are imported.

A statement begins with a line `-- # its title` and ends before the next. The title goes to the server as a comment, so
that a person who looks at `pg_stat_activity` reads what the service is doing.
"""

from __future__ import annotations

from importlib.resources import files

_MARK = "-- # "


def statements(name: str) -> dict[str, str]:
    """The statements of `sql/<name>.sql` by title; raises `ValueError` when a title comes twice."""
    found: dict[str, str] = {}
    text = (files(__package__) / "sql" / f"{name}.sql").read_text(encoding="utf-8")
    for section in text.split(f"\n{_MARK}")[1:]:
        title, _, body = section.partition("\n")
        if title in found:
            raise ValueError(f"sql/{name}.sql has two statements titled {title!r}")
        found[title] = f"/* {title} */ {body.strip().rstrip(';')}"
    return found
