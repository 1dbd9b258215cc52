"""Tenants: made by an operator, with a first admin key, bounded, suspended and resumed by one.

Each decides what its policy grants by itself, within what the operator lets it. ``export.py`` and ``erase.py`` are for
the end of a tenant.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from plugyard.application.keys import hash_of, new_secret
from plugyard.application.platform import Platform, record_tenant_change, require, tenant_of
from plugyard.application.ports import Page, PageRequest
from plugyard.application.quotas import know_the_day, quotas_of
from plugyard.domain.errors import (
    Conflict,
    FieldError,
    InvalidInput,
    NameTaken,
    NotFound,
    TenantSuspended,
    Unauthenticated,
)
from plugyard.domain.identity import Action, ApiKey, Caller, Role, Tenant, TenantPolicy
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Service
from plugyard.domain.signatures import Demands, SignatureDemand
from plugyard.domain.tenants import Quota, TenantState

_HALTED_FOR = timedelta(minutes=1)
_STARTED = "service:start"


@dataclass(frozen=True, slots=True)
class Used:
    """How much of a quota is used; ``limit`` is ``None`` where there is no quota."""

    limit: int | None
    used: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What an operator changes of a tenant; ``None`` leaves it as it is. ``ceilings`` replace those that held.

    ``quotas`` change those that they name: to a number, to ``None`` for no quota; ``reset`` gives the default back.
    """

    modules_denied: Iterable[str] | None = None
    ceilings: RequestedLimits | None = None
    grantable: frozenset[Service] | None = None
    auto_grantable: frozenset[Service] | None = None
    quotas: Mapping[Quota, int | None] | None = None
    reset: frozenset[Quota] = frozenset()


async def create_tenant(platform: Platform, caller: Caller, slug: str, name: str) -> tuple[Tenant, ApiKey, str]:
    """A new tenant, its first admin key, and the key's secret, which is never shown again. Raises ``NameTaken``."""
    require(caller, Action.MANAGE_TENANTS)
    now = platform.clock()
    tenant = Tenant(platform.ids(), slug, name, now)
    secret = new_secret()
    key = ApiKey(platform.ids(), tenant.id, "first admin key", Role.ADMIN, now)
    async with platform.store.for_operator() as tx:
        await tx.add_tenant(tenant)
        await tx.add_key(key, hash_of(platform, secret))
        await record_tenant_change(platform, tx, caller, "tenant.created", tenant.id, {"slug": slug})
    return tenant, key, secret


async def tenants(platform: Platform, caller: Caller, page: PageRequest) -> Page[Tenant]:
    """Every tenant, for operators alone."""
    require(caller, Action.MANAGE_TENANTS)
    async with platform.store.for_operator() as tx:
        return await tx.list_tenants(page)


async def tenant(platform: Platform, caller: Caller, tenant_id: str) -> Tenant:
    """One tenant, for operators alone."""
    require(caller, Action.MANAGE_TENANTS)
    async with platform.store.for_operator() as tx:
        return _found(await tx.tenant(tenant_id))


async def own_tenant(platform: Platform, caller: Caller) -> Tenant:
    """The tenant that the caller acts in."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        found = await tx.tenant(tenant_id)
    if found is None:
        raise NotFound("There is no tenant of this name.")
    return found


async def usage(platform: Platform, caller: Caller) -> dict[Quota, Used]:
    """The quotas of the tenant that the caller acts in, with what is used of them at this moment."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        quotas = quotas_of(platform, await tx.tenant(tenant_id))
        held = await tx.holdings()
        await know_the_day(platform, tx, tenant_id)
    tally = platform.tallies.at(tenant_id, platform.clock())
    in_minute, in_day, running = tally.in_minute, tally.in_day + (tally.before or 0), tally.running
    if platform.places is not None and quotas.of_executions:
        shared = await platform.places.used(tenant_id, platform.clock())
        if shared is not None:
            in_minute, running = max(in_minute, shared.in_minute), max(running, shared.running)
            in_day = max(in_day, shared.in_day or 0)
    used = {
        Quota.PLUGINS: held.plugins,
        Quota.STORAGE: held.stored_bytes,
        Quota.PER_MINUTE: in_minute,
        Quota.PER_DAY: in_day,
        Quota.CONCURRENT: running,
    }
    return {quota: Used(quotas.size(quota), count) for quota, count in used.items()}


