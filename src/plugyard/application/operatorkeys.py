"""Operators' own keys, which belong to no tenant: made, rotated and revoked as tenants' keys are.

There is always one that works: whoever revoked the last would be locked out of every tenant at once.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from plugyard.application.keys import add_in, check_scopes, forget_keys, revoke_in, rotate_in
from plugyard.application.platform import Platform, require
from plugyard.application.ports import KeyRows, Page, PageRequest
from plugyard.domain.errors import Conflict, FieldError, Forbidden, InvalidInput
from plugyard.domain.identity import Action, ApiKey, Caller, Role
from plugyard.domain.scopes import Scope, within


async def operator_keys(platform: Platform, caller: Caller, page: PageRequest) -> Page[ApiKey]:
    """Every operator key, newest first, without the secrets."""
    require(caller, Action.MANAGE_OPERATORS)
    async with platform.store.for_operator() as tx:
        return await tx.list_keys(page)


async def create_operator_key(
    platform: Platform, caller: Caller, name: str, expires_at: datetime | None, scopes: tuple[Scope, ...] = ()
) -> tuple[ApiKey, str]:
    """A new operator key, and its secret, which is never shown again. It may do no more than its maker."""
    require(caller, Action.MANAGE_OPERATORS)
    now = platform.clock()
    if expires_at is not None and expires_at <= now:
        raise InvalidInput("The key would have expired already.", [FieldError("/expiresAt", "a time to come")])
    if not within(scopes, caller.scopes):
        raise Forbidden("A key makes no key that may do more than itself; name scopes within its own.")
    check_scopes(Role.OPERATOR, scopes)
    key = ApiKey(platform.ids(), None, name, Role.OPERATOR, now, expires_at, scopes=scopes)
    async with platform.store.for_operator() as tx:
        return key, await add_in(platform, tx, _of_the_platform(caller), key)


async def rotate_operator_key(
    platform: Platform, caller: Caller, key_id: str, overlap: timedelta
) -> tuple[ApiKey, str]:
    """A new key in the place of one; the old works until the overlap ends. Raises ``NotFound``, ``Conflict``."""
    require(caller, Action.MANAGE_OPERATORS)
    async with platform.store.for_operator() as tx:
        rotated = await rotate_in(platform, tx, _of_the_platform(caller), key_id, overlap)
    forget_keys(platform)
    return rotated


async def revoke_operator_key(platform: Platform, caller: Caller, key_id: str) -> ApiKey:
    """End a key. Raises ``NotFound``, and ``Conflict`` for the last that works without end and without scopes."""
    require(caller, Action.MANAGE_OPERATORS)
    async with platform.store.for_operator() as tx:
        revoked = await revoke_in(platform, tx, _of_the_platform(caller), key_id)
        if not await _another_works(platform, tx):
            raise Conflict("It is the last operator key that works; make or rotate one first.")
    forget_keys(platform)
    return revoked


async def _another_works(platform: Platform, tx: KeyRows) -> bool:
    now, cursor = platform.clock(), None
    while True:
        page = await tx.list_keys(PageRequest(100, cursor))
        if any(one.usable_at(now) and one.expires_at is None and not one.scopes for one in page.items):
            return True
        cursor = page.next_cursor
        if cursor is None:
            return False


def _of_the_platform(caller: Caller) -> Caller:
    # An operator may have named a tenant with the request; these keys are none of its business, nor its trail's.
    return replace(caller, tenant_id=None)
