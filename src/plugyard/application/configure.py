"""The tenant sets a plugin's configuration by JSON merge patch; secrets go in and never come out again."""

from typing import Any

from plugyard.application.install import forget_cached
from plugyard.application.platform import Platform, plugin_of, record_change, require, tenant_of
from plugyard.application.schemas import configuration_violations
from plugyard.domain.configuration import merge_patch, secret_names, split_secrets
from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import PluginView, Transition
from plugyard.domain.secrets import LockedSecrets


async def configure(platform: Platform, caller: Caller, plugin_id: str, patch: dict[str, Any]) -> PluginView:
    """Apply an RFC 7396 patch; raises ``InvalidInput`` with pointers where the result does not fit the schema."""
    require(caller, Action.CONFIGURE)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.CONFIGURE)
        schema = view.version.manifest.configuration
        if schema is None:
            raise InvalidInput(
                "This plugin takes no configuration.", [FieldError("", "its manifest has no configuration schema")]
            )
        held = view.plugin.secrets
        if isinstance(held, LockedSecrets) and not secret_names(schema).isdisjoint(patch):
            held = {}  # They are set anew; whether that is all of them, the schema says below.
        merged = merge_patch({**view.plugin.configuration, **held}, patch)
        errors = configuration_violations(view.version, merged)
        if errors:
            raise InvalidInput("The configuration does not fit the plugin's schema.", errors)
        plain, secrets = split_secrets(schema, merged, held.keys() - patch.keys())
        plugin, happened = view.plugin.configured(plain, secrets, platform.clock())
        await tx.save_plugin(plugin)
        # The names alone: values may be private, and the trail is read by more people than the configuration.
        await record_change(platform, tx, caller, happened, plugin, {"changed": sorted(patch)})
    forget_cached(platform, plugin_id)
    return PluginView(plugin, view.version)
