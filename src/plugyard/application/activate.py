"""Step four, and its reverse: whether a plugin may execute."""

from plugyard.application.install import forget_cached
from plugyard.application.platform import Platform, plugin_of, record_change, require, tenant_of
from plugyard.application.ports import Transaction
from plugyard.application.resolve import refuse_if_needed, require_dependencies
from plugyard.application.schemas import configuration_violations
from plugyard.domain.errors import Conflict, FieldError
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import PluginVersion, PluginView, Transition
from plugyard.domain.standing import refuse_if_blocked


class ConfigurationIncomplete(Conflict):
    """The plugin's configuration does not satisfy its schema yet."""

    code = "configuration_incomplete"

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("The plugin's configuration does not satisfy its schema: set it first, then activate.")
        self.errors = errors


async def activate(platform: Platform, caller: Caller, plugin_id: str) -> PluginView:
    """Let the plugin execute; raises ``WrongState``, ``VersionQuarantined``, ``ConfigurationIncomplete``, and
    ``DependencyConflict``."""
    require(caller, Action.ACTIVATE)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await activate_in(platform, tx, caller, await plugin_of(tx, plugin_id, lock=True))
    forget_cached(platform, plugin_id)
    return view


async def activate_in(platform: Platform, tx: Transaction, caller: Caller, view: PluginView) -> PluginView:
    """Activate within a transaction that is open."""
    view.plugin.check(Transition.ACTIVATE)
    refuse_if_blocked((await tx.standings([view.version.id])).get(view.version.id))
    await require_dependencies(platform, tx, view)
    require_configuration(view.version, {**view.plugin.configuration, **view.plugin.secrets})
    plugin, happened = view.plugin.activated(platform.clock())
    await tx.save_plugin(plugin)
    await record_change(platform, tx, caller, happened, plugin, {"version": view.version.number})
    return PluginView(plugin, view.version)


def require_configuration(version: PluginVersion, configuration: dict[str, object]) -> None:
    """Raise ``ConfigurationIncomplete`` unless the configuration with its defaults fits the version's schema."""
    errors = configuration_violations(version, configuration)
    if errors:
        raise ConfigurationIncomplete(errors)


async def deactivate(platform: Platform, caller: Caller, plugin_id: str) -> PluginView:
    """Stop the plugin from executing; what runs now may end."""
    require(caller, Action.ACTIVATE)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.DEACTIVATE)
        await refuse_if_needed(tx, view, "deactivate")
        plugin, happened = view.plugin.deactivated(platform.clock())
        await tx.save_plugin(plugin)
        await record_change(platform, tx, caller, happened, plugin, {"version": view.version.number})
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)
    return PluginView(plugin, view.version)
