"""Keys, the tenant itself, events and idempotency as rows. A part of the transaction of `store`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from plugyard.application.ports import Holdings, Page, PageRequest, StoredReply
from plugyard.domain.errors import Conflict, NotFound
from plugyard.domain.events import Event
from plugyard.domain.identity import ApiKey, Role, Tenant, TenantPolicy
from plugyard.domain.scopes import Scope
from plugyard.domain.tenants import TenantBounds, TenantState
from plugyard.infrastructure.postgres.audit import AuditRows
from plugyard.infrastructure.postgres.rows import uuid_or_none
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("trail")


class TenantRows(AuditRows):
    """What the tenant's and the operator's transaction have in common."""

    async def tenant(self, tenant_id: str) -> Tenant | None:
        """The tenant of that id, where this transaction may see it."""
        if uuid_or_none(tenant_id) is None:
            return None
        row = await self._one(_SQL["tenant by id"], {"id": tenant_id})
        return tenant_of(row) if row else None

    async def holdings(self, *, beside: str = "", lock: bool = False) -> Holdings:
        """What the tenant holds of what its quotas count; with `lock`, nobody adds to it until the transaction ends."""
        if lock:
            # References to the row go on meanwhile: they take a weaker lock.
            await self._one(_SQL["lock the tenant's holdings"], {})
        row = await self._one(_SQL["holdings"], {"beside": beside})
        return Holdings(**row) if row else Holdings(0, 0)

    async def add_key(self, key: ApiKey, secret_hash: bytes) -> None:
        """Adds a key; only the hash of its secret is stored. Raises `Conflict` where a key has this secret already."""
        try:
            await self._run(_SQL["add key"], {**_key_row(key), "secret_hash": secret_hash})
        except psycopg.errors.UniqueViolation as error:
            raise Conflict("There is a key with this secret already.") from error

    async def key(self, key_id: str) -> ApiKey | None:
        """The key of that id: the tenant's own, or an operator's."""
        if uuid_or_none(key_id) is None:
            return None
        row = await self._one(_SQL["key by id"], {"id": key_id})
        # An operator's transaction sees every row; its keys are those of no tenant.
        return key_of(row) if row and (row["tenant_id"] is None) == (self._tenant_id == "") else None

    async def successor_of(self, key_id: str) -> ApiKey | None:
        """The key that took the place of that one."""
        row = await self._one(_SQL["key that succeeds"], {"id": key_id})
        return key_of(row) if row else None

    async def save_key(self, key: ApiKey) -> None:
        """Writes a changed key; raises `NotFound` when there is none to change."""
        if await self._run(_SQL["save key"], _key_row(key)) == 0:
            raise NotFound

    async def list_keys(self, page: PageRequest) -> Page[ApiKey]:
        """The tenant's keys, or the operators', the newest first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.keys(page, of_operators=self._tenant_id == "")
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(key_of(row) for row in rows), cursor)


class TrailRows(TenantRows):
    """The part of `application.ports.Transaction` that keeps events and replies."""

    async def emit(self, event: Event) -> None:
        """Puts an event into the outbox, from where it is relayed once this transaction is committed."""
        row = {
            "id": event.id,
            "tenant_id": event.tenant_id,
            "plugin_id": event.plugin_id,
            "type": event.type.value,
            "occurred_at": event.occurred_at,
            "data": Jsonb(event.data),
        }
        await self._run(_SQL["emit"], row)

    async def claim_key(self, plugin_id: str, key: str, reply: StoredReply) -> StoredReply | None:
        """Holds an idempotency key: `None` when it was free or older than a day, else what is kept under it.

        A claim that another transaction has not yet committed is waited for.
        """
        row = {
            "plugin_id": plugin_id,
            "key": key,
            "request_hash": reply.request_hash,
            "execution_id": reply.execution_id,
            "response": None if reply.response is None else Jsonb(dict(reply.response)),
            "created_at": reply.created_at,
        }
        while True:
            if await self._one(_SQL["claim idempotency key"], row):
                return None
            kept = await self._one(_SQL["idempotency key"], {"plugin_id": plugin_id, "key": key})
            # It may have been given free between the two statements; then it is claimed again.
            if kept is not None:
                return StoredReply(**kept)

    async def settle_key(self, plugin_id: str, key: str, execution_id: str, response: Mapping[str, Any] | None) -> None:
        """Keeps the response under the key, or with `None` gives the key free; nothing where another holds it now."""
        row: dict[str, Any] = {"plugin_id": plugin_id, "key": key, "execution_id": execution_id}
        if response is None:
            await self._run(_SQL["free idempotency key"], row)
        else:
            await self._run(_SQL["keep idempotent response"], {**row, "response": Jsonb(dict(response))})


def _key_row(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "tenant_id": key.tenant_id,
        "name": key.name,
        "role": key.role.value,
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
        "scopes": Jsonb([one.to_document() for one in key.scopes]),
        "succeeds": key.succeeds,
    }


def key_of(row: dict[str, Any]) -> ApiKey:
    """The key that a row holds."""
    return ApiKey(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        role=Role(row["role"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
        scopes=tuple(Scope.from_document(one) for one in row["scopes"]),
        succeeds=row["succeeds"],
    )


def tenant_of(row: dict[str, Any]) -> Tenant:
    """The tenant that a row holds."""
    return Tenant(
        id=row["id"],
        slug=row["slug"],
        name=row["name"],
        created_at=row["created_at"],
        policy=TenantPolicy.from_document(row["policy"]),
        modules_denied=tuple(row["modules_denied"]),
        bounds=TenantBounds.from_document(row["bounds"]),
        state=TenantState(row["state"]),
        suspended_because=row["suspended_because"],
        suspended_at=row["suspended_at"],
    )
