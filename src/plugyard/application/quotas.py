"""What a tenant may have so much of: counted here wherever it comes in, and answered alike wherever it is used up.

Plugins and stored bytes are rows, so they are counted in the transaction that adds one, with the tenant's row locked:
``add_plugin`` and ``add_version`` are the only ways in. Executions are counted in this process, in ``Tallies``, because
the hot path has no time to ask; the count of the day begins with what is on record. ``execute.py`` takes a place for
every execution, whoever asked for it. Where replicas share a server, a tenant that has a quota of executions needs a
place of ``Places`` as well, which all replicas count together; ``Tallies`` holds by itself while that server is away.
"""

import math
from datetime import UTC, datetime, timedelta

from plugyard.application.platform import Platform
from plugyard.application.ports import Transaction
from plugyard.domain.errors import QuotaExceeded
from plugyard.domain.identity import Tenant
from plugyard.domain.plugin import Plugin, PluginVersion
from plugyard.domain.tallies import Full
from plugyard.domain.tenants import Quota, Quotas

_NOUNS = {
    Quota.PLUGINS: "plugins",
    Quota.STORAGE: "bytes of packages",
}


def quotas_of(platform: Platform, tenant: Tenant | None) -> Quotas:
    """The quotas that hold for a tenant: the platform's, and in their place what an operator decided for it."""
    return platform.policies.quotas.with_overrides(tenant.bounds.quotas if tenant is not None else {})


async def add_plugin(platform: Platform, tx: Transaction, plugin: Plugin, version: PluginVersion) -> None:
    """Add a plugin with its first version where the quotas allow one more; raises ``QuotaExceeded``, ``NameTaken``."""
    digest, size = version.digest, version.report.packed_bytes
    await require_room(platform, tx, version.tenant_id, digest=digest, size=size, plugins=1, lock=True)
    await tx.add_plugin(plugin, version)


async def add_version(platform: Platform, tx: Transaction, version: PluginVersion) -> None:
    """Add a version where its package's bytes fit; raises ``QuotaExceeded``, ``VersionExists``."""
    digest, size = version.digest, version.report.packed_bytes
    await require_room(platform, tx, version.tenant_id, digest=digest, size=size, plugins=0, lock=True)
    await tx.add_version(version)


async def require_room(
    platform: Platform, tx: Transaction, tenant_id: str, *, digest: str, size: int, plugins: int, lock: bool = False
) -> None:
    """Raise ``QuotaExceeded`` where so many plugins and bytes more do not fit.

    Without ``lock`` it is a look beforehand, so that a package that will not fit is not stored either.
    """
    quotas = quotas_of(platform, await tx.tenant(tenant_id))
    if quotas.plugins is None and quotas.storage_bytes is None:
        return
    held = await tx.holdings(beside=digest, lock=lock)
    if plugins:
        _require(Quota.PLUGINS, quotas.plugins, held.plugins, plugins)
    _require(Quota.STORAGE, quotas.storage_bytes, held.stored_bytes, size)


def _require(quota: Quota, limit: int | None, used: int, more: int) -> None:
    if limit is not None and used + more > limit:
        noun = _NOUNS[quota]
        raise QuotaExceeded(
            f"The tenant holds {used} {noun}, this needs {more} more, and its quota is {limit}. Uninstall what is not "
            "used, or ask the operator for more.",
            quota=quota.value,
            limit=limit,
            used=used,
        )


async def know_the_day(platform: Platform, tx: Transaction, tenant_id: str) -> None:
    """Let the tally of the day begin with what is on record from before this process counted."""
    now = platform.clock()
    since = platform.tallies.uncounted_until(tenant_id, now)
    if since is not None:
        midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        platform.tallies.begin_with(tenant_id, await tx.count_executions(midnight, since), now)


def refusal(full: Full, now: datetime) -> QuotaExceeded:
    """The answer where executions are used up, with the seconds until there are some again."""
    quota, limit, used = full.quota, full.limit, full.used
    moment = now.astimezone(UTC)
    if quota is Quota.CONCURRENT:
        frees, words, when = 1.0, "executions at a time", "when one of them ends"
    elif quota is Quota.PER_MINUTE:
        frees = 60 - (moment.second + moment.microsecond / 1e6)
        words, when = "executions a minute", f"in {math.ceil(frees)} s, with the next minute"
    else:
        midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        frees = (midnight - moment).total_seconds()
        words, when = "executions a day", f"in {math.ceil(frees)} s, at midnight UTC"
    return QuotaExceeded(
        f"The tenant's quota of {limit} {words} is used up ({used}). It frees {when}.",
        quota=quota.value,
        limit=limit,
        used=used,
        retry_after_s=frees,
    )
