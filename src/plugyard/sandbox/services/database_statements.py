"""Which SQL statements a plugin may send, by their first words. Asked by ``database`` before anything is sent.

What a statement may reach is PostgreSQL's to decide, by the rights of the plugin's own role; nothing here is needed for
that. This list keeps a session clean for the next call that gets it: no settings, no transactions behind the service's
back, no listeners, cursors or locks that outlive a statement, and no kinds of objects that the service does not mean to
give. The first words decide what a statement is, so no more of it need be understood.
"""

import re
from collections.abc import Iterator

_SKIPPED = re.compile(r"(?:[ \t\n\r\f\v(]+|--[^\n\r]*)")
_WORD = re.compile(r"[A-Za-z_]+")

_FIRST = frozenset(
    {"select", "insert", "update", "delete", "merge", "with", "values", "table", "explain", "truncate", "comment"}
)
_DEFINING = frozenset({"create", "alter", "drop"})
_BETWEEN = frozenset({"or", "replace", "unlogged", "unique", "recursive", "materialized"})
_KINDS = frozenset({"table", "index", "view", "sequence", "type", "domain"})

ALLOWED = "SELECT, INSERT, UPDATE, DELETE, MERGE, WITH, VALUES, TABLE, EXPLAIN, TRUNCATE, COMMENT; " + (
    "CREATE, ALTER and DROP of tables, indexes, views, sequences, types and domains; REFRESH MATERIALIZED VIEW"
)


def refused(sql: str) -> str | None:
    """The words by which a statement is refused; ``None`` where it may be sent."""
    words = _words(sql)
    first = next(words, "")
    if first in _FIRST:
        return None
    if first == "refresh":
        second = next(words, "")
        return None if second == "materialized" else f"{first} {second}".strip()
    if first not in _DEFINING:
        return first or "an empty statement"
    kind = next(words, "")
    while kind in _BETWEEN:
        kind = next(words, "")
    return None if kind in _KINDS else f"{first} {kind}".strip()


def _words(sql: str) -> Iterator[str]:
    """The words at the beginning in lower case, until something comes that is none."""
    at = 0
    while at < len(sql):
        if sql.startswith("/*", at):
            at = _after_comment(sql, at)
        elif found := _SKIPPED.match(sql, at):
            at = found.end()
        elif found := _WORD.match(sql, at):
            yield found[0].lower()
            at = found.end()
        else:
            return


def _after_comment(sql: str, at: int) -> int:
    """Where a block comment ends; they nest. Source: PostgreSQL's documentation, section 4.1.5."""
    depth = 0
    for found in re.compile(r"/\*|\*/").finditer(sql, at):
        depth += 1 if found[0] == "/*" else -1
        if depth == 0:
            return found.end()
    return len(sql)
