"""The audit trail in memory: entries are chained as the database's trigger chains them."""

import json
from collections.abc import Sequence
from dataclasses import replace

from plugyard.application.ports import AuditEntry, AuditFilter, AuditLine, Page, PageRequest
from plugyard.domain.trail import Head, hash_of
from tests.memory import lists
from tests.memory.tables import Tables


def canonical(entry: AuditEntry, sequence: int) -> str:
    """What is hashed of an entry, as docs/audit.md has it."""
    document = {
        "sequence": sequence,
        "id": entry.id,
        "tenantId": entry.tenant_id,
        "at": entry.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "requestId": entry.request_id,
        "detail": dict(entry.detail),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def add(tables: Tables, entry: AuditEntry) -> None:
    """Put an entry at the end of its chain."""
    head = _head(_chain(tables, entry.tenant_id))
    sequence = head.sequence + 1
    hash_ = hash_of(head.hash, canonical(entry, sequence).encode())
    tables.audit.append(replace(entry, sequence=sequence, hash=hash_))


def _chain(tables: Tables, tenant_id: str | None) -> list[AuditEntry]:
    return [one for one in tables.audit if one.tenant_id == tenant_id]


def _head(chain: list[AuditEntry]) -> Head:
    return Head(chain[-1].sequence or 0, chain[-1].hash or "") if chain else Head()


class MemoryTrail:
    """The trail's part of both transactions; ``_tenant_id`` is ``None`` in the operator's."""

    _tables: Tables
    _tenant_id: str | None

    async def audit(self, entry: AuditEntry) -> None:
        if self._tenant_id not in (None, entry.tenant_id):
            raise PermissionError(f"a transaction of tenant {self._tenant_id} wrote a row of tenant {entry.tenant_id}")
        add(self._tables, entry)

    async def list_audit(self, filters: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
        rows = [
            one
            for one in _chain(self._tables, self._tenant_id)
            if filters.actor in (None, one.actor)
            and filters.action in (None, one.action)
            and filters.target in (None, one.target)
            and lists.within(one.at, filters.since, filters.until)
        ]
        return lists.paged("audit", rows, lambda one: (lists.moment(one.at), one.id), page)

    async def audit_head(self) -> Head:
        return _head(_chain(self._tables, self._tenant_id))

    async def audit_lines(self, after: int, limit: int) -> Sequence[AuditLine]:
        behind = [one for one in _chain(self._tables, self._tenant_id) if (one.sequence or 0) > after]
        return [
            AuditLine(f'{{"hash":"{one.hash}",{canonical(one, one.sequence or 0)[1:]}', one.sequence)
            for one in behind[:limit]
        ]

    async def unchained_audit(self, limit: int) -> Sequence[AuditLine]:
        return ()