async def set_policy(
    platform: Platform,
    caller: Caller,
    auto_grant: Iterable[Service] | None = None,
    *,
    signature: SignatureDemand | None = None,
    verified_publisher: bool | None = None,
) -> Tenant:
    """Decide what is granted without asking an admin each time, and what packages have to have; ``None`` changes none.

    Raises ``InvalidInput`` for what the operator bars.
    """
    require(caller, Action.MANAGE_KEYS)
    tenant_id = tenant_of(caller)
    async with platform.store.for_operator() as tx:
        found = await tx.tenant_locked(tenant_id)
        before = found.policy if found is not None else TenantPolicy()
        policy = TenantPolicy(
            before.auto_grant if auto_grant is None else frozenset(auto_grant),
            Demands(
                _or(signature, before.demands.signature), _or(verified_publisher, before.demands.verified_publisher)
            ),
        )
        if found is not None and auto_grant is not None:
            allowed = found.bounds.auto_grantable & found.bounds.grantable
            barred = sorted(service.value for service in policy.auto_grant - allowed)
            if barred:
                raise InvalidInput(
                    "The operator does not let this tenant grant these without an admin's consent.",
                    [FieldError("/autoGrant", word) for word in barred],
                )
        await tx.save_policy(tenant_id, policy, platform.clock())
        await record_tenant_change(platform, tx, caller, "tenant.policy_changed", tenant_id, policy.to_document())
    return await own_tenant(platform, caller)


async def change_tenant(platform: Platform, caller: Caller, tenant_id: str, changes: Changes) -> Tenant:
    """Decide for a tenant what its admins cannot: modules, ceilings, services and quotas. Raises ``NotFound``.

    Executions that begin from now on keep to it, those of plugins that were installed before as well.
    """
    require(caller, Action.MANAGE_TENANTS)
    now = platform.clock()
    async with platform.store.for_operator() as tx:
        before = _found(await tx.tenant_locked(tenant_id))
        if changes.modules_denied is not None:
            denied = tuple(sorted(set(changes.modules_denied)))
            await tx.deny_modules(tenant_id, denied, now)
            detail = {"modulesDenied": list(denied)}
            await record_tenant_change(platform, tx, caller, "tenant.modules_denied", tenant_id, detail)
        quotas = {**before.bounds.quotas, **(changes.quotas or {})}
        bounds = replace(
            before.bounds,
            ceilings=_or(changes.ceilings, before.bounds.ceilings),
            grantable=_or(changes.grantable, before.bounds.grantable),
            auto_grantable=_or(changes.auto_grantable, before.bounds.auto_grantable),
            quotas={quota: size for quota, size in quotas.items() if quota not in changes.reset},
        )
        if bounds != before.bounds:
            await tx.save_bounds(tenant_id, bounds, now)
            await record_tenant_change(platform, tx, caller, "tenant.bounded", tenant_id, bounds.to_document())
        after = _found(await tx.tenant(tenant_id))
    forget_tenant(platform, tenant_id)
    return after


async def deny_modules(platform: Platform, caller: Caller, tenant_id: str, names: Iterable[str]) -> Tenant:
    """Decide which modules no plugin of a tenant may import, whoever wrote it. Raises ``NotFound``."""
    return await change_tenant(platform, caller, tenant_id, Changes(modules_denied=names))


async def suspend(
    platform: Platform, caller: Caller, tenant_id: str, reason: str, *, let_finish: bool = False
) -> Tenant:
    """Stop a tenant: its keys are refused, nothing of it executes, its listings are hidden from others.

    What runs at this moment, in whichever replica, is cancelled, or with ``let_finish`` runs to its end. Again, to
    change the reason. Raises ``NotFound``, and ``Conflict`` for a tenant that is being deleted.
    """
    require(caller, Action.MANAGE_TENANTS)
    detail = {"reason": reason, "running": "finish" if let_finish else "cancel"}
    suspended = await _stand(
        platform, caller, tenant_id, TenantState.SUSPENDED, reason, "tenant.suspended", detail, ends=not let_finish
    )
    halt(platform, tenant_id, reason)
    if not let_finish:
        cancel_running(platform, tenant_id)
    platform.in_background(_end_environments(platform, tenant_id))
    return suspended


async def resume(platform: Platform, caller: Caller, tenant_id: str) -> Tenant:
    """Let a suspended tenant go on. Raises ``NotFound``, and ``Conflict`` where it is not suspended."""
    require(caller, Action.MANAGE_TENANTS)
    resumed = await _stand(platform, caller, tenant_id, TenantState.ACTIVE, None, "tenant.resumed", {})
    platform.halted.pop(tenant_id, None)
    forget_tenant(platform, tenant_id)
    return resumed


