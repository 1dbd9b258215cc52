"""Upgrades that wait for an admin: written down when somebody asks for a version that wants more, looked at again when
the plugin changes, and what else there is to upgrade to."""

from dataclasses import dataclass, replace

from plugyard.application.install import policy_of
from plugyard.application.marketplace import offered_copy
from plugyard.application.platform import Platform, record_change
from plugyard.application.ports import PageRequest, Transaction
from plugyard.domain.consent import WaitingUpgrade, weigh
from plugyard.domain.identity import Caller
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import PluginState, PluginVersion, PluginView

IN_USE = (PluginState.INSTALLED, PluginState.ACTIVE, PluginState.INACTIVE, PluginState.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Available:
    """A version higher than the one in use, where it comes from, and what it asks for beyond the grant."""

    version: PluginVersion
    from_marketplace: bool
    asks: tuple[Permission, ...]


async def beyond_grant(tx: Transaction, view: PluginView, version: PluginVersion) -> tuple[Permission, ...]:
    """What a version asks for that neither the plugin's grant nor the tenant's policy gives."""
    automatic = (await policy_of(tx, view.plugin.tenant_id)).auto_grant
    asked, before = version.manifest.permissions, view.version.manifest.permissions
    return weigh(asked, before, view.plugin.grants, automatic).beyond


async def wait_for_consent(
    platform: Platform,
    tx: Transaction,
    caller: Caller,
    view: PluginView,
    version: PluginVersion,
    asks: tuple[Permission, ...],
) -> WaitingUpgrade:
    """Leave a durable waiting upgrade. Asking again for the same version changes nothing, a declined one included."""
    waiting = view.plugin.waiting
    if waiting is not None and waiting.version_id == version.id and (waiting.declined or waiting.asks == asks):
        return waiting
    upgrade = WaitingUpgrade(version.id, version.number, asks, platform.clock(), caller.actor)
    plugin, happened = view.plugin.awaiting(upgrade)
    await tx.save_plugin(plugin)
    data = {
        "version": version.number,
        "permissions": [permission.to_document() for permission in asks],
        "supersedes": waiting.version if waiting is not None and waiting.version_id != version.id else None,
    }
    await record_change(platform, tx, caller, happened, plugin, data)
    return upgrade


async def still_waiting(tx: Transaction, waiting: WaitingUpgrade | None, view: PluginView) -> WaitingUpgrade | None:
    """The upgrade as it waits once the plugin has changed to ``view``: a version that was passed waits no longer."""
    if waiting is None:
        return None
    version = await tx.version(waiting.version_id)
    if version is None or not view.version.manifest.version < version.manifest.version:
        return None
    asks = await beyond_grant(tx, view, version)
    return replace(waiting, asks=asks) if asks else None


async def available(platform: Platform, tx: Transaction, view: PluginView) -> Available | None:
    """The highest version that the plugin could be upgraded to: its own, or what its listing offers now."""
    if view.plugin.state not in IN_USE:
        return None
    newest = (await tx.versions(view.plugin.id, PageRequest(limit=1))).items
    best, from_marketplace = (newest[0] if newest else view.version), False
    offered = await offered_copy(platform, tx, view)
    if offered is not None and best.manifest.version < offered.manifest.version:
        best, from_marketplace = offered, True
    if not view.version.manifest.version < best.manifest.version:
        return None
    return Available(best, from_marketplace, await beyond_grant(tx, view, best))
