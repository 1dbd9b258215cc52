"""Sealed secrets as an operator sees them: which keys seal what, and sealing everything with the first key anew."""

from collections.abc import Mapping

from plugyard.application.platform import Platform, record_tenant_change, require
from plugyard.domain.identity import Action, Caller, Role
from plugyard.domain.secrets import Resealed

_BATCH = 200


async def secret_keys(platform: Platform, caller: Caller) -> Mapping[str, int]:
    """How many plugins' secrets each key seals; the key that seals now comes first."""
    require(caller, Action.MANAGE_SECRETS)
    async with platform.store.for_operator() as tx:
        return await tx.secret_keys()


async def rotate(platform: Platform, caller: Caller, after: str | None, limit: int) -> Resealed:
    """One step: seal at most ``limit`` plugins behind ``after`` with the first key.

    What is sealed with it already is not touched, so a rotation that broke off goes on where it was.
    """
    require(caller, Action.MANAGE_SECRETS)
    async with platform.store.for_operator() as tx:
        done = await tx.reseal_secrets(after, limit)
        detail = {"sealed": done.sealed, "locked": len(done.locked)}
        # The keys are the platform's, whichever tenant the operator has named.
        await record_tenant_change(platform, tx, _of_platform(caller), "secrets.rotated", done.key_id, detail)
    return done


async def seal_what_is_plain(platform: Platform) -> int:
    """Seal the rows from before there were seals; how many. The service does this when it tidies."""
    sealed, after = 0, None
    while True:
        async with platform.store.for_operator() as tx:
            if not await tx.plain_secrets():
                return sealed
            done = await tx.reseal_secrets(after, _BATCH)
            if done.sealed:
                service = Caller("service:housekeeping", Role.OPERATOR, None)
                detail = {"sealed": done.sealed, "locked": len(done.locked)}
                await record_tenant_change(platform, tx, service, "secrets.rotated", done.key_id, detail)
        sealed, after = sealed + done.sealed, done.next
        if after is None:
            return sealed


def _of_platform(caller: Caller) -> Caller:
    return Caller(caller.actor, caller.role, None, caller.request_id)
