"""A plugin points at another version: forward by ``upgrade``, back by ``rollback``.

A version that asks for more than was granted waits for an admin's consent, while the old one goes on running.
"""

from collections.abc import Sequence
from dataclasses import replace

from plugyard.application.activate import require_configuration
from plugyard.application.install import (
    check_grants,
    forget_cached,
    policy_of,
    provide_database,
    require_grantable,
)
from plugyard.application.marketplace import adopt_version
from plugyard.application.platform import Platform, plugin_of, record_change, require, require_scope, tenant_of
from plugyard.application.ports import PageRequest, Transaction
from plugyard.application.resolve import refuse_if_outgrown, require_dependencies
from plugyard.application.waiting import still_waiting, wait_for_consent
from plugyard.domain.configuration import secret_names, split_secrets
from plugyard.domain.consent import WaitingUpgrade, weigh
from plugyard.domain.errors import Conflict, NotFound
from plugyard.domain.identity import Action, Caller
from plugyard.domain.permissions import Permission, narrowed
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion, PluginView, Transition
from plugyard.domain.standing import refuse_if_blocked


class ConsentRequired(Conflict):
    """The version asks for permissions that were not granted."""

    code = "consent_required"

    def __init__(self, permissions: tuple[Permission, ...], waiting: WaitingUpgrade | None = None) -> None:
        words = ", ".join(permission.service.value for permission in permissions)
        if waiting is None:
            became = "An admin consents by sending grants with this request."
        elif waiting.declined:
            became = f"An admin declined version {waiting.version}: {waiting.declined_because}"
        else:
            became = f"Version {waiting.version} waits for an admin's consent, and the present one goes on."
        super().__init__(f"The version asks for more than was granted: {words}. {became}")
        self.permissions = permissions


async def upgrade(
    platform: Platform, caller: Caller, plugin_id: str, number: str | None, grants: Sequence[Permission] | None
) -> PluginView:
    """Point at version ``number``, or the highest there is. Raises ``ConsentRequired``, ``NotFound``, ``Conflict``."""
    _require_consent(caller, plugin_id, grants)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.UPGRADE)
        version = await _wanted(platform, tx, view, number)
        if version.id == view.version.id:
            raise Conflict(f"The plugin is at version {version.number} already; there is nothing to upgrade to.")
        refused: ConsentRequired | None = None
        try:
            view = await point_at(
                platform, tx, caller, view, version, Transition.UPGRADE, None if grants is None else tuple(grants)
            )
        except ConsentRequired as error:
            # That somebody asked is kept, so that an admin finds it; the version in use goes on.
            waiting = await wait_for_consent(platform, tx, caller, view, version, error.permissions)
            refused = ConsentRequired(error.permissions, waiting)
    if refused is not None:
        raise refused
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)
    return view


async def rollback(
    platform: Platform,
    caller: Caller,
    plugin_id: str,
    number: str | None,
    grants: Sequence[Permission] | None = None,
) -> PluginView:
    """Point at an earlier version, or at the one before the last change.

    Raises ``ConsentRequired`` where the earlier version asks for what is no longer granted and no grants are sent.
    """
    _require_consent(caller, plugin_id, grants)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.ROLLBACK)
        if number is not None:
            version = await tx.version_numbered(plugin_id, number)
        else:
            version = await tx.version(view.plugin.previous_version_id) if view.plugin.previous_version_id else None
        if version is None:
            raise NotFound(f"There is no version {number} of this plugin." if number else "There is no version before.")
        if version.id == view.version.id:
            raise Conflict(f"The plugin is at version {version.number} already.")
        view = await point_at(
            platform, tx, caller, view, version, Transition.ROLLBACK, None if grants is None else tuple(grants)
        )
    forget_cached(platform, plugin_id)
    await platform.executor.forget(plugin_id)
    return view


def _require_consent(caller: Caller, plugin_id: str, grants: Sequence[Permission] | None) -> None:
    """Whoever names grants consents to them, which is an admin's; a narrowed key has to be one for that, too."""
    require(caller, Action.INSTALL if grants is not None else Action.ACTIVATE)
    if grants is not None:
        require_scope(caller, Action.INSTALL, plugin_id)


