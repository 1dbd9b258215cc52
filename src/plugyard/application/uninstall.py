"""The end of the path: a plugin leaves its tenant. Its rows and its package stay for the audit."""

from plugyard.application.install import forget_cached
from plugyard.application.marketplace import withdraw_in
from plugyard.application.platform import Platform, plugin_of, record_change, require, tenant_of
from plugyard.application.resolve import refuse_if_needed
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import PluginView, Transition


async def uninstall(platform: Platform, caller: Caller, plugin_id: str) -> PluginView:
    """Remove the plugin. Its name is free again; a listing of it is withdrawn with it."""
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.UNINSTALL)
        await refuse_if_needed(tx, view, "uninstall")
        await withdraw_in(platform, tx, caller, view)
        plugin, happened = view.plugin.uninstalled(platform.clock())
        await tx.save_plugin(plugin)
        await record_change(platform, tx, caller, happened, plugin, {"version": view.version.number})
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)
    return PluginView(plugin, view.version)