async def _stand(
    platform: Platform,
    caller: Caller,
    tenant_id: str,
    state: TenantState,
    reason: str | None,
    action: str,
    detail: dict[str, Any],
    *,
    ends: bool = False,
) -> Tenant:
    async with platform.store.for_operator() as tx:
        before = _found(await tx.tenant_locked(tenant_id))
        if before.state is TenantState.DELETING:
            raise Conflict("The tenant is being deleted.")
        if state is TenantState.ACTIVE and before.state is not TenantState.SUSPENDED:
            raise Conflict("The tenant is not suspended.")
        await tx.save_state(tenant_id, state, reason, platform.clock())
        await record_tenant_change(platform, tx, caller, action, tenant_id, detail)
        if ends:
            await tx.tell_of_halt(tenant_id)
        return _found(await tx.tenant(tenant_id))


async def require_active(platform: Platform, caller: Caller) -> None:
    """Raise ``TenantSuspended`` for a caller whose tenant may not act now, ``Unauthenticated`` where there is none.

    An operator sees a suspended tenant too.
    """
    tenant_id = caller.tenant_id
    if tenant_id is None or caller.role is Role.OPERATOR:
        return
    now = platform.clock()
    halted = platform.halted.get(tenant_id)
    if halted is not None and halted[0] and now < halted[1]:
        raise TenantSuspended(halted[0])
    until = now + timedelta(seconds=platform.policies.key_cache_s)
    read = partial(_read_tenant, platform, tenant_id)
    found: Tenant | None = await platform.copies.get(("standing", tenant_id), now, until, read)
    if found is None:
        # The tenant is gone, and what was cached of its keys has not aged out yet.
        raise Unauthenticated("The credentials are of a tenant that is not there.")
    if found.state is not TenantState.ACTIVE:
        raise TenantSuspended(found.suspended_because)


async def _read_tenant(platform: Platform, tenant_id: str) -> Tenant | None:
    async with platform.store.for_tenant(tenant_id) as tx:
        return await tx.tenant(tenant_id)


def halt(platform: Platform, tenant_id: str, reason: str) -> None:
    """Refuse a tenant in this process from now on, whatever is cached or being read; the store decides later on.

    Where another replica said so, the reason is empty here, and stands in the store.
    """
    platform.halted[tenant_id] = reason, platform.clock() + _HALTED_FOR
    forget_tenant(platform, tenant_id)


def forget_tenant(platform: Platform, tenant_id: str) -> None:
    """What is cached of a tenant is read anew: within this process at once, in others when their copy ages out."""
    platform.copies.forget(lambda name: name[0] in ("plugin", "listeners", "standing") and name[1] == tenant_id)


def cancel_running(platform: Platform, tenant_id: str) -> None:
    """Cancel what executes for a tenant, or waits to; each is recorded so, and its caller told."""
    for execution in list(platform.running.values()):
        if execution.tenant_id == tenant_id:
            platform.executor.cancel(execution.id)


async def _end_environments(platform: Platform, tenant_id: str) -> None:
    async with platform.store.for_tenant(tenant_id) as tx:
        views = await tx.installed_plugins()
    for view in views:
        await platform.executor.forget(view.plugin.id)


def _found(found: Tenant | None) -> Tenant:
    if found is None:
        raise NotFound("There is no tenant of this id.")
    return found


def _or(changed: Any, before: Any) -> Any:
    return before if changed is None else changed


async def ensure_key(platform: Platform, secret: str, *, name: str, role: Role, tenant_id: str | None) -> None:
    """Make the key with this secret known, unless it is; the embedded service does this for the keys that it prints."""
    hashed = hash_of(platform, secret)
    if await platform.store.key_by_hash(hashed) is not None:
        return
    key = ApiKey(platform.ids(), tenant_id, name, role, platform.clock())
    # A replica that starts at the same moment may be quicker.
    with contextlib.suppress(Conflict):
        async with platform.store.for_operator() as tx:
            await tx.add_key(key, hashed)
            service = Caller(_STARTED, Role.OPERATOR, tenant_id)
            await record_tenant_change(platform, tx, service, "key.created", key.id, {"name": name, "role": role.value})


async def ensure_tenant(platform: Platform, slug: str, name: str) -> Tenant:
    """The tenant of this slug, made where there is none yet; replicas that start at once make one."""
    try:
        return await _tenant_made(platform, slug, name)
    except NameTaken:
        return await _tenant_made(platform, slug, name)


async def _tenant_made(platform: Platform, slug: str, name: str) -> Tenant:
    async with platform.store.for_operator() as tx:
        found = await tx.tenant_by_slug(slug)
        if found is None:
            found = Tenant(platform.ids(), slug, name, platform.clock())
            await tx.add_tenant(found)
            service = Caller(_STARTED, Role.OPERATOR, None)
            await record_tenant_change(platform, tx, service, "tenant.created", found.id, {"slug": slug})
    return found
