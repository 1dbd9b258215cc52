"""The end of a tenant: everything of it goes, step by step, and what was begun is finished after any interruption.

The first step makes it ``deleting``, which stops its keys and its executions for good; ``housekeeping`` in
``bootstrap`` takes up whatever stands so at a start. What stays is an id that the audit trail can name, the trail
itself, and the names of its listings, which nobody else may take.
"""

import asyncio
import hmac

from plugyard.application.export import confirmation_of
from plugyard.application.housekeeping import FILES, YOUNGEST
from plugyard.application.platform import Platform, record_tenant_change, require
from plugyard.application.tenants import cancel_running, forget_tenant, halt
from plugyard.application.upload import bundle_key, package_key
from plugyard.domain.errors import Conflict, FieldError, InvalidInput, NotFound, PlugyardError
from plugyard.domain.identity import Action, Caller, Role, Tenant
from plugyard.domain.tenants import TenantState

ROWS_AT_ONCE = 5_000
_GOING = "The tenant is being deleted."
_SERVICE = Caller("service", Role.OPERATOR, None)


async def delete_tenant(
    platform: Platform, caller: Caller, tenant_id: str, *, confirmation: str | None, forced_because: str | None
) -> Tenant:
    """Give a tenant up; what is left to do goes on in the background. Again, while it goes on, changes nothing.

    Raises ``NotFound``; ``Conflict`` for a tenant that is not suspended; ``InvalidInput`` without the confirmation of
    an export that was made since it is, or a reason to do without.
    """
    require(caller, Action.MANAGE_TENANTS)
    async with platform.store.for_operator() as tx:
        tenant = await tx.tenant_locked(tenant_id)
        if tenant is None:
            raise NotFound("There is no tenant of this id.")
        if tenant.state is TenantState.ACTIVE:
            raise Conflict("The tenant is active. Suspend it first, and export what is its own.")
        if tenant.state is TenantState.SUSPENDED:
            if forced_because is None:
                _check(platform, tenant, confirmation)
            await tx.save_state(tenant_id, TenantState.DELETING, _GOING, platform.clock())
            detail = {"slug": tenant.slug, "exported": forced_because is None, "forced": forced_because}
            await record_tenant_change(platform, tx, caller, "tenant.deleting", tenant_id, detail)
            tenant = await tx.tenant(tenant_id) or tenant
    halt(platform, tenant_id, _GOING)
    platform.in_background(_erase_now(platform, tenant_id))
    return tenant


def _check(platform: Platform, tenant: Tenant, confirmation: str | None) -> None:
    if confirmation is None or not hmac.compare_digest(
        confirmation.encode(), confirmation_of(platform, tenant).encode()
    ):
        raise InvalidInput(
            "Deleting needs the confirmation in the manifest.json of an export that was made since the tenant is "
            "suspended; or force, with a reason.",
            [FieldError("query/confirmation", "is not that of such an export")],
        )


async def _erase_now(platform: Platform, tenant_id: str) -> None:
    try:
        await erase(platform, tenant_id)
    except PlugyardError:
        # A part is away for a moment. The tenant stays as it is and is taken up again with the next tidying.
        return


async def finish_deletions(platform: Platform) -> int:
    """Take up the tenants that stand half deleted; how many of them are gone now.

    One that cannot go on, because a part is away, holds up neither the others nor whatever else is to be tidied.
    """
    async with platform.store.for_operator() as tx:
        waiting = await tx.tenants_being_deleted()
    for tenant_id in waiting:
        halt(platform, tenant_id, _GOING)
        await _erase_now(platform, tenant_id)
    async with platform.store.for_operator() as tx:
        left = set(await tx.tenants_being_deleted())
    return len(set(waiting) - left)


async def erase(platform: Platform, tenant_id: str) -> None:
    """Take away everything of a tenant that is being deleted. Each step can be done again."""
    if tenant_id in platform.erasing:
        return
    platform.erasing.add(tenant_id)
    try:
        await _end_executions(platform, tenant_id)
        async with platform.store.for_operator() as tx:
            plugins, digests = await tx.plugins_of(tenant_id), await tx.digests_of(tenant_id)
        for plugin_id in plugins:
            await platform.executor.forget(plugin_id)
        for owner, plugin_id in await platform.databases.held():
            if owner == tenant_id:
                await platform.databases.drop(tenant_id, plugin_id)
        for key in [key async for key, _ in platform.objects.list(f"{FILES}{tenant_id}/")]:
            await platform.objects.delete(key)
        if platform.on_tenant_gone is not None:
            await platform.on_tenant_gone(tenant_id)
        await _erase_rows(platform, tenant_id)
        await _delete_packages(platform, digests)
        async with platform.store.for_operator() as tx:
            await tx.bury(tenant_id, platform.clock())
            await record_tenant_change(platform, tx, _SERVICE, "tenant.deleted", tenant_id)
    finally:
        platform.erasing.discard(tenant_id)
    platform.tallies.forget(tenant_id)
    platform.endpoint_cache.forget(tenant_id)
    platform.halted.pop(tenant_id, None)
    forget_tenant(platform, tenant_id)


async def _end_executions(platform: Platform, tenant_id: str) -> None:
    """Cancel what still executes and wait until it is recorded, so that no row comes behind the erasing."""
    while any(execution.tenant_id == tenant_id for execution in list(platform.running.values())):
        cancel_running(platform, tenant_id)
        await asyncio.sleep(0.05)


async def _erase_rows(platform: Platform, tenant_id: str) -> None:
    """In many small transactions, so that nobody waits for the locks of one that is large."""
    while True:
        async with platform.store.for_operator() as tx:
            if not await tx.erase(tenant_id, ROWS_AT_ONCE):
                return


async def _delete_packages(platform: Platform, digests: list[str]) -> None:
    """Delete the packages that no other version names.

    Young ones are left to the sweep of orphans: another tenant's upload of the same bytes may have no row yet.
    """
    async with platform.store.for_operator() as tx:
        named = await tx.known_digests(digests)
    oldest = platform.clock() - YOUNGEST
    for digest in digests:
        if digest not in named:
            for key in (package_key(digest), bundle_key(digest)):
                changed = [at async for found, at in platform.objects.list(key) if found == key]
                if changed and changed[0] < oldest:
                    await platform.objects.delete(key)
