"""The operator's transaction, which crosses tenants. Opened by `store.PostgresStore.for_operator` alone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import psycopg
from psycopg.types.json import Jsonb

from plugyard.application.ports import Page, PageRequest
from plugyard.domain.errors import NameTaken, NotFound
from plugyard.domain.identity import Tenant, TenantPolicy
from plugyard.domain.tenants import TenantBounds, TenantState
from plugyard.infrastructure.postgres.publishers import OperatorPublisherRows
from plugyard.infrastructure.postgres.queued import OutboxRows, ScheduleRows
from plugyard.infrastructure.postgres.rows import uuid_or_none
from plugyard.infrastructure.postgres.sealed import SealedRows
from plugyard.infrastructure.postgres.standings import OperatorStandingRows
from plugyard.infrastructure.postgres.statements import statements
from plugyard.infrastructure.postgres.trail import TenantRows, tenant_of

_SQL = statements("trail")
_EXECUTIONS = statements("executions")


class PostgresOperatorTransaction(
    TenantRows, SealedRows, OperatorStandingRows, OperatorPublisherRows, ScheduleRows, OutboxRows
):
    """`application.ports.OperatorTransaction` on PostgreSQL."""

    async def add_tenant(self, tenant: Tenant) -> None:
        """Adds a tenant; raises `NameTaken` when its slug is in use."""
        row = {
            "id": tenant.id,
            "slug": tenant.slug,
            "name": tenant.name,
            "policy": Jsonb(tenant.policy.to_document()),
            "created_at": tenant.created_at,
        }
        try:
            await self._run(_SQL["add tenant"], row)
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(f"There is a tenant {tenant.slug!r} already.") from error

    async def tenant_by_slug(self, slug: str) -> Tenant | None:
        """The tenant of that slug."""
        if "\0" in slug:
            return None
        row = await self._one(_SQL["tenant by slug"], {"slug": slug})
        return tenant_of(row) if row else None

    async def list_tenants(self, page: PageRequest) -> Page[Tenant]:
        """Every tenant, the newest first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.tenants(page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(tenant_of(row) for row in rows), cursor)

    async def save_policy(self, tenant_id: str, policy: TenantPolicy, at: datetime) -> None:
        """Writes a tenant's policy; raises `NotFound` when there is no such tenant."""
        row = {"id": tenant_id, "policy": Jsonb(policy.to_document()), "at": at}
        if uuid_or_none(tenant_id) is None or await self._run(_SQL["save policy"], row) == 0:
            raise NotFound

    async def deny_modules(self, tenant_id: str, names: Sequence[str], at: datetime) -> None:
        """Writes which modules a tenant's plugins may not import; raises `NotFound` when there is no such tenant."""
        row = {"id": tenant_id, "names": list(names), "at": at}
        if uuid_or_none(tenant_id) is None or await self._run(_SQL["deny modules"], row) == 0:
            raise NotFound("There is no tenant of this id.")

    async def save_bounds(self, tenant_id: str, bounds: TenantBounds, at: datetime) -> None:
        """Writes what an operator decided for a tenant; raises `NotFound` when there is no such tenant."""
        row = {"id": tenant_id, "bounds": Jsonb(bounds.to_document()), "at": at}
        if uuid_or_none(tenant_id) is None or await self._run(_SQL["save bounds"], row) == 0:
            raise NotFound("There is no tenant of this id.")

    async def save_state(self, tenant_id: str, state: TenantState, reason: str | None, at: datetime) -> None:
        """Writes how a tenant stands; raises `NotFound` when there is no such tenant."""
        row = {"id": tenant_id, "state": state.value, "reason": reason, "at": at}
        if uuid_or_none(tenant_id) is None or await self._run(_SQL["save state"], row) == 0:
            raise NotFound("There is no tenant of this id.")

    async def tell_of_halt(self, tenant_id: str) -> None:
        """Tells the other replicas, when this is committed, to end what runs of a tenant."""
        await self._run(_SQL["tell of a halt"], {"id": tenant_id})

    async def tenant_locked(self, tenant_id: str) -> Tenant | None:
        """The tenant, which nobody else changes until this transaction ends."""
        if uuid_or_none(tenant_id) is None:
            return None
        row = await self._one(_SQL["tenant by id, locked"], {"id": tenant_id})
        return tenant_of(row) if row else None

    async def tenants_being_deleted(self) -> Sequence[str]:
        """The tenants that were given up and are not gone yet."""
        return [row["id"] for row in await self._all(_SQL["tenants being deleted"], {})]

    async def plugins_of(self, tenant_id: str) -> list[str]:
        """The ids of a tenant's plugins, of uninstalled ones too."""
        return [row["id"] for row in await self._all(_SQL["plugins of a tenant"], {"id": tenant_id})]

    async def digests_of(self, tenant_id: str) -> list[str]:
        """The digests of all packages that a tenant's versions name."""
        return [row["digest"] for row in await self._all(_SQL["digests of a tenant"], {"id": tenant_id})]

    async def erase(self, tenant_id: str, at_most: int) -> int:
        """Takes rows of a tenant that is being deleted, so many of each table; how many went."""
        row = await self._one(_SQL["erase a tenant"], {"id": tenant_id, "at_most": at_most})
        return row["erased"] if row else 0

    async def bury(self, tenant_id: str, at: datetime) -> None:
        """Leaves of a tenant that is being deleted its id, which the trail names, and nothing else."""
        await self._run(_SQL["bury a tenant"], {"id": tenant_id, "at": at})

    async def plugins_to_check(self, ran_since: datetime, limit: int) -> Sequence[tuple[str, str]]:
        """Tenant and plugin of active plugins that ran since then, those first whose last check is the longest ago."""
        rows = await self._all(_EXECUTIONS["plugins to check"], {"since": ran_since, "limit": limit})
        return [(row["tenant_id"], row["id"]) for row in rows]

    async def uninstalled(self, plugin_ids: Sequence[str], before: datetime) -> frozenset[str]:
        """Those of the plugins, of any tenant, that were uninstalled before then."""
        ids = [plugin_id for plugin_id in plugin_ids if uuid_or_none(plugin_id)]
        rows = await self._all(_SQL["uninstalled"], {"ids": ids, "before": before})
        return frozenset(row["id"] for row in rows)

    async def known_digests(self, digests: Sequence[str]) -> frozenset[str]:
        """Those of the digests that any version of any tenant names."""
        rows = await self._all(_SQL["known digests"], {"digests": list(digests)})
        return frozenset(row["digest"] for row in rows)
