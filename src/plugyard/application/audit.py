"""The audit trail as its readers want it: filtered lists, the head of the chain, and all of it as lines to verify.

A tenant's admin reads the tenant's chain. An operator reads the platform's, or that of the tenant that is named.
"""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

from plugyard.application.platform import Platform, require
from plugyard.application.ports import AuditEntry, AuditFilter, Page, PageRequest, Trail
from plugyard.domain.identity import Action, Caller
from plugyard.domain.trail import Head

LINES_AT_ONCE = 2_000


def _trail(platform: Platform, caller: Caller) -> AbstractAsyncContextManager[Trail]:
    require(caller, Action.MANAGE_KEYS)
    if caller.tenant_id is None:
        return platform.store.for_operator()
    return platform.store.for_tenant(caller.tenant_id)


async def entries(platform: Platform, caller: Caller, filters: AuditFilter, page: PageRequest) -> Page[AuditEntry]:
    """Who did what, newest first."""
    async with _trail(platform, caller) as tx:
        return await tx.list_audit(filters, page)


async def head(platform: Platform, caller: Caller) -> Head:
    """Where the chain ends now: what to write down elsewhere, so that nobody can cut the chain unseen."""
    async with _trail(platform, caller) as tx:
        return await tx.audit_head()


async def export(platform: Platform, caller: Caller, after: int = 0) -> AsyncGenerator[str, None]:
    """The chain's lines behind a place in it, and at the end those of entries that are in no chain.

    Each step is a transaction of its own, so that a reader who takes his time holds no connection. What is added
    meanwhile comes, too.
    """
    while True:
        async with _trail(platform, caller) as tx:
            lines = await tx.audit_lines(after, LINES_AT_ONCE)
            if len(lines) < LINES_AT_ONCE:
                lines = [*lines, *await tx.unchained_audit(LINES_AT_ONCE)]
        yield "".join(line.text + "\n" for line in lines)
        if len(lines) < LINES_AT_ONCE or lines[-1].sequence is None:
            return
        after = lines[-1].sequence
