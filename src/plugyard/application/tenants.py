"""Tenants: made by an operator, with a first admin key; each decides what its policy grants by itself."""

from collections.abc import Iterable

from plugyard.application.keys import hash_of, new_secret
from plugyard.application.platform import Platform, record_tenant_change, require, tenant_of
from plugyard.application.ports import Page, PageRequest
from plugyard.domain.errors import NotFound
from plugyard.domain.identity import Action, ApiKey, Caller, Role, Tenant, TenantPolicy
from plugyard.domain.permissions import Service


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


async def own_tenant(platform: Platform, caller: Caller) -> Tenant:
    """The tenant that the caller acts in."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        tenant = await tx.tenant(tenant_id)
    if tenant is None:
        raise NotFound("There is no tenant of this name.")
    return tenant


async def set_policy(platform: Platform, caller: Caller, auto_grant: Iterable[Service]) -> Tenant:
    """Decide what is granted without asking an admin each time."""
    require(caller, Action.MANAGE_KEYS)
    tenant_id, policy = tenant_of(caller), TenantPolicy(frozenset(auto_grant))
    async with platform.store.for_operator() as tx:
        await tx.save_policy(tenant_id, policy, platform.clock())
        await record_tenant_change(platform, tx, caller, "tenant.policy_changed", tenant_id, policy.to_document())
    return await own_tenant(platform, caller)


async def deny_modules(platform: Platform, caller: Caller, tenant_id: str, names: Iterable[str]) -> Tenant:
    """Decide which modules no plugin of a tenant may import, whoever wrote it. Raises ``NotFound``."""
    require(caller, Action.MANAGE_TENANTS)
    denied = tuple(sorted(set(names)))
    async with platform.store.for_operator() as tx:
        await tx.deny_modules(tenant_id, denied, platform.clock())
        detail = {"modulesDenied": list(denied)}
        await record_tenant_change(platform, tx, caller, "tenant.modules_denied", tenant_id, detail)
        tenant = await tx.tenant(tenant_id)
    if tenant is None:
        raise NotFound("There is no tenant of this id.")
    # Within this process the next execution knows; in others when their copy ages out.
    for key in [key for key in platform.cached if isinstance(key, tuple) and key[0] == tenant_id]:
        platform.cached.pop(key, None)
    return tenant


async def ensure_key(platform: Platform, secret: str, *, name: str, role: Role, tenant_id: str | None) -> None:
    """Make the key with this secret known, unless it is; the embedded service does this for the keys that it prints."""
    hashed = hash_of(platform, secret)
    if await platform.store.key_by_hash(hashed) is not None:
        return
    key = ApiKey(platform.ids(), tenant_id, name, role, platform.clock())
    async with platform.store.for_operator() as tx:
        await tx.add_key(key, hashed)


async def ensure_tenant(platform: Platform, slug: str, name: str) -> Tenant:
    """The tenant of this slug, made where there is none yet."""
    async with platform.store.for_operator() as tx:
        tenant = await tx.tenant_by_slug(slug)
        if tenant is None:
            tenant = Tenant(platform.ids(), slug, name, platform.clock())
            await tx.add_tenant(tenant)
    return tenant
