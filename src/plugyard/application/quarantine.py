"""Versions that the gate found suspicious wait here until an operator, with a reason, releases or refuses them.

``upload.py`` calls ``quarantine_in``; ``http/quarantine.py`` the rest.
"""

import contextlib
from dataclasses import dataclass, replace
from functools import partial

from plugyard.application.install import forget_cached
from plugyard.application.later import now_or_later
from plugyard.application.marketplace import withdraw_in
from plugyard.application.platform import Platform, plugin_of, record_change, require
from plugyard.application.ports import Page, PageRequest, StandingFilter, Transaction
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


async def suspects(platform: Platform, caller: Caller, filters: StandingFilter, page: PageRequest) -> Page[Standing]:
    """The quarantine of all tenants, the longest waiting first."""
    require(caller, Action.REVIEW)
    async with platform.store.for_operator() as tx:
        return await tx.list_standings(filters, page)


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
    """Never let the version be used, whoever has the same bytes.

    A plugin that has no other is rejected, until a good version is uploaded; one that is active with it is suspended,
    and a listing that offers it is withdrawn.
    """
    return await _decide(platform, caller, version_id, StandingState.REFUSED, reason)


async def _decide(platform: Platform, caller: Caller, version_id: str, state: StandingState, reason: str) -> Standing:
    require(caller, Action.REVIEW)
    standing = await _standing(platform, version_id)
    decided = standing.decided(state, caller.actor, reason, platform.clock())
    told = {version_id}
    await _tell_holders(platform, caller, decided, told)
    # After the others, so that what breaks off on the way can be said again.
    await _write_word(platform, caller, decided, standing.plugin_id)
    # By now no listing offers it, and whoever installed it since the first look has it.
    await now_or_later(platform, partial(_tell_holders, platform, caller, decided, told))
    return decided


async def _tell_holders(platform: Platform, caller: Caller, decided: Standing, told: set[str]) -> None:
    """Write the word on the same bytes elsewhere, mostly from the marketplace, for all versions but those ``told``.

    They may be in use now, or again, by a rollback or a consent that waits.
    """
    async with platform.store.for_operator() as tx:
        everywhere = await tx.holders(decided.digest)
    for tenant_id, plugin_id, held_id in everywhere:
        if held_id not in told:
            word = replace(decided, version_id=held_id, tenant_id=tenant_id, plugin_id=plugin_id)
            with contextlib.suppress(NotFound):  # It was erased meanwhile.
                await _write_word(platform, caller, word, plugin_id)
            told.add(held_id)


async def _write_word(platform: Platform, caller: Caller, word: Standing, plugin_id: str) -> None:
    """Write an operator's word on one version of a plugin, and do what it means for the plugin."""
    # What an operator decides is a change of the tenant's, and stands in its trail.
    acting = replace(caller, tenant_id=word.tenant_id)
    async with platform.store.for_tenant(word.tenant_id) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        version = await tx.version(word.version_id)
        if version is None or version.digest != word.digest:
            return
        held = (await tx.standings([version.id])).get(version.id)
        if held is None and word.state is StandingState.RELEASED:
            return  # nobody kept it from being used
        since = held.since if held is not None else platform.clock()
        await tx.save_standing(replace(word, version_id=version.id, since=since))
        released = word.state is StandingState.RELEASED
        type_ = EventType.VERSION_RELEASED if released else EventType.VERSION_REFUSED
        what = {"version": version.number, "digest": version.digest}
        await record_change(platform, tx, acting, type_, view.plugin, {**what, "reason": word.reason})
        if view.plugin.version_id == version.id:
            await _move(platform, tx, acting, view.plugin, word, what)
        listing = None if released else await tx.listing_of(plugin_id)
        if listing is not None:
            # Whoever is taking it over at this moment has it first, and is told then.
            await tx.hold_listing(listing.id, alone=True)
            if listing.version_id == version.id:
                await withdraw_in(platform, tx, acting, view)
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)


async def _move(
    platform: Platform, tx: Transaction, acting: Caller, plugin: Plugin, word: Standing, what: dict[str, str]
) -> None:
    """What the word means for a plugin that points at the version."""
    now = platform.clock()
    if word.state is StandingState.RELEASED:
        if plugin.state not in (PluginState.QUARANTINED, PluginState.REJECTED):
            return
        moved, happened = plugin.validated(now)
        facts: dict[str, str] = what
    elif plugin.state is PluginState.QUARANTINED:
        moved, happened = plugin.rejected(now)
        facts = what
    elif plugin.state is PluginState.ACTIVE:
        because = f"an operator refused version {what['version']}: {word.reason}"
        moved, happened = plugin.suspended(because, now)
        facts = {"because": because}
    else:
        return
    await tx.save_plugin(moved)
    await record_change(platform, tx, acting, happened, moved, facts)


async def _standing(platform: Platform, version_id: str) -> Standing:
    async with platform.store.for_operator() as tx:
        standing = await tx.standing(version_id)
    if standing is None:
        raise NotFound("There is no version of this id in the quarantine.")
    return standing
