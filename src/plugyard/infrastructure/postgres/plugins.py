"""Plugins, their versions and their dependencies as rows. A part of the transaction that `store` opens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import msgspec
import psycopg
from psycopg.types.json import Jsonb

from plugyard.application.ports import Page, PageRequest, PluginFilter, ResolvedDependency
from plugyard.domain.consent import WaitingUpgrade
from plugyard.domain.errors import NameTaken, NotFound, VersionExists
from plugyard.domain.health import Health, HealthStatus
from plugyard.domain.manifest import Manifest
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion, PluginView
from plugyard.domain.report import Report
from plugyard.domain.rights import Right
from plugyard.infrastructure.postgres.precedence import precedence_key
from plugyard.infrastructure.postgres.rows import Session, uuid_or_none
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.statements import statements
from plugyard.infrastructure.postgres.words import manifest_words

_SQL = statements("plugins")


class PluginRows(Session):
    """The plugin part of `application.ports.Transaction`."""

    async def add_plugin(self, plugin: Plugin, version: PluginVersion) -> None:
        """Adds a plugin with its first version; raises `NameTaken` when the tenant has one of that name."""
        try:
            await self._run(_SQL["add plugin"], _plugin_row(plugin, self._seals))
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(f"There is a plugin {plugin.name!r} already.") from error
        await self.add_version(version)

    async def add_plugins(self, added: Sequence[tuple[Plugin, PluginVersion]]) -> None:
        """Adds many plugins, each with its first version, in two round trips; raises `NameTaken` for any of them."""
        try:
            await self._many(_SQL["add plugin"], [_plugin_row(plugin, self._seals) for plugin, _ in added])
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken("There is a plugin of one of these names already.") from error
        await self._many(_SQL["add version"], [_version_row(version) for _, version in added])

    async def save_plugin(self, plugin: Plugin) -> None:
        """Writes a changed plugin; raises `NotFound` when there is none to change."""
        if await self._run(_SQL["save plugin"], _plugin_row(plugin, self._seals)) == 0:
            raise NotFound

    async def plugin(self, plugin_id: str, *, lock: bool = False) -> PluginView | None:
        """The plugin, uninstalled or not; with `lock`, nobody else changes it until the transaction ends."""
        if uuid_or_none(plugin_id) is None:
            return None
        row = await self._one(_SQL["plugin by id, locked" if lock else "plugin by id"], {"id": plugin_id})
        return (await self._views([row]))[0] if row else None

    async def plugin_named(self, name: str, *, lock: bool = False) -> PluginView | None:
        """The tenant's plugin of that name that is not uninstalled."""
        if "\0" in name:
            return None
        row = await self._one(_SQL["plugin by name, locked" if lock else "plugin by name"], {"name": name})
        return (await self._views([row]))[0] if row else None

    async def installed_plugins(self) -> Sequence[PluginView]:
        """Every plugin that is installed, active, inactive or suspended, by name."""
        return await self._views(await self._all(_SQL["installed plugins"], {}))

    async def list_plugins(self, filters: PluginFilter, page: PageRequest) -> Page[PluginView]:
        """The plugins that pass the filters; uninstalled ones only where that status is asked for."""
        from plugyard.infrastructure.postgres import lists

        query = lists.plugins(filters, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(await self._views(rows)), cursor)

    async def add_version(self, version: PluginVersion) -> None:
        """Adds a version; raises `VersionExists` when the plugin has one of that number."""
        try:
            await self._run(_SQL["add version"], _version_row(version))
        except psycopg.errors.UniqueViolation as error:
            raise VersionExists from error

    async def version(self, version_id: str) -> PluginVersion | None:
        """The version of that id."""
        if uuid_or_none(version_id) is None:
            return None
        return (await self._versions_by_id([version_id])).get(version_id)

    async def version_numbered(self, plugin_id: str, number: str) -> PluginVersion | None:
        """The plugin's version of that number, written exactly so."""
        if uuid_or_none(plugin_id) is None or "\0" in number:
            return None
        row = await self._one(_SQL["version by number"], {"plugin_id": plugin_id, "number": number})
        return _version(row) if row else None

    async def versions(self, plugin_id: str, page: PageRequest) -> Page[PluginVersion]:
        """The plugin's versions, the highest first."""
        from plugyard.infrastructure.postgres import lists

        if uuid_or_none(plugin_id) is None:
            return Page(())
        query = lists.versions(plugin_id, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_version(row) for row in rows), cursor)

    async def save_dependencies(self, version_id: str, resolved: Sequence[ResolvedDependency]) -> None:
        """Replaces what the version's dependencies were resolved to."""
        await self._run(_SQL["forget dependencies"], {"version_id": version_id})
        for one in resolved:
            await self._run(_SQL["add dependency"], {"version_id": version_id, **msgspec.to_builtins(one)})

    async def dependencies(self, version_id: str) -> Sequence[ResolvedDependency]:
        """What the version's dependencies were resolved to, by name."""
        if uuid_or_none(version_id) is None:
            return ()
        return [ResolvedDependency(**row) for row in await self._all(_SQL["dependencies"], {"version_id": version_id})]

    async def used_rights(self, plugin_ids: Sequence[str]) -> Mapping[str, Mapping[Right, datetime]]:
        """When the plugins last used what."""
        known = [one for one in plugin_ids if uuid_or_none(one) is not None]
        found: dict[str, dict[Right, datetime]] = {}
        for row in await self._all(_SQL["used rights"], {"ids": known}) if known else ():
            found.setdefault(row["plugin_id"], {})[Right(Service(row["service"]), row["name"])] = row["last_used_at"]
        return found

    async def _views(self, rows: Iterable[dict[str, Any]]) -> list[PluginView]:
        found = list(rows)
        versions = await self._versions_by_id([row["version_id"] for row in found])
        return [PluginView(_plugin(row, self._seals), versions[row["version_id"]]) for row in found]

    async def _versions_by_id(self, ids: Iterable[str]) -> dict[str, PluginVersion]:
        known = {one: self._versions.get(one, self._tenant_id) for one in ids}
        found = {one: version for one, version in known.items() if version is not None}
        missing = [one for one, version in known.items() if version is None]
        if missing:
            for row in await self._all(_SQL["versions by id"], {"ids": missing}):
                version = _version(row)
                found[version.id] = version
                self._read_versions.append(version)
        return found


