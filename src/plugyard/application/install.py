"""Step three: a tenant consents to what a plugin asks for. Grants and resolved dependencies are written down.

``upload.py`` calls ``install_in`` where the tenant's policy grants everything; an admin's own consent comes by
``install``.
"""

from collections.abc import Sequence

from plugyard.application.platform import Platform, plugin_of, record_change, require, tenant_of
from plugyard.application.ports import Transaction
from plugyard.application.resolve import require_dependencies
from plugyard.domain.errors import Conflict, FieldError, InvalidInput, NotGrantable
from plugyard.domain.identity import Action, Caller, TenantPolicy
from plugyard.domain.permissions import Permission, Service, malformed_grants, missing, narrowed, not_covered
from plugyard.domain.plugin import Plugin, PluginView, Transition


async def install(
    platform: Platform,
    caller: Caller,
    plugin_id: str,
    grants: Sequence[Permission] | None,
    number: str | None = None,
) -> PluginView:
    """Consent to the grants, or with ``None`` to all that the manifest asks. Again later, to change them.

    ``number`` is the version whose requests were shown; raises ``Conflict`` where the plugin is at another one by now.
    """
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        if number is not None and number != view.version.number:
            raise Conflict(f"The plugin is at version {view.version.number} by now; look at what that asks for.")
        asked = view.version.manifest.permissions
        view = await install_in(platform, tx, caller, view, asked if grants is None else tuple(grants))
    forget_cached(platform, plugin_id)
    return view


async def install_in(
    platform: Platform, tx: Transaction, caller: Caller, view: PluginView, grants: tuple[Permission, ...]
) -> PluginView:
    """Install within a transaction that is open; raises ``InvalidInput`` for grants beyond what is asked."""
    view.plugin.check(Transition.INSTALL)
    asked = view.version.manifest.permissions
    check_grants(asked, grants)
    await require_grantable(tx, view.plugin.tenant_id, grants)
    await require_dependencies(platform, tx, view)
    plugin, happened = view.plugin.installed(narrowed(asked, grants), platform.clock())
    await provide_database(platform, plugin)
    await tx.save_plugin(plugin)
    data = {"version": view.version.number, "grants": [grant.to_document() for grant in plugin.grants]}
    await record_change(platform, tx, caller, happened, plugin, data)
    return PluginView(plugin, view.version)


async def provide_database(platform: Platform, plugin: Plugin) -> None:
    """Make the plugin's database where it is granted. Before the row, so that what is installed can be used."""
    if any(grant.service is Service.DATABASE for grant in plugin.grants):
        await platform.databases.provide(plugin.tenant_id, plugin.id)


def check_grants(asked: tuple[Permission, ...], grants: tuple[Permission, ...]) -> None:
    """Raise ``InvalidInput`` when a service is granted twice, beyond what is asked, or in words that allow nothing."""
    problems = not_covered(asked, grants)
    services = [grant.service for grant in grants]
    problems += [f"{one.value} is granted twice" for one in dict.fromkeys(services) if services.count(one) > 1]
    problems += malformed_grants(asked, grants)
    if problems:
        raise InvalidInput(
            "The grants go beyond what the plugin asks for, or say what no grant can.",
            [FieldError("/grants", problem) for problem in problems],
        )


async def policy_of(tx: Transaction, tenant_id: str) -> TenantPolicy:
    """What the tenant grants by itself, as far as its operator lets it."""
    tenant = await tx.tenant(tenant_id)
    return TenantPolicy(tenant.auto_granted) if tenant is not None else TenantPolicy()


async def require_grantable(tx: Transaction, tenant_id: str, grants: tuple[Permission, ...]) -> None:
    """Raise ``NotGrantable`` for services that no plugin of the tenant may have."""
    tenant = await tx.tenant(tenant_id)
    withheld = [one.service.value for one in grants if tenant and one.service not in tenant.bounds.grantable]
    if withheld:
        raise NotGrantable(withheld)


async def consent_needed(tx: Transaction, view: PluginView) -> tuple[Permission, ...]:
    """What the plugin's version asks for and neither the tenant's policy nor an earlier consent grants."""
    held = frozenset(grant.service for grant in view.plugin.grants)
    if view.plugin.installed_at is not None:
        # An admin who left a service out has decided; only an upgrade asks again.
        held = frozenset(permission.service for permission in view.version.manifest.permissions)
    policy = await policy_of(tx, view.plugin.tenant_id)
    return missing(view.version.manifest.permissions, held | policy.auto_grant)


def forget_cached(platform: Platform, plugin_id: str) -> None:
    """The next execution reads the plugin anew, and the next event who listens; within this process at once, in others
    when their copy ages out."""
    platform.copies.forget(lambda name: name[0] == "listeners" or (name[0] == "plugin" and name[2] == plugin_id))
