"""What a tenant's executions add up to, for whoever watches all plugins at once."""

from datetime import datetime

from plugyard.application.platform import Platform, require, tenant_of
from plugyard.domain.analytics import Analytics, Grain, window_of
from plugyard.domain.identity import Action, Caller


async def analytics(
    platform: Platform,
    caller: Caller,
    *,
    since: datetime | None,
    until: datetime | None,
    grain: Grain | None,
    top: int,
) -> Analytics:
    """All of the tenant's executions over a window, with the ``top`` plugins that ran most; raises ``InvalidInput``."""
    require(caller, Action.READ)
    window = window_of(platform.clock(), since, until, grain)
    tenant_id = tenant_of(caller)
    async with platform.long_reads.one(tenant_id), platform.store.for_tenant(tenant_id) as tx:
        return await tx.analytics(window, top)