def _plugin_row(plugin: Plugin, seals: Seals) -> dict[str, Any]:
    sealed, key_id = seals.seal(plugin.tenant_id, plugin.id, plugin.secrets)
    return {
        "id": plugin.id,
        "tenant_id": plugin.tenant_id,
        "name": plugin.name,
        "state": plugin.state.value,
        "version_id": plugin.version_id,
        "previous_version_id": plugin.previous_version_id,
        "origin_listing_id": plugin.origin_listing_id,
        "configuration": Jsonb(plugin.configuration),
        "secrets": Jsonb({}),
        "sealed_secrets": sealed,
        "sealed_by": key_id,
        "grants": Jsonb([permission.to_document() for permission in plugin.grants]),
        "installed_at": plugin.installed_at,
        "activated_at": plugin.activated_at,
        "suspended_because": plugin.suspended_because,
        "health_status": plugin.health.status.value,
        "health_score": plugin.health.score,
        "health_checked_at": plugin.health.checked_at,
        "created_at": plugin.created_at,
        "updated_at": plugin.updated_at,
        "waiting": _waiting_row(plugin.waiting),
        "grant_times": Jsonb({key: at.isoformat() for key, at in plugin.granted_at.items()}),
    }


def _waiting_row(waiting: WaitingUpgrade | None) -> Jsonb | None:
    if waiting is None:
        return None
    asks = [permission.to_document() for permission in waiting.asks]
    return Jsonb({**msgspec.to_builtins(waiting), "asks": asks})


def _waiting(row: dict[str, Any] | None) -> WaitingUpgrade | None:
    if row is None:
        return None
    asks = tuple(Permission.from_document(document) for document in row["asks"])
    return replace(msgspec.convert({**row, "asks": ()}, WaitingUpgrade), asks=asks)


def _plugin(row: dict[str, Any], seals: Seals) -> Plugin:
    return Plugin(
        id=row["id"],
        tenant_id=row["tenant_id"],
        name=row["name"],
        state=PluginState(row["state"]),
        version_id=row["version_id"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        previous_version_id=row["previous_version_id"],
        origin_listing_id=row["origin_listing_id"],
        configuration=row["configuration"],
        secrets=_secrets(row, seals),
        grants=tuple(Permission.from_document(document) for document in row["grants"]),
        installed_at=row["installed_at"],
        activated_at=row["activated_at"],
        suspended_because=row["suspended_because"],
        health=Health(HealthStatus(row["health_status"]), row["health_score"], row["health_checked_at"]),
        waiting=_waiting(row["waiting"]),
        granted_at={key: datetime.fromisoformat(at) for key, at in row["grant_times"].items()},
    )


def _secrets(row: dict[str, Any], seals: Seals) -> Mapping[str, Any]:
    # Rows from before there were seals hold them plain, until the service has sealed them.
    plain: dict[str, Any] = row["secrets"]
    return plain or seals.open(row["tenant_id"], row["id"], row["sealed_secrets"], row["sealed_by"])


def _version_row(version: PluginVersion) -> dict[str, Any]:
    manifest = version.manifest
    return {
        "id": version.id,
        "tenant_id": version.tenant_id,
        "plugin_id": version.plugin_id,
        "version": version.number,
        "precedence": precedence_key(manifest.version),
        "digest": version.digest,
        "entry": manifest.entry,
        "manifest": Jsonb(manifest.document),
        "report": Jsonb(msgspec.to_builtins(version.report)),
        "exports": Jsonb(list(version.exports)),
        "runtime": manifest.runtime.value,
        "category": manifest.category,
        "author": manifest.author,
        "permissions": [permission.service.value for permission in manifest.permissions],
        "words": manifest_words(manifest),
        "created_at": version.created_at,
    }


def _version(row: dict[str, Any]) -> PluginVersion:
    return PluginVersion(
        id=row["id"],
        tenant_id=row["tenant_id"],
        plugin_id=row["plugin_id"],
        manifest=Manifest.from_document(row["manifest"], entry=row["entry"]),
        digest=row["digest"],
        report=msgspec.convert(row["report"], Report),
        exports=tuple(row["exports"]),
        created_at=row["created_at"],
    )
