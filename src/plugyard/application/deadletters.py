"""Executions that were given up: seen, run again by an admin's word, or dropped."""

from dataclasses import replace

from plugyard.application.enqueue import add, call_of, entry_for
from plugyard.application.executable import check_call, executable_of
from plugyard.application.platform import Platform, record_tenant_change, require, tenant_of
from plugyard.application.ports import Page, PageRequest
from plugyard.domain.errors import Conflict, NotFound
from plugyard.domain.execution import Execution
from plugyard.domain.identity import Action, Caller
from plugyard.domain.queue import QueuedExecution, QueueState


async def dead_letters(
    platform: Platform, caller: Caller, plugin_id: str | None, page: PageRequest
) -> Page[QueuedExecution]:
    """Those of the tenant, or of one of its plugins, the latest first."""
    require(caller, Action.MANAGE_QUEUE)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.dead_letters(plugin_id, page)


async def dead_letter(platform: Platform, caller: Caller, execution_id: str) -> tuple[QueuedExecution, str | None]:
    """One of them, and its input where it is still kept."""
    require(caller, Action.MANAGE_QUEUE)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        found = await tx.queued_whole(execution_id)
    if found is None or found.state is not QueueState.DEAD:
        raise NotFound("There is no dead letter of this id.")
    return found, found.input


async def replay(platform: Platform, caller: Caller, execution_id: str) -> Execution:
    """Queue it anew, as an execution of its own; the dead letter is gone then.

    Raises ``Conflict`` where its input is no longer kept, and what ``execute`` does of a plugin that cannot run it.
    """
    letter, given = await dead_letter(platform, caller, execution_id)
    if given is None:
        raise Conflict("Its input is no longer kept, so it cannot be run again; it can be dropped.")
    executable = await executable_of(platform, letter.tenant_id, letter.plugin_id)
    call = call_of(letter)
    check_call(platform, executable, call)
    entry = entry_for(platform, executable, call, caller, priority=letter.priority, origin="replay")
    # Who asked first is who it is done for; who replays it is in the trail.
    entry = replace(entry, call=replace(entry.call, actor=letter.call.actor))
    async with platform.store.for_tenant(letter.tenant_id) as tx:
        if not await tx.drop_dead(execution_id):
            raise NotFound("There is no dead letter of this id.")
        await add(platform, tx, entry)
        what = {"pluginId": letter.plugin_id, "function": letter.call.function, "replayedAs": entry.id}
        await record_tenant_change(platform, tx, caller, "dead_letter.replayed", execution_id, what)
    return entry.execution()


async def drop(platform: Platform, caller: Caller, execution_id: str) -> None:
    """Forget it; the record of its execution stays."""
    require(caller, Action.MANAGE_QUEUE)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        if not await tx.drop_dead(execution_id):
            raise NotFound("There is no dead letter of this id.")
        await record_tenant_change(platform, tx, caller, "dead_letter.dropped", execution_id)
