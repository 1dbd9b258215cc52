"""Writes down every statement that the store runs, and asks the database how it was carried out.

Used by `scale.py`: the statements are run again under EXPLAIN (ANALYZE, BUFFERS) by the service's role and rolled
back, so that what row-level security adds is part of the plan, and the timings of the run are those of the store alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.types.json import set_json_dumps

from plugyard.infrastructure.postgres.rows import Parameters, Session
from plugyard.infrastructure.postgres.store import _dumps

LARGE = 10_000
"""A table or partition with so many rows may not be read from one end to the other."""


@dataclass(frozen=True)
class Ran:
    """A statement with its parameters, by which tenant; an empty one is the operator."""

    statement: str
    parameters: Parameters
    tenant_id: str


@dataclass
class Plan:
    """What the database did for one statement: the time that it took itself, and the large tables that it scanned."""

    title: str
    ms: float
    buffers: int
    scanned: list[str] = field(default_factory=list)


class Witness:
    """Remembers the statements that transactions ran while it watched, a few calls of each."""

    def __init__(self, each: int = 3) -> None:
        self._each = each
        self._ran: dict[str, list[Ran]] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Every statement of every transaction, until the block ends."""
        kept = {name: getattr(Session, name) for name in ("_all", "_one", "_run")}

        def watched(original: Any) -> Any:
            async def run(session: Session, statement: str, parameters: Parameters) -> Any:
                calls = self._ran.setdefault(statement, [])
                if len(calls) < self._each:
                    calls.append(Ran(statement, parameters, session._tenant_id))
                return await original(session, statement, parameters)

            return run

        for name, original in kept.items():
            setattr(Session, name, watched(original))
        try:
            yield
        finally:
            for name, original in kept.items():
                setattr(Session, name, original)

    def plans(self, service_url: str, owner_url: str) -> list[Plan]:
        """How the database carries out each statement that was seen, the slowest call of each."""
        with psycopg.connect(owner_url) as owner:
            rows = {
                str(name): float(count)
                for name, count in owner.execute(
                    "select relname, reltuples from pg_class where relnamespace = 'plugyard'::regnamespace"
                )
            }
        found = []
        with psycopg.connect(service_url, autocommit=True, options="-c search_path=plugyard -c timezone=UTC") as asking:
            set_json_dumps(_dumps, asking)
            for calls in self._ran.values():
                plans = [_explained(asking, call, rows) for call in calls]
                worst = max(plans, key=lambda plan: plan.ms)
                worst.scanned = sorted({name for plan in plans for name in plan.scanned})
                found.append(worst)
        return found


def _explained(asking: psycopg.Connection, call: Ran, rows: dict[str, float]) -> Plan:
    asking.execute("begin")
    try:
        if call.tenant_id:
            asking.execute("select set_config('plugyard.tenant_id', %s, true)", [call.tenant_id])
        else:
            asking.execute("set local plugyard.operator = 'on'")
        asked = f"explain (analyze, buffers, format json) {call.statement}"
        answer = asking.execute(asked.encode(), call.parameters).fetchone()
    finally:
        asking.execute("rollback")
    document = answer[0][0] if answer else {}
    root = document["Plan"]
    title = call.statement.partition("*/")[0].removeprefix("/*").strip()
    plan = Plan(
        title,
        document["Execution Time"] + document["Planning Time"],
        root.get("Shared Hit Blocks", 0) + root.get("Shared Read Blocks", 0),
    )
    for node in _nodes(root):
        name = node.get("Relation Name", "")
        if node["Node Type"] == "Seq Scan" and node["Actual Loops"] and rows.get(name, 0) >= LARGE:
            plan.scanned.append(name)
    return plan


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for inner in node.get("Plans", ()):
        yield from _nodes(inner)
