"""The quarantine and what later checks found, in memory."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from plugyard.application.ports import Page, PageRequest, StandingFilter, ToRescan
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion
from plugyard.domain.report import Report
from plugyard.domain.standing import Affected, Rescan, Standing
from tests.memory import lists
from tests.memory.tables import Tables

IN_USE = (
    PluginState.VALIDATED,
    PluginState.INSTALLED,
    PluginState.ACTIVE,
    PluginState.INACTIVE,
    PluginState.SUSPENDED,
)


class MemoryStandings:
    """The tenant's part."""

    _tables: Tables
    _tenant_id: str | None

    async def save_standing(self, standing: Standing) -> None:
        assert standing.tenant_id == self._tenant_id
        self._tables.standings[standing.version_id] = standing

    async def standings(self, version_ids: Sequence[str]) -> Mapping[str, Standing]:
        found = (self._tables.standings.get(one) for one in version_ids)
        return {one.version_id: one for one in found if one is not None and one.tenant_id == self._tenant_id}

    async def save_rescan(self, rescan: Rescan) -> None:
        assert rescan.tenant_id == self._tenant_id
        self._tables.rescans[rescan.version_id] = rescan

    async def rescans(self, version_ids: Sequence[str]) -> Mapping[str, Rescan]:
        found = (self._tables.rescans.get(one) for one in version_ids)
        return {one.version_id: one for one in found if one is not None and one.tenant_id == self._tenant_id}


class MemoryOperatorStandings:
    """The operator's part."""

    _tables: Tables

    async def standing(self, version_id: str) -> Standing | None:
        return self._tables.standings.get(version_id)

    async def list_standings(self, filters: StandingFilter, page: PageRequest) -> Page[Standing]:
        rows = [
            one
            for one in self._tables.standings.values()
            if one.state is filters.state
            and filters.tenant_id in (None, one.tenant_id)
            and filters.name in (None, one.name)
        ]
        return lists.paged(
            "standings", rows, lambda one: (lists.moment(one.since), one.version_id), page, descending=False
        )

    def _waiting(self, rules_version: str) -> list[ToRescan]:
        demanded = max(self._tables.rescan_demands, default=None)
        used = {plugin.version_id for plugin in self._tables.plugins.values() if plugin.state in IN_USE}
        used |= {one.version_id for one in self._tables.listings.values() if one.withdrawn_at is None}
        found = []
        for version in (self._tables.versions[one] for one in used):
            rescan, report = self._tables.rescans.get(version.id), self._judged(version)
            seen = rescan.rules_version if rescan else report.rules_version
            at = rescan.at if rescan else version.created_at
            if seen != rules_version or (demanded is not None and at < demanded):
                waiting = ToRescan(version.id, version.tenant_id, version.plugin_id, version.digest, report)
                found.append((version.created_at, waiting))
        return [one for _, one in sorted(found, key=lambda one: (one[0], one[1].version_id), reverse=True)]

    def _judged(self, version: PluginVersion) -> Report:
        """The report on the version, or for a copy that has none the one on the same bytes."""
        same = [one for one in self._tables.versions.values() if one.digest == version.digest]
        judged = sorted((one for one in same if one.report.rules_version), key=lambda one: (one.created_at, one.id))
        return version.report if version.report.rules_version or not judged else judged[0].report

    async def versions_to_rescan(self, rules_version: str, limit: int) -> Sequence[ToRescan]:
        return self._waiting(rules_version)[:limit]

    async def count_to_rescan(self, rules_version: str) -> int:
        return len(self._waiting(rules_version))

    async def holders(self, digest: str) -> Sequence[tuple[str, str, str]]:
        plugins = self._tables.plugins
        versions = [one for one in self._tables.versions.values() if one.digest == digest and one.plugin_id in plugins]
        held = [one for one in versions if plugins[one.plugin_id].state is not PluginState.UNINSTALLED]
        return sorted((one.tenant_id, one.plugin_id, one.id) for one in held)

    async def affected(self, page: PageRequest) -> Page[Affected]:
        rows = [self._affected(one) for one in self._tables.rescans.values() if one.findings]
        return lists.paged("affected", rows, lambda one: (lists.moment(one.rescan.at), one.rescan.version_id), page)

    def _affected(self, rescan: Rescan) -> Affected:
        version = self._tables.versions[rescan.version_id]
        users = [one for one in self._tables.plugins.values() if self._uses(one, version.digest)]
        installed = tuple(
            (one.tenant_id, one.id, one.state.value) for one in sorted(users, key=lambda one: (one.tenant_id, one.id))
        )
        return Affected(rescan, version.manifest.name, version.number, version.digest, installed)

    def _uses(self, plugin: Plugin, digest: str) -> bool:
        current = self._tables.versions[plugin.version_id]
        return current.digest == digest and plugin.state is not PluginState.UNINSTALLED

    async def demand_rescan(self, demand_id: str, at: datetime) -> None:
        self._tables.rescan_demands.append(at)
