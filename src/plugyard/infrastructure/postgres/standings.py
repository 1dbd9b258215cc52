"""The quarantine and what later checks found, as rows. Parts of the transactions that `store` opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from plugyard.application.ports import Page, PageRequest, StandingFilter, ToRescan
from plugyard.domain.report import Finding, Report
from plugyard.domain.standing import Affected, Rescan, Standing, StandingState
from plugyard.infrastructure.postgres.rows import Session, uuid_or_none
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("standings")


class StandingRows(Session):
    """The part of `application.ports.Transaction` that knows where suspicious versions stand."""

    async def save_standing(self, standing: Standing) -> None:
        """Writes where a version stands."""
        row = {
            "version_id": standing.version_id,
            "tenant_id": standing.tenant_id,
            "plugin_id": standing.plugin_id,
            "name": standing.name,
            "version": standing.version,
            "digest": standing.digest,
            "state": standing.state.value,
            "since": standing.since,
            "decided_at": standing.decided_at,
            "decided_by": standing.decided_by,
            "reason": standing.reason,
        }
        await self._run(_SQL["save standing"], row)

    async def standings(self, version_ids: Sequence[str]) -> Mapping[str, Standing]:
        """Where those of the versions stand that ever were suspicious, by version."""
        ids = [one for one in version_ids if uuid_or_none(one)]
        rows = await self._all(_SQL["standings"], {"ids": ids}) if ids else []
        return {row["version_id"]: _standing(row) for row in rows}

    async def save_rescan(self, rescan: Rescan) -> None:
        """Writes what a later check found, in place of what an earlier one did."""
        row = {
            "version_id": rescan.version_id,
            "tenant_id": rescan.tenant_id,
            "rules_version": rescan.rules_version,
            "at": rescan.at,
            "findings": Jsonb(msgspec.to_builtins(rescan.findings)),
        }
        await self._run(_SQL["save rescan"], row)

    async def rescans(self, version_ids: Sequence[str]) -> Mapping[str, Rescan]:
        """The latest later check of each of the versions that had one, by version."""
        ids = [one for one in version_ids if uuid_or_none(one)]
        rows = await self._all(_SQL["rescans"], {"ids": ids}) if ids else []
        return {row["version_id"]: _rescan(row) for row in rows}


class OperatorStandingRows(Session):
    """The part of `application.ports.OperatorTransaction` that reviews versions across tenants."""

    async def standing(self, version_id: str) -> Standing | None:
        """Where a version stands, of whichever tenant."""
        if uuid_or_none(version_id) is None:
            return None
        row = await self._one(_SQL["standings"], {"ids": [version_id]})
        return _standing(row) if row else None

    async def list_standings(self, filters: StandingFilter, page: PageRequest) -> Page[Standing]:
        """Versions of all tenants that pass the filters, the longest waiting first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.standings(filters, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_standing(row) for row in rows), cursor)

    async def versions_to_rescan(self, rules_version: str, limit: int) -> Sequence[ToRescan]:
        """Versions in use that these rules, or an operator's demand, have not seen yet; the newest first."""
        rows = await self._all(_SQL["versions to rescan"], {"rules_version": rules_version, "limit": limit})
        return [ToRescan(**{**row, "report": msgspec.convert(row["report"], Report)}) for row in rows]

    async def count_to_rescan(self, rules_version: str) -> int:
        """How many such versions there are."""
        row = await self._one(_SQL["count to rescan"], {"rules_version": rules_version})
        return int(row["waiting"]) if row else 0

    async def holders(self, digest: str) -> Sequence[tuple[str, str, str]]:
        """Tenant, plugin and version of every version of these bytes whose plugin is not uninstalled, in use or not."""
        rows = await self._all(_SQL["holders of a digest"], {"digest": digest})
        return [(row["tenant_id"], row["plugin_id"], row["version_id"]) for row in rows]

    async def affected(self, page: PageRequest) -> Page[Affected]:
        """Versions in which a later check found something, the latest found first, with who uses the same bytes."""
        from plugyard.infrastructure.postgres import lists

        query = lists.affected(page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        digests = sorted({row["digest"] for row in rows})
        users = await self._all(_SQL["installations of digests"], {"digests": digests}) if digests else []
        found = [
            Affected(
                _rescan(row),
                row["name"],
                row["version"],
                row["digest"],
                tuple(
                    (one["tenant_id"], one["plugin_id"], one["state"])
                    for one in users
                    if one["digest"] == row["digest"]
                ),
            )
            for row in rows
        ]
        return Page(tuple(found), cursor)

    async def demand_rescan(self, demand_id: str, at: datetime) -> None:
        """Notes that everything is to be checked again."""
        await self._run(_SQL["demand rescan"], {"id": demand_id, "at": at})


def _standing(row: dict[str, Any]) -> Standing:
    fields = {name: row[name] for name in Standing.__dataclass_fields__}
    return Standing(**{**fields, "state": StandingState(row["state"])})


def _rescan(row: dict[str, Any]) -> Rescan:
    findings = tuple(msgspec.convert(one, Finding) for one in row["findings"])
    return Rescan(row["version_id"], row["tenant_id"], row["rules_version"], row["at"], findings)
