"""What changes from one version of a plugin to another. ``http/difference.py`` calls it."""

from plugyard.application.marketplace import offered_copy
from plugyard.application.platform import Platform, plugin_of, require, tenant_of
from plugyard.application.ports import Transaction
from plugyard.domain.difference import Difference, compare
from plugyard.domain.errors import NotFound
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import PluginVersion, PluginView


async def difference(platform: Platform, caller: Caller, plugin_id: str, before: str, after: str) -> Difference:
    """From one version to another, by their numbers; the version that the plugin's listing offers is one of them."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id)
        one = await _version(platform, tx, view, before)
        other = await _version(platform, tx, view, after)
    return compare(one, other)


async def _version(platform: Platform, tx: Transaction, view: PluginView, number: str) -> PluginVersion:
    found = await tx.version_numbered(view.plugin.id, number)
    if found is None:
        offered = await offered_copy(platform, tx, view)
        found = offered if offered is not None and offered.number == number else None
    if found is None:
        raise NotFound(f"There is no version {number} of this plugin.")
    return found
