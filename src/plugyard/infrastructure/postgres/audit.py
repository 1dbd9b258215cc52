"""The audit trail as rows: entries are added, listed, and read as the lines of their chain. A part of `store`.

The chain itself is the database's: a trigger links each entry at the commit, whoever writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from plugyard.application.ports import AuditEntry, AuditFilter, AuditLine, Page, PageRequest
from plugyard.domain.trail import Head
from plugyard.infrastructure.postgres.rows import Session
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("audit")
_PLATFORM = "00000000-0000-0000-0000-000000000000"
"""The name of the chain of what concerns no tenant."""


class AuditRows(Session):
    """What the tenant's and the operator's transaction have in common: each reads its own chain."""

    async def audit(self, entry: AuditEntry) -> None:
        """Adds an entry to the trail."""
        row = {
            "id": entry.id,
            "tenant_id": entry.tenant_id,
            "at": entry.at,
            "actor": entry.actor,
            "action": entry.action,
            "target": entry.target,
            "detail": Jsonb(dict(entry.detail)),
            "request_id": entry.request_id,
        }
        await self._run(_SQL["audit"], row)

    async def list_audit(self, filters: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        """The trail, the newest first: the tenant's, or for the operator the platform's."""
        from plugyard.infrastructure.postgres import lists

        query = lists.audit(filters, page, of_platform=not self._tenant_id)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_entry(row) for row in rows), cursor)

    async def audit_head(self) -> Head:
        """Where the chain ends; one without entries has the head that every chain begins with."""
        row = await self._one(_SQL["audit head"], {"chain": self._tenant_id or _PLATFORM})
        return Head(row["sequence"], row["hash"]) if row else Head()

    async def audit_lines(self, after: int, limit: int) -> Sequence[AuditLine]:
        """The chain's lines behind a place in it, in order."""
        parameters = {"chain": self._tenant_id or _PLATFORM, "after": after, "limit": limit}
        rows = await self._all(_SQL["audit lines"], parameters)
        return [AuditLine(row["line"], row["sequence"]) for row in rows]

    async def unchained_audit(self, limit: int) -> Sequence[AuditLine]:
        """Entries that are in no chain, which only somebody past the triggers can have written."""
        rows = await self._all(_SQL["unchained entries"], {"tenant_id": self._tenant_id or None, "limit": limit})
        return [AuditLine(row["line"]) for row in rows]


def _entry(row: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        tenant_id=row["tenant_id"],
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        detail=row["detail"],
        request_id=row["request_id"],
        sequence=row["sequence"],
        hash=row["hash"],
    )
