"""What there is and what there was: plugins, versions, reports and executions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from plugyard.application.platform import Platform, plugin_of, record_tenant_change, require, tenant_of
from plugyard.application.ports import (
    ExecutionFilter,
    Page,
    PageRequest,
    PluginFilter,
    ResolvedDependency,
)
from plugyard.domain.errors import Conflict, NotFound
from plugyard.domain.execution import Execution, ExecutionStatus
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import PluginVersion, PluginView
from plugyard.domain.standing import Rescan, Standing


async def plugin(
    platform: Platform, caller: Caller, plugin_id: str
) -> tuple[PluginView, tuple[ResolvedDependency, ...]]:
    """One plugin, with what its version's dependencies were resolved to."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id)
        return view, tuple(await tx.dependencies(view.version.id))


async def plugins(platform: Platform, caller: Caller, filters: PluginFilter, page: PageRequest) -> Page[PluginView]:
    """The tenant's plugins; uninstalled ones only where the filter asks for them."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.list_plugins(filters, page)


async def versions(platform: Platform, caller: Caller, plugin_id: str, page: PageRequest) -> Page[PluginVersion]:
    """The versions of a plugin, highest first."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        await plugin_of(tx, plugin_id)
        return await tx.versions(plugin_id, page)


async def version(platform: Platform, caller: Caller, plugin_id: str, number: str | None) -> PluginVersion:
    """One version, or with ``None`` the one that the plugin points at: its report is with it."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id)
        found = view.version if number is None else await tx.version_numbered(plugin_id, number)
    if found is None:
        raise NotFound(f"There is no version {number} of this plugin.")
    return found


@dataclass(frozen=True, slots=True)
class Judged:
    """A version with what became of its report: an operator's word, and what later checks found."""

    version: PluginVersion
    standing: Standing | None
    rescan: Rescan | None


async def judged(platform: Platform, caller: Caller, plugin_id: str, number: str | None) -> Judged:
    """One version with all that was ever said of it."""
    found = await version(platform, caller, plugin_id, number)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        standings, rescans = await tx.standings([found.id]), await tx.rescans([found.id])
    return Judged(found, standings.get(found.id), rescans.get(found.id))


async def standings(platform: Platform, caller: Caller, version_ids: Sequence[str]) -> Mapping[str, Standing]:
    """Where those of the versions stand that ever were suspicious."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.standings(version_ids)


async def rescans(platform: Platform, caller: Caller, version_ids: Sequence[str]) -> Mapping[str, Rescan]:
    """What the latest later check found in those of the versions that had one."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.rescans(version_ids)


async def executions(
    platform: Platform, caller: Caller, plugin_id: str, filters: ExecutionFilter, page: PageRequest
) -> Page[Execution]:
    """The executions of a plugin, newest first. ``running`` shows those that run in this process at this moment."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        await plugin_of(tx, plugin_id)
        if filters.status is ExecutionStatus.RUNNING:
            mine = [
                one
                for one in platform.running.values()
                if one.plugin_id == plugin_id
                and filters.function in (None, one.function)
                and filters.version in (None, one.version)
                and (filters.since is None or one.started_at >= filters.since)
                and (filters.until is None or one.started_at < filters.until)
            ]
            return Page(tuple(sorted(mine, key=lambda one: one.id, reverse=True)[: page.limit]))
        return await tx.list_executions(plugin_id, filters, page)


async def execution(platform: Platform, caller: Caller, execution_id: str) -> Execution:
    """One execution, running or ended."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    running = platform.running.get(execution_id)
    if running is not None and running.tenant_id == tenant_id:
        return running
    async with platform.store.for_tenant(tenant_id) as tx:
        found = await tx.execution(execution_id)
    if found is None:
        raise NotFound("There is no execution of this id.")
    return found


async def cancel(platform: Platform, caller: Caller, execution_id: str) -> Execution:
    """End an execution that runs; its caller is answered ``cancelled``. Raises ``Conflict`` where it has ended."""
    require(caller, Action.EXECUTE)
    found = await execution(platform, caller, execution_id)
    if found.status.final or not platform.executor.cancel(execution_id):
        raise Conflict(f"The execution has ended: {found.status.value}. Only one that runs or waits can be cancelled.")
    async with platform.store.for_tenant(found.tenant_id) as tx:
        what = {"pluginId": found.plugin_id, "function": found.function}
        await record_tenant_change(platform, tx, caller, "execution.cancelled", found.id, what)
    return found