async def _wanted(platform: Platform, tx: Transaction, view: PluginView, number: str | None) -> PluginVersion:
    own = await tx.version_numbered(view.plugin.id, number) if number else None
    if own is not None:
        return own
    if view.plugin.origin_listing_id is not None:
        adopted = await adopt_version(platform, tx, view, number)
        if adopted is not None:
            return adopted
    if number is not None:
        raise NotFound(f"There is no version {number} of this plugin.")
    newest = await tx.versions(view.plugin.id, PageRequest(limit=100))
    standings = await tx.standings([one.id for one in newest.items])
    usable = (one for one in newest.items if one.id not in standings or not standings[one.id].blocks)
    return next(usable, view.version)


async def point_at(
    platform: Platform,
    tx: Transaction,
    caller: Caller,
    view: PluginView,
    version: PluginVersion,
    transition: Transition,
    grants: tuple[Permission, ...] | None,
    *,
    consents: bool = False,
) -> PluginView:
    """Change the version within a transaction that is open. Rights that the version does not ask for are dropped.

    The present grants are kept as far as they fit. What the version asks beyond them an admin consents to by naming it
    in ``grants`` and declines by naming other things or nothing; ``consents`` says that an admin agrees to all of it.
    """
    refuse_if_blocked((await tx.standings([version.id])).get(version.id))
    asked = version.manifest.permissions
    if view.plugin.state is PluginState.VALIDATED:
        kept: tuple[Permission, ...] = ()  # consent comes with the install
    else:
        check_grants(asked, grants or ())
        named = None if grants is None else narrowed(asked, grants)
        kept = await _kept_grants(tx, view, asked, named, consents=consents)
        held = {grant.service for grant in view.plugin.grants}
        await require_grantable(tx, view.plugin.tenant_id, tuple(one for one in kept if one.service not in held))
    await refuse_if_outgrown(tx, view, version)
    changed = PluginView(view.plugin, version)
    if view.plugin.state is PluginState.ACTIVE:
        await require_dependencies(platform, tx, changed)
        require_configuration(version, {**view.plugin.configuration, **view.plugin.secrets})
    move = view.plugin.upgraded if transition is Transition.UPGRADE else view.plugin.rolled_back
    plugin, happened = move(version.id, kept, platform.clock())
    await provide_database(platform, plugin)
    plugin = _with_secrets_of(version, plugin)
    plugin = replace(plugin, waiting=await still_waiting(tx, view.plugin.waiting, PluginView(plugin, version)))
    await tx.save_plugin(plugin)
    data = {
        "version": version.number,
        "previousVersion": view.version.number,
        "grants": [grant.to_document() for grant in plugin.grants],
    }
    await record_change(platform, tx, caller, happened, plugin, data)
    return PluginView(plugin, version)


def _with_secrets_of(version: PluginVersion, plugin: Plugin) -> Plugin:
    """What the version begins to mark as a secret becomes one; what was one before stays one."""
    if secret_names(version.manifest.configuration).isdisjoint(plugin.configuration):
        return plugin
    plain, found = split_secrets(version.manifest.configuration, plugin.configuration)
    return replace(plugin, configuration=plain, secrets={**plugin.secrets, **found})


async def _kept_grants(
    tx: Transaction,
    view: PluginView,
    asked: tuple[Permission, ...],
    named: tuple[Permission, ...] | None,
    *,
    consents: bool,
) -> tuple[Permission, ...]:
    """The grants as they hold for a version that asks for ``asked``; raises ``ConsentRequired`` with what is new."""
    before = view.version.manifest.permissions
    automatic = (await policy_of(tx, view.plugin.tenant_id)).auto_grant
    weighed = weigh(asked, before, view.plugin.grants, automatic, named, consents=consents)
    if weighed.beyond:
        raise ConsentRequired(weighed.beyond)
    return weighed.kept
