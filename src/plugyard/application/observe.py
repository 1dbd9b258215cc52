"""Step six: logs, metrics and health, folded from executions; a plugin that keeps failing is suspended."""

from dataclasses import replace
from datetime import datetime, timedelta

from plugyard.application.install import forget_cached
from plugyard.application.platform import Platform, event, plugin_of, record_change, require, tenant_of
from plugyard.application.ports import LogFilter, LogStep, Metrics, Page, PageRequest, StoredLogLine
from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.domain.events import EventType
from plugyard.domain.health import Health, judge, reason_to_suspend
from plugyard.domain.identity import Action, Caller, Role
from plugyard.domain.plugin import PluginState

LONGEST = timedelta(days=7)
"""The longest window of metrics; what lies further back, ``analytics`` tells by the hour and the day."""


async def logs(
    platform: Platform, caller: Caller, plugin_id: str, filters: LogFilter, page: PageRequest
) -> Page[StoredLogLine]:
    """What the plugin logged, newest first."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.long_reads.one(tenant_id), platform.store.for_tenant(tenant_id) as tx:
        await plugin_of(tx, plugin_id)
        return await tx.list_logs(plugin_id, filters, page)


async def logs_after(
    platform: Platform, caller: Caller, plugin_id: str, filters: LogFilter, after_id: str | None
) -> LogStep:
    """What came behind a line, oldest first: one step of following."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.long_reads.one(tenant_id), platform.store.for_tenant(tenant_id) as tx:
        await plugin_of(tx, plugin_id)
        return await tx.logs_after(plugin_id, filters, after_id)


async def metrics(
    platform: Platform, caller: Caller, plugin_id: str, since: datetime | None, until: datetime | None
) -> tuple[Metrics, Health]:
    """Aggregates over a window (the last day by default), and the plugin's health now.

    Every execution of the window is read for it. Raises ``InvalidInput`` where it is longer than `LONGEST`.
    """
    require(caller, Action.READ)
    tenant_id, now = tenant_of(caller), platform.clock()
    end = until or now
    try:
        begin = since or end - timedelta(days=1)
    except OverflowError:
        raise InvalidInput(errors=[FieldError("query/until", "must be a time of this age")]) from None
    if end - begin > LONGEST:
        raise InvalidInput(errors=[FieldError("query/since", f"must be at most {LONGEST.days} days before until")])
    async with platform.long_reads.one(tenant_id), platform.store.for_tenant(tenant_id) as tx:
        await plugin_of(tx, plugin_id)
        window = timedelta(seconds=platform.policies.health_window_s)
        health = judge(await tx.outcomes(plugin_id, now - window), now)
        return await tx.metrics(plugin_id, begin, end), health


async def check_health(platform: Platform, tenant_id: str, plugin_id: str) -> None:
    """Judge an active plugin and write the judgement down; the service does this for each that ran lately."""
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await tx.plugin(plugin_id, lock=True)
        if view is None or view.plugin.state is not PluginState.ACTIVE:
            return
        now = platform.clock()
        window = timedelta(seconds=platform.policies.health_window_s)
        plugin = view.plugin.with_health(judge(await tx.outcomes(plugin_id, now - window), now))
        await tx.save_plugin(plugin)
        listing = await tx.listing_of(plugin_id)
        if listing is not None and listing.health_score != plugin.health.score:
            # The featured rule counts the publisher's own health, so the listing follows it.
            await tx.save_listing(replace(listing, health_score=plugin.health.score))
        facts = {"status": plugin.health.status.value, "score": plugin.health.score}
        await tx.emit(event(platform, EventType.PLUGIN_HEALTH_CHECKED, plugin, facts))


async def check_all_health(platform: Platform, *, ran_since: datetime, limit: int = 500) -> int:
    """Check every active plugin that ran since then; how many there were."""
    async with platform.store.for_operator() as tx:
        due = await tx.plugins_to_check(ran_since, limit)
    for tenant_id, plugin_id in due:
        await check_health(platform, tenant_id, plugin_id)
    return len(due)


def watch(platform: Platform, tenant_id: str, plugin_id: str) -> None:
    """See in the background whether a plugin that has just failed is to be suspended.

    A plugin has at most one check at a time, so that one that fails at a high rate takes no connection from the others;
    what failed while a check ran is looked at by one more.
    """
    if plugin_id in platform.watched:
        platform.watched[plugin_id] = True
        return
    platform.watched[plugin_id] = False
    platform.in_background(_check_until_quiet(platform, tenant_id, plugin_id))


async def _check_until_quiet(platform: Platform, tenant_id: str, plugin_id: str) -> None:
    try:
        await suspend_if_failing(platform, tenant_id, plugin_id)
        while platform.watched[plugin_id]:
            platform.watched[plugin_id] = False
            await suspend_if_failing(platform, tenant_id, plugin_id)
    finally:
        del platform.watched[plugin_id]


async def suspend_if_failing(platform: Platform, tenant_id: str, plugin_id: str) -> None:
    """Suspend the plugin when the rule says so. Counted since its last activation, so that a second chance is one."""
    rule = platform.policies.suspension
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await tx.plugin(plugin_id, lock=True)
        if view is None or view.plugin.state is not PluginState.ACTIVE:
            return
        now = platform.clock()
        since = max(now - timedelta(seconds=rule.window_s), view.plugin.activated_at or view.plugin.created_at)
        because = reason_to_suspend(await tx.outcomes(plugin_id, since), rule)
        if because is None:
            return
        plugin, happened = view.plugin.suspended(because, now)
        await tx.save_plugin(plugin)
        service = Caller("service:health", Role.OPERATOR, tenant_id)
        await record_change(platform, tx, service, happened, plugin, {"because": because})
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)
