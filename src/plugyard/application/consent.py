"""An admin's answer to a version that asks for more, and how every request of a plugin stands.

``upgrade.py`` and ``upload.py`` leave what waits; ``http/consent.py`` calls what is here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from plugyard.application.install import forget_cached, policy_of
from plugyard.application.marketplace import adopt_version
from plugyard.application.platform import Platform, plugin_of, record_change, require, tenant_of
from plugyard.application.ports import Transaction
from plugyard.application.upgrade import point_at
from plugyard.application.waiting import IN_USE, Available, available, beyond_grant
from plugyard.domain.consent import Ask, WaitingUpgrade, asks
from plugyard.domain.errors import Conflict
from plugyard.domain.identity import Action, Caller
from plugyard.domain.marketplace import Listing
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginVersion, PluginView, Transition


@dataclass(frozen=True, slots=True)
class Standing:
    """How the requests of the version in use stand, what waits, and the version that could take its place."""

    asks: tuple[Ask, ...]
    waiting: WaitingUpgrade | None
    available: Available | None


async def standing(platform: Platform, caller: Caller, view: PluginView) -> Standing:
    """What an admin has to know beside the plugin itself."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        automatic, grantable = await _allowed(tx, view.plugin.tenant_id)
        asked, installed = view.version.manifest.permissions, view.plugin.installed_at is not None
        found = asks(asked, view.plugin.grants, automatic, grantable, installed=installed)
        waiting = view.plugin.waiting
        version = await tx.version(waiting.version_id) if waiting is not None else None
        if waiting is not None and version is not None:
            # The grant or the policy may have changed since somebody asked.
            waiting = replace(waiting, asks=await beyond_grant(tx, view, version))
        return Standing(found, waiting, await available(platform, tx, view))


async def asks_of_listings(
    platform: Platform, caller: Caller, listings: Sequence[Listing]
) -> tuple[tuple[Ask, ...], ...]:
    """What installing each listing would ask of the caller's tenant."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        automatic, grantable = await _allowed(tx, tenant_id)
    return tuple(asks(one.manifest.permissions, (), automatic, grantable, installed=False) for one in listings)


async def _allowed(tx: Transaction, tenant_id: str) -> tuple[frozenset[Service], frozenset[Service]]:
    """What the tenant's plugins get by its policy, and what the operator lets them have at all."""
    tenant = await tx.tenant(tenant_id)
    every = frozenset(Service)
    return (await policy_of(tx, tenant_id)).auto_grant, tenant.bounds.grantable if tenant is not None else every


async def consent(
    platform: Platform, caller: Caller, plugin_id: str, number: str, grants: Sequence[Permission] | None
) -> PluginView:
    """Consent to the version that was shown, with these grants or with ``None`` to all that it asks beyond the grant.

    Raises ``Conflict`` where another version waits by now.
    """
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.UPGRADE)
        version = await _shown(platform, tx, view, number)
        named = None if grants is None else tuple(grants)
        view = await point_at(platform, tx, caller, view, version, Transition.UPGRADE, named, consents=grants is None)
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)
    return view


async def decline(platform: Platform, caller: Caller, plugin_id: str, number: str, reason: str) -> PluginView:
    """Decline the upgrade that waits; the version in use goes on. Raises ``Conflict`` where another one waits."""
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        waiting = view.plugin.waiting
        if waiting is None or waiting.declined or waiting.version != number:
            raise Conflict(_another(number, None if waiting is None or waiting.declined else waiting.version))
        plugin, happened = view.plugin.declined(reason, caller.actor, platform.clock())
        await tx.save_plugin(plugin)
        await record_change(platform, tx, caller, happened, plugin, {"version": number, "reason": reason})
    return PluginView(plugin, view.version)


async def _shown(platform: Platform, tx: Transaction, view: PluginView, number: str) -> PluginVersion:
    """The version that an admin was shown: the one that waits, or the one on offer."""
    if view.plugin.state not in IN_USE:
        raise Conflict("Nobody has installed this plugin yet; consent to it by installing it.")
    waiting = view.plugin.waiting
    if waiting is not None and waiting.version == number:
        version = await tx.version(waiting.version_id)
        if version is not None:
            return version
    offered = await available(platform, tx, view)
    if offered is not None and offered.version.number == number:
        adopted = await adopt_version(platform, tx, view, number) if offered.from_marketplace else offered.version
        if adopted is not None:
            return adopted
    shown = waiting.version if waiting is not None else offered.version.number if offered is not None else None
    raise Conflict(_another(number, shown))


def _another(number: str, waits: str | None) -> str:
    there = f"version {waits} does by now; look at what it asks" if waits else "nothing does"
    return f"Version {number} does not wait for consent; {there}."
