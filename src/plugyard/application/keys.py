"""API keys: made, shown once, known again by a keyed hash, revoked."""

import hashlib
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from plugyard.application.platform import Platform, record_tenant_change, require, tenant_of
from plugyard.application.ports import KeyRows, Page, PageRequest
from plugyard.domain.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound, Unauthenticated
from plugyard.domain.identity import Action, ApiKey, Caller, Role, allows
from plugyard.domain.scopes import Scope, within

PREFIX = "plugyard_"
SECRET_BYTES = 32
_NOT_USABLE = "The API key is not known, has expired or was revoked."
_TOUCH_EVERY = timedelta(seconds=60)


def new_secret() -> str:
    """A key with 256 random bits. The prefix lets secret scanners know it where it does not belong."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def hash_of(platform: Platform, secret: str) -> bytes:
    """What is stored of a key: BLAKE2b keyed with the service's pepper, 32 bytes.

    The key is random and long, so a slow password hash would cost every request and protect nothing.
    """
    return hashlib.blake2b(secret.encode(), key=platform.pepper, digest_size=32).digest()


async def authenticate(platform: Platform, secret: str, *, request_id: str, wanted_tenant: str | None = None) -> Caller:
    """Who holds this key; raises ``Unauthenticated``. An operator names the tenant to act in, by id or slug."""
    now = platform.clock()
    key = await _known(platform, secret, now)
    if key is None:
        raise Unauthenticated(_NOT_USABLE)
    if not key.usable_at(now):
        why = "expired" if key.revoked_at is None else "revoked"
        raise Unauthenticated(_NOT_USABLE, actor=f"key:{key.id}", tenant_id=key.tenant_id, reason=why)
    if key.last_used_at is None or now - key.last_used_at > _TOUCH_EVERY:
        until = now + timedelta(seconds=platform.policies.key_cache_s)
        platform.copies.put(("key", hash_of(platform, secret)), replace(key, last_used_at=now), until)
        platform.in_background(platform.store.touch_keys({key.id: now}))
    tenant_id = key.tenant_id
    if tenant_id is None and wanted_tenant is not None:
        tenant_id = await _tenant_named(platform, wanted_tenant)
    elif (
        wanted_tenant is not None
        and wanted_tenant != tenant_id
        and await _tenant_named(platform, wanted_tenant) != tenant_id
    ):
        raise NotFound("There is no tenant of this name.")
    return Caller(f"key:{key.id}", key.role, tenant_id, request_id, key.scopes)


async def _known(platform: Platform, secret: str, now: datetime) -> ApiKey | None:
    if not secret.startswith(PREFIX) or len(secret) > 200:
        return None
    name = ("key", hash_of(platform, secret))
    until = now + timedelta(seconds=platform.policies.key_cache_s)
    found: ApiKey | None = await platform.copies.get(name, now, until, partial(_read_key, platform, name))
    return found


async def _read_key(platform: Platform, name: tuple[str, bytes]) -> ApiKey | None:
    key = await platform.store.key_by_hash(name[1])
    before: ApiKey | None = platform.copies.last(name)
    if key is not None and before is not None and before.last_used_at is not None:
        # What was noted since may be on its way to the store.
        key = replace(key, last_used_at=before.last_used_at)
    return key


async def _tenant_named(platform: Platform, name: str) -> str:
    async with platform.store.for_operator() as tx:
        tenant = await tx.tenant_by_slug(name) or await tx.tenant(name)
    if tenant is None:
        raise NotFound("There is no tenant of this name.")
    return tenant.id


async def create_key(
    platform: Platform,
    caller: Caller,
    name: str,
    role: Role,
    expires_at: datetime | None,
    scopes: tuple[Scope, ...] = (),
) -> tuple[ApiKey, str]:
    """A new key of the tenant, and its secret, which is never shown again. It may do no more than its maker."""
    require(caller, Action.MANAGE_KEYS)
    tenant_id = tenant_of(caller)
    if role is Role.OPERATOR:
        raise Forbidden("An operator key belongs to no tenant; an operator makes it by POST /api/v1/operator-keys.")
    if expires_at is not None and (expires_at.tzinfo is None or expires_at <= platform.clock()):
        fault = FieldError("/expiresAt", "a time to come, with its offset from UTC")
        raise InvalidInput("The key would have expired already.", [fault])
    if not within(scopes, caller.scopes):
        raise Forbidden("A key makes no key that may do more than itself; name scopes within its own.")
    check_scopes(role, scopes)
    key = ApiKey(platform.ids(), tenant_id, name, role, platform.clock(), expires_at, scopes=scopes)
    async with platform.store.for_tenant(tenant_id) as tx:
        return key, await add_in(platform, tx, caller, key)


async def add_in(platform: Platform, tx: KeyRows, caller: Caller, key: ApiKey) -> str:
    """Add a new key within a transaction that is open; its secret."""
    await _check_end(tx, caller, key.expires_at)
    secret = new_secret()
    await tx.add_key(key, hash_of(platform, secret))
    detail = {"name": key.name, "role": key.role.value, "scopes": [one.to_document() for one in key.scopes]}
    await record_tenant_change(platform, tx, caller, "key.created", key.id, detail)
    return secret


async def _check_end(tx: KeyRows, caller: Caller, expires_at: datetime | None) -> None:
    kind, _, key_id = caller.actor.partition(":")
    if kind != "key":
        return
    own = await tx.key(key_id)
    if own is not None and own.expires_at is not None and (expires_at is None or expires_at > own.expires_at):
        raise Forbidden(
            f"A key makes no key that lives longer than itself; this one ends {own.expires_at.isoformat()}."
        )


def check_scopes(role: Role, scopes: tuple[Scope, ...]) -> None:
    """Raise ``InvalidInput`` for scopes beyond the role, or that name functions of no plugin."""
    faults = []
    for place, one in enumerate(scopes):
        beyond = sorted(action for action in one.actions if not allows(role, Action(action)))
        if beyond:
            faults.append(FieldError(f"/scopes/{place}/actions", f"the role {role.value} may not: {', '.join(beyond)}"))
        if one.functions and one.plugin is None:
            faults.append(FieldError(f"/scopes/{place}/functions", "functions are those of a plugin: name it, too"))
    if faults:
        raise InvalidInput("The scopes do not fit the key.", faults)


async def rotate_key(platform: Platform, caller: Caller, key_id: str, overlap: timedelta) -> tuple[ApiKey, str]:
    """A new key in the place of one, with the same name, role, scopes and end; the old works until the overlap ends.

    Raises ``Conflict`` for a key that is revoked, has expired, or was rotated before.
    """
    require(caller, Action.MANAGE_KEYS)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        rotated = await rotate_in(platform, tx, caller, key_id, overlap)
    forget_keys(platform)
    return rotated


async def rotate_in(
    platform: Platform, tx: KeyRows, caller: Caller, key_id: str, overlap: timedelta
) -> tuple[ApiKey, str]:
    """Rotate within a transaction that is open."""
    now = platform.clock()
    old = _found(await tx.key(key_id))
    if not old.usable_at(now):
        raise Conflict("The key is revoked or has expired; make a new one.")
    if not within(old.scopes, caller.scopes):
        raise Forbidden("A key rotates no key that may do more than itself.")
    if caller.actor != f"key:{old.id}":
        # The new one lives as long as the old, and who rotates it gets its secret.
        await _check_end(tx, caller, old.expires_at)
    ends = min(now + overlap, old.expires_at or now + overlap)
    key = replace(old, id=platform.ids(), created_at=now, last_used_at=None, succeeds=old.id)
    secret = new_secret()
    # Written before the look at what succeeds it: of two rotations at once, the second waits here for the first.
    await tx.save_key(replace(old, expires_at=ends))
    held = await tx.key(old.id)
    if held is None or held.revoked_at is not None:
        raise Conflict("The key was revoked meanwhile; make a new one.")
    successor = await tx.successor_of(old.id)
    if successor is not None:
        raise Conflict(f"The key was rotated already; rotate the one that took its place, {successor.id}.")
    await tx.add_key(key, hash_of(platform, secret))
    detail = {"name": key.name, "succeeds": old.id, "overlapS": int(overlap.total_seconds())}
    await record_tenant_change(platform, tx, caller, "key.rotated", key.id, detail)
    return key, secret


async def key_of(platform: Platform, caller: Caller, key_id: str) -> ApiKey:
    """One key of the tenant, without its secret."""
    require(caller, Action.MANAGE_KEYS)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return _found(await tx.key(key_id))


def _found(key: ApiKey | None) -> ApiKey:
    if key is None:
        raise NotFound("There is no key of this id.")
    return key


def forget_keys(platform: Platform) -> None:
    """The next request reads its key anew."""
    platform.copies.forget(lambda name: name[0] == "key")


async def revoke_key(platform: Platform, caller: Caller, key_id: str) -> ApiKey:
    """End a key; within this process at once, in others when their copy ages out. A revoked key stays listed."""
    require(caller, Action.MANAGE_KEYS)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        key = await revoke_in(platform, tx, caller, key_id)
    forget_keys(platform)
    return key


async def revoke_in(platform: Platform, tx: KeyRows, caller: Caller, key_id: str) -> ApiKey:
    """Revoke within a transaction that is open."""
    key = _found(await tx.key(key_id))
    if not within(key.scopes, caller.scopes):
        raise Forbidden("A narrowed key revokes no key that may do more than itself.")
    if key.revoked_at is None:
        key = replace(key, revoked_at=platform.clock())
        await tx.save_key(key)
        await record_tenant_change(platform, tx, caller, "key.revoked", key.id, {"name": key.name})
    return key


async def keys(platform: Platform, caller: Caller, page: PageRequest) -> Page[ApiKey]:
    """The tenant's keys, newest first, without their secrets."""
    require(caller, Action.MANAGE_KEYS)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.list_keys(page)
