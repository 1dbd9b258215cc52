"""What there is and what there was: plugins, versions, reports and executions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from plugyard.application.executable import Executed
from plugyard.application.execute import ended_unrun
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
from plugyard.domain.queue import QueuedExecution, QueueEnd, QueueState
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
    """The executions of a plugin, newest first. ``running`` shows those that run at this moment: of those that
    were asked for and are waited for, the ones in this process."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.long_reads.one(tenant_id), platform.store.for_tenant(tenant_id) as tx:
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
            # Those that waited their turn may run in any process.
            elsewhere = await tx.list_queued(plugin_id, QueueState.RUNNING, filters, PageRequest(page.limit))
            found = {one.id: one for one in (*(each.execution() for each in elsewhere.items), *mine)}
            return Page(tuple(sorted(found.values(), key=lambda one: one.id, reverse=True)[: page.limit]))
        if filters.status is ExecutionStatus.QUEUED:
            waiting = await tx.list_queued(plugin_id, QueueState.QUEUED, filters, page)
            return Page(tuple(each.execution() for each in waiting.items), waiting.next_cursor)
        return await tx.list_executions(plugin_id, filters, page)


async def execution(platform: Platform, caller: Caller, execution_id: str) -> Execution:
    """One execution, waiting, running or ended."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    running = platform.running.get(execution_id)
    if running is not None and running.tenant_id == tenant_id:
        return running
    async with platform.store.for_tenant(tenant_id) as tx:
        found = await tx.execution(execution_id)
        if found is None:
            waiting = await tx.queued(execution_id)
            found = waiting.execution() if waiting is not None else None
    if found is None:
        raise NotFound("There is no execution of this id.")
    return found


async def result(platform: Platform, caller: Caller, execution_id: str) -> Executed:
    """What came of an execution that was queued. Raises ``NotFound`` a day behind its end, ``Conflict`` before it."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        kept = await tx.queued_whole(execution_id)
        found = await tx.execution(execution_id)
    if kept is None:
        raise NotFound("There is no result of this id: one of a queued execution is kept for a day.")
    if found is None:
        raise Conflict(f"The execution has not ended: {kept.execution().status.value}. Ask again when it has.")
    if kept.output is None and found.status is ExecutionStatus.SUCCEEDED:
        raise NotFound(f"The result was not kept: it has {found.output_bytes} bytes, which is more than is kept.")
    return Executed(found, kept.output.encode() if kept.output is not None else None)


async def cancel(platform: Platform, caller: Caller, execution_id: str) -> Execution:
    """End an execution that runs or waits; whoever waits for it is answered ``cancelled``.

    A queued one that another process runs is told to end, and does within seconds. Raises ``Conflict`` where it has
    ended, and ``NotFound`` for one that is not queued and that another process runs: it is on record when it ends.
    """
    require(caller, Action.EXECUTE)
    found = await execution(platform, caller, execution_id)
    async with platform.store.for_tenant(found.tenant_id) as tx:
        entry = await tx.queued(execution_id)
    if entry is not None and entry.state.waiting:
        found = await _cancel_waiting(platform, entry)
    elif found.status.final or not await _cancel_running(platform, found, queued=entry is not None):
        raise Conflict(f"The execution has ended: {found.status.value}. Only one that runs or waits can be cancelled.")
    async with platform.store.for_tenant(found.tenant_id) as tx:
        what = {"pluginId": found.plugin_id, "function": found.function}
        await record_tenant_change(platform, tx, caller, "execution.cancelled", found.id, what)
    return found


async def _cancel_running(platform: Platform, found: Execution, *, queued: bool) -> bool:
    """Tell it to end; whether there is somebody to be told."""
    if queued:
        platform.told_to_end.add(found.id)
    if platform.executor.cancel(found.id):
        return True
    platform.told_to_end.discard(found.id)
    if queued:
        async with platform.store.for_tenant(found.tenant_id) as tx:
            await tx.ask_to_cancel(found.id)
    return queued


async def _cancel_waiting(platform: Platform, entry: QueuedExecution) -> Execution:
    """Record it as cancelled, unless a worker takes it at this moment: then that worker is told."""
    now = platform.clock()
    cancelled = replace(entry.execution(), status=ExecutionStatus.CANCELLED, started_at=now, ended_at=now)
    end = QueueEnd(entry.id, entry.run, QueueState.ENDED, entry.attempts, ended_at=now, waits=True)
    told = await ended_unrun(platform, cancelled)
    await platform.recorder.record(cancelled, (), told, (), end)
    async with platform.store.for_tenant(entry.tenant_id) as tx:
        recorded = await tx.execution(entry.id)
        if recorded is None:
            await tx.ask_to_cancel(entry.id)
    return recorded or entry.execution()
