"""The rotation of sealed secrets, across tenants. A part of the operator's transaction."""

from __future__ import annotations

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from plugyard.domain.secrets import LockedPlugin, LockedSecrets, Resealed
from plugyard.infrastructure.postgres.rows import Session
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("sealed")
_NIL = "00000000-0000-0000-0000-000000000000"


class SealedRows(Session):
    """What `application.ports.OperatorTransaction` knows of seals."""

    async def secret_keys(self) -> Mapping[str, int]:
        """How many plugins and webhooks each key seals, and those that seal none; the one that seals comes first."""
        counted = {row["sealed_by"]: row["n"] for row in await self._all(_SQL["sealed by key"], {})}
        return {key_id: counted.pop(key_id, 0) for key_id in self._seals.ids} | counted

    async def reseal_secrets(self, after: str | None, limit: int) -> Resealed:
        """Seals what the first key does not seal yet, rows from before there were seals included; at most so many.

        A row that somebody changes at the moment is left out: what is saved is sealed with the first key anyway.
        """
        parameters = {"after": after or _NIL, "first": self._seals.first, "limit": limit}
        rows = await self._all(_SQL["to reseal"], parameters)
        locked: list[LockedPlugin] = []
        for row in rows:
            opened = self._seals.open(row["tenant_id"], row["id"], row["sealed_secrets"], row["sealed_by"])
            if isinstance(opened, LockedSecrets):
                locked.append(LockedPlugin(row["tenant_id"], row["plugin_id"], opened.key_id))
                continue
            sealed, key_id = self._seals.seal(row["tenant_id"], row["id"], {**row["secrets"], **opened})
            new = {"id": row["id"], "sealed_secrets": sealed, "sealed_by": key_id, "none": Jsonb({})}
            await self._run(_SQL["reseal webhook" if row["is_webhook"] else "reseal"], new)
        end = rows[-1]["id"] if len(rows) == limit else None
        return Resealed(self._seals.first, len(rows) - len(locked), tuple(locked), end)

    async def plain_secrets(self) -> bool:
        """Whether there is a row with secrets from before there were seals."""
        row = await self._one(_SQL["plain secrets"], {})
        return row is not None and bool(row["there"])
