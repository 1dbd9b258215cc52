"""Versions that the gate found suspicious wait here until an operator, with a reason, releases or refuses them.

``upload.py`` calls ``quarantine_in``; ``http/quarantine.py`` the rest.
"""

from dataclasses import dataclass, replace

from plugyard.application.platform import Platform, plugin_of, record_change, require
from plugyard.application.ports import Page, PageRequest, Transaction
from plugyard.domain.errors import NotFound
from plugyard.domain.events import EventType
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion
from plugyard.domain.standing import Standing, StandingState


@dataclass(frozen=True, slots=True)
class Suspect:
    """A version in quarantine, with all that an operator needs to decide."""

    standing: Standing
    version: PluginVersion


async def quarantine_in(
    platform: Platform, tx: Transaction, caller: Caller, plugin: Plugin, version: PluginVersion
) -> Standing:
    """Put a version that was just written into quarantine, in the same transaction."""
    standing = Standing(
        version.id,
        version.tenant_id,
        plugin.id,
        plugin.name,
        version.number,
        version.digest,
        StandingState.QUARANTINED,
        platform.clock(),
    )
    await tx.save_standing(standing)
    rules = sorted({one.rule for one in version.report.findings if one.consequence.value == "quarantine"})
    data = {"version": version.number, "digest": version.digest, "rules": rules}
    await record_change(platform, tx, caller, EventType.VERSION_QUARANTINED, plugin, data)
    return standing


async def suspects(platform: Platform, caller: Caller, state: StandingState, page: PageRequest) -> Page[Standing]:
    """The quarantine of all tenants, the longest waiting first."""
    require(caller, Action.REVIEW)
    async with platform.store.for_operator() as tx:
        return await tx.list_standings(state, page)


async def suspect(platform: Platform, caller: Caller, version_id: str) -> Suspect:
    """One version of the quarantine; raises ``NotFound``."""
    require(caller, Action.REVIEW)
    standing = await _standing(platform, version_id)
    async with platform.store.for_tenant(standing.tenant_id) as tx:
        version = await tx.version(version_id)
    if version is None:
        raise NotFound("There is no version of this id in the quarantine.")
    return Suspect(standing, version)


async def package(platform: Platform, caller: Caller, version_id: str) -> tuple[Standing, bytes]:
    """The bytes of a version in the quarantine, for a look at them."""
    from plugyard.application.upload import package_key

    require(caller, Action.REVIEW)
    standing = await _standing(platform, version_id)
    return standing, await platform.objects.get(package_key(standing.digest))


async def release(platform: Platform, caller: Caller, version_id: str, reason: str) -> Standing:
    """Let the version be used. A plugin that waited for it goes on as one that the gate let pass."""
    return await _decide(platform, caller, version_id, StandingState.RELEASED, reason)


async def refuse(platform: Platform, caller: Caller, version_id: str, reason: str) -> Standing:
    """Never let the version be used; a plugin that has no other is rejected, until a good version is uploaded."""
    return await _decide(platform, caller, version_id, StandingState.REFUSED, reason)


async def _decide(platform: Platform, caller: Caller, version_id: str, state: StandingState, reason: str) -> Standing:
    require(caller, Action.REVIEW)
    tenant_id = (await _standing(platform, version_id)).tenant_id
    # What an operator decides is a change of the tenant's, and stands in its trail.
    acting = replace(caller, tenant_id=tenant_id)
    async with platform.store.for_tenant(tenant_id) as tx:
        version = await tx.version(version_id)
        if version is None:
            raise NotFound("There is no version of this id in the quarantine.")
        view = await plugin_of(tx, version.plugin_id, lock=True)
        standing = (await tx.standings([version_id]))[version_id].decided(state, caller.actor, reason, platform.clock())
        await tx.save_standing(standing)
        released = state is StandingState.RELEASED
        type_ = EventType.VERSION_RELEASED if released else EventType.VERSION_REFUSED
        what = {"version": version.number, "digest": version.digest}
        data = {**what, "reason": reason}
        await record_change(platform, tx, acting, type_, view.plugin, data)
        plugin = view.plugin
        if (
            plugin.version_id == version_id
            and released
            and plugin.state
            in (
                PluginState.QUARANTINED,
                PluginState.REJECTED,
            )
        ):
            plugin, happened = plugin.validated(platform.clock())
            await tx.save_plugin(plugin)
            await record_change(platform, tx, acting, happened, plugin, what)
        elif plugin.version_id == version_id and not released and plugin.state is PluginState.QUARANTINED:
            plugin, happened = plugin.rejected(platform.clock())
            await tx.save_plugin(plugin)
            await record_change(platform, tx, acting, happened, plugin, what)
    return standing


async def _standing(platform: Platform, version_id: str) -> Standing:
    async with platform.store.for_operator() as tx:
        standing = await tx.standing(version_id)
    if standing is None:
        raise NotFound("There is no version of this id in the quarantine.")
    return standing
