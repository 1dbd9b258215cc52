"""A tenant's transaction on the store in memory: it sees the tenant's own rows, and the marketplace that all share."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from plugyard.application.ports import (
    ExecutionFilter,
    Holdings,
    ListingFilter,
    LogFilter,
    LogStep,
    Metrics,
    Page,
    PageRequest,
    PluginFilter,
    ResolvedDependency,
    StoredLogLine,
    StoredReply,
)
from plugyard.domain.analytics import Analytics, Window
from plugyard.domain.errors import NameTaken, VersionExists
from plugyard.domain.events import Event
from plugyard.domain.execution import Execution, ExecutionStatus
from plugyard.domain.identity import Tenant
from plugyard.domain.marketplace import Category, Listing, Rating
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion, PluginView
from plugyard.domain.rights import Right
from plugyard.domain.tenants import TenantState
from plugyard.domain.versions import Version
from tests.memory import lists
from tests.memory.keys import MemoryKeys
from tests.memory.publishers import MemoryPublishers
from tests.memory.queue import MemoryQueued, plan_schedules
from tests.memory.standings import MemoryStandings
from tests.memory.tables import Tables
from tests.memory.trail import MemoryTrail
from tests.memory.webhooks import MemoryWebhooks

IN_USE = (PluginState.INSTALLED, PluginState.ACTIVE, PluginState.INACTIVE, PluginState.SUSPENDED)
KEY_LIVES = timedelta(days=1)


class MemoryTransaction(MemoryTrail, MemoryKeys, MemoryStandings, MemoryPublishers, MemoryQueued, MemoryWebhooks):
    """Works on ``tables`` for one tenant; whoever opened it commits by keeping them."""

    def __init__(self, tables: Tables, tenant_id: str) -> None:
        self._tables, self._tenant_id = tables, tenant_id

    def _own(self, tenant_id: str | None) -> None:
        # What row-level security does in the database: a row of another tenant is never written.
        if tenant_id != self._tenant_id:
            raise PermissionError(f"a transaction of tenant {self._tenant_id} wrote a row of tenant {tenant_id}")

    # plugins and their versions

    async def add_plugin(self, plugin: Plugin, version: PluginVersion) -> None:
        self._own(plugin.tenant_id)
        self._own(version.tenant_id)
        if await self.plugin_named(plugin.name) is not None:
            raise NameTaken()
        self._tables.plugins[plugin.id] = plugin
        self._tables.versions[version.id] = version

    async def add_plugins(self, added: Sequence[tuple[Plugin, PluginVersion]]) -> None:
        for plugin, version in added:
            await self.add_plugin(plugin, version)

    async def save_plugin(self, plugin: Plugin) -> None:
        self._own(plugin.tenant_id)
        if plugin.id not in self._tables.plugins:
            raise KeyError(plugin.id)
        before = self._tables.plugins[plugin.id]
        self._tables.plugins[plugin.id] = plugin
        if (before.state, before.version_id) != (plugin.state, plugin.version_id):
            plan_schedules(self._tables, plugin)

    async def plugin(self, plugin_id: str, *, lock: bool = False) -> PluginView | None:
        found = self._tables.plugins.get(plugin_id)
        return self._view(found) if found is not None and found.tenant_id == self._tenant_id else None

    async def plugin_named(self, name: str, *, lock: bool = False) -> PluginView | None:
        for view in self._views():
            if view.plugin.name == name and view.plugin.state is not PluginState.UNINSTALLED:
                return view
        return None

    async def list_plugins(self, filters: PluginFilter, page: PageRequest) -> Page[PluginView]:
        return lists.plugins(self._views(), filters, page, self._newer)

    async def installed_plugins(self) -> Sequence[PluginView]:
        return [view for view in self._views() if view.plugin.state in IN_USE]

    def _newer(self, view: PluginView) -> bool:
        """Whether there is a version higher than the one that is installed, of the plugin's own or on offer."""
        offered = self._tables.listings.get(view.plugin.origin_listing_id or "")
        others = [one.manifest.version for one in self._versions_of(view.plugin.id)]
        if offered is not None and offered.withdrawn_at is None:
            others.append(offered.manifest.version)
        return view.plugin.state in IN_USE and any(one > view.version.manifest.version for one in others)

    async def used_rights(self, plugin_ids: Sequence[str]) -> Mapping[str, Mapping[Right, datetime]]:
        found: dict[str, dict[Right, datetime]] = {}
        for one, at in self._tables.used_rights.items():
            if one.tenant_id == self._tenant_id and one.plugin_id in plugin_ids:
                found.setdefault(one.plugin_id, {})[one.right] = at
        return found

    def _view(self, plugin: Plugin) -> PluginView:
        return PluginView(plugin, self._tables.versions[plugin.version_id])

    def _views(self) -> list[PluginView]:
        return [self._view(one) for one in self._tables.plugins.values() if one.tenant_id == self._tenant_id]

    async def add_version(self, version: PluginVersion) -> None:
        self._own(version.tenant_id)
        if await self.version_numbered(version.plugin_id, version.number) is not None:
            raise VersionExists()
        self._tables.versions[version.id] = version

    async def version(self, version_id: str) -> PluginVersion | None:
        found = self._tables.versions.get(version_id)
        return found if found is not None and found.tenant_id == self._tenant_id else None

    async def version_numbered(self, plugin_id: str, number: str) -> PluginVersion | None:
        return next((one for one in self._versions_of(plugin_id) if one.number == number), None)

    async def versions(self, plugin_id: str, page: PageRequest) -> Page[PluginVersion]:
        return lists.paged(
            "versions",
            self._versions_of(plugin_id),
            lambda one: (one.number, one.id),
            page,
            rank=lambda key: (Version.parse(key[0]).precedence, key[1]),
        )

    def _versions_of(self, plugin_id: str) -> list[PluginVersion]:
        return [
            one
            for one in self._tables.versions.values()
            if one.plugin_id == plugin_id and one.tenant_id == self._tenant_id
        ]

    async def save_dependencies(self, version_id: str, resolved: Sequence[ResolvedDependency]) -> None:
        self._tables.dependencies[version_id] = tuple(resolved)

    async def dependencies(self, version_id: str) -> Sequence[ResolvedDependency]:
        return self._tables.dependencies.get(version_id, ()) if await self.version(version_id) else ()

    # executions, logs, metrics

    async def execution(self, execution_id: str) -> Execution | None:
        found = self._tables.executions.get(execution_id)
        return found if found is not None and found.tenant_id == self._tenant_id else None

    def _executions_of(self, plugin_id: str) -> list[Execution]:
        return [
            one
            for one in self._tables.executions.values()
            if one.plugin_id == plugin_id and one.tenant_id == self._tenant_id
        ]

    def _logs_of(self, plugin_id: str, filters: LogFilter) -> list[StoredLogLine]:
        mine = {one.id for one in self._executions_of(plugin_id)}
        return [
            one for one in self._tables.logs.values() if one.execution_id in mine and lists.log_passes(one, filters)
        ]

    async def list_executions(self, plugin_id: str, filters: ExecutionFilter, page: PageRequest) -> Page[Execution]:
        return lists.executions(self._executions_of(plugin_id), filters, page)

    async def list_logs(self, plugin_id: str, filters: LogFilter, page: PageRequest) -> Page[StoredLogLine]:
        return lists.paged("logs", self._logs_of(plugin_id, filters), lambda one: (one.id,), page)

    async def logs_after(self, plugin_id: str, filters: LogFilter, after_id: str | None) -> LogStep:
        looked_at = sorted(one.id for one in self._logs_of(plugin_id, LogFilter()) if one.id > (after_id or ""))
        last = looked_at[-1] if looked_at else None
        passing = sorted(self._logs_of(plugin_id, filters), key=lambda one: one.id)
        if after_id is None:
            return LogStep(tuple(passing[-1:]), last)
        lines = tuple(one for one in passing if one.id > after_id)[:200]
        full = len(lines) == 200
        return LogStep(lines, lines[-1].id if full else last, full)

    async def metrics(self, plugin_id: str, since: datetime, until: datetime) -> Metrics:
        return lists.metrics(self._executions_of(plugin_id), since, until)

    async def analytics(self, window: Window, top: int) -> Analytics:
        mine = [one for one in self._tables.executions.values() if one.tenant_id == self._tenant_id]
        names = {one.id: one.name for one in self._tables.plugins.values()}
        lines = Counter(one.execution_id for one in self._tables.logs.values())
        return lists.analytics(mine, names, lines, window, top)

    async def outcomes(self, plugin_id: str, since: datetime) -> Mapping[ExecutionStatus, int]:
        return Counter(one.status for one in self._executions_of(plugin_id) if one.started_at >= since)

    async def count_executions(self, since: datetime, before: datetime) -> int:
        mine = (one for one in self._tables.executions.values() if one.tenant_id == self._tenant_id)
        return sum(since <= one.started_at < before for one in mine)

    # marketplace

    async def save_listing(self, listing: Listing) -> None:
        self._own(listing.tenant_id)
        for other in self._tables.listings.values():
            if other.name == listing.name and other.tenant_id != listing.tenant_id:
                raise NameTaken()
        before = self._tables.listings.get(listing.id)
        if before is not None:
            # The counts belong to those who install and rate, so the publisher's save leaves them.
            listing = replace(
                listing,
                installations=before.installations,
                rating_sum=before.rating_sum,
                rating_count=before.rating_count,
            )
        self._tables.listings[listing.id] = listing

    async def listing(self, listing_id: str, *, withdrawn: bool = False) -> Listing | None:
        found = self._tables.listings.get(listing_id)
        if found is None or self._hidden(found):
            return None
        return found if withdrawn or found.withdrawn_at is None else None

    def _hidden(self, listing: Listing) -> bool:
        """A tenant that is not active shows its listings to nobody but itself."""
        publisher = self._tables.tenants.get(listing.tenant_id)
        return (
            listing.tenant_id != self._tenant_id and publisher is not None and publisher.state is not TenantState.ACTIVE
        )

    async def listing_of(self, plugin_id: str) -> Listing | None:
        for one in self._tables.listings.values():
            if one.plugin_id == plugin_id and one.tenant_id == self._tenant_id:
                return one
        return None

    async def listing_named(self, name: str) -> Listing | None:
        return next((one for one in self._published() if one.name == name), None)

    def _published(self) -> list[Listing]:
        return [one for one in self._tables.listings.values() if one.withdrawn_at is None and not self._hidden(one)]

    async def search_listings(self, filters: ListingFilter, page: PageRequest) -> Page[Listing]:
        return lists.listings(self._published(), filters, page)

    async def featured(self, limit: int) -> Sequence[Listing]:
        return lists.listings(self._published(), ListingFilter(), PageRequest(limit)).items

    async def categories(self) -> Sequence[Category]:
        counted = Counter(one.manifest.category for one in self._published())
        return [Category(name, count) for name, count in sorted(counted.items(), key=lambda one: (-one[1], one[0]))]

    async def count_installation(self, listing_id: str) -> None:
        found = self._tables.listings[listing_id]
        self._tables.listings[listing_id] = replace(found, installations=found.installations + 1)

    async def hold_listing(self, listing_id: str, *, alone: bool = False) -> None:
        pass  # Transactions in memory are one after the other.

    async def rate(self, rating: Rating) -> None:
        self._own(rating.tenant_id)
        place = (rating.listing_id, rating.tenant_id)
        before = self._tables.ratings.get(place)
        if before is not None:
            rating = replace(rating, created_at=before.created_at)
        self._tables.ratings[place] = rating
        stars = [one.stars for one in self._tables.ratings.values() if one.listing_id == rating.listing_id]
        found = self._tables.listings[rating.listing_id]
        self._tables.listings[found.id] = replace(found, rating_sum=sum(stars), rating_count=len(stars))

    async def ratings(self, listing_id: str, page: PageRequest) -> Page[Rating]:
        rows = [one for one in self._tables.ratings.values() if one.listing_id == listing_id]
        return lists.paged("ratings", rows, lambda one: (lists.moment(one.updated_at), one.tenant_id), page)

    async def own_ratings(self, page: PageRequest) -> Page[Rating]:
        rows = [one for one in self._tables.ratings.values() if one.tenant_id == self._tenant_id]
        return lists.paged("own ratings", rows, lambda one: (lists.moment(one.updated_at), one.listing_id), page)

    # keys, tenants, the trail

    async def tenant(self, tenant_id: str) -> Tenant | None:
        found = self._tables.tenants.get(tenant_id) if tenant_id == self._tenant_id else None
        return None if found is None or found.state is TenantState.DELETED else found

    async def holdings(self, *, beside: str = "", lock: bool = False) -> Holdings:
        plugins = {view.plugin.id for view in self._views() if view.plugin.state is not PluginState.UNINSTALLED}
        packages = {
            one.digest: one.report.packed_bytes
            for one in self._tables.versions.values()
            if one.plugin_id in plugins and one.digest != beside
        }
        return Holdings(len(plugins), sum(packages.values()))

    async def emit(self, event: Event) -> None:
        self._own(event.tenant_id)
        self._tables.outbox.append(event)

    # idempotency

    async def claim_key(self, plugin_id: str, key: str, reply: StoredReply) -> StoredReply | None:
        place = (self._tenant_id, plugin_id, key)
        there = self._tables.replies.get(place)
        if there is not None and reply.created_at - there.created_at <= KEY_LIVES:
            dead = there.response is None and there.execution_id in self._tables.abandoned
            return replace(there, abandoned=dead)
        self._tables.replies[place] = reply
        return None

    async def settle_key(self, plugin_id: str, key: str, execution_id: str, response: Mapping[str, Any] | None) -> None:
        place = (self._tenant_id, plugin_id, key)
        held = self._tables.replies.get(place)
        if held is None or held.execution_id != execution_id:
            return
        if response is None:
            if held.response is None:
                del self._tables.replies[place]
        else:
            self._tables.replies[place] = replace(held, response=response)
