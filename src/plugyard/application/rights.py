"""The rights that plugins hold, which of them nobody used for long, and how an admin drops them.

A use that was denied is none. What this process noted and has not written yet is written before anything is listed.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import msgspec

from plugyard.application.install import forget_cached
from plugyard.application.platform import Platform, plugin_of, record_change, require, tenant_of
from plugyard.application.ports import Page, PageRequest, Transaction
from plugyard.application.uses import write_uses
from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import Plugin, PluginView, Transition
from plugyard.domain.rights import Right, RightUse, uses_of, without


@dataclass(frozen=True, slots=True)
class HeldRight:
    """A right of a plugin, its use, and whether it went unused for as long as the operator's setting says."""

    plugin: Plugin
    use: RightUse
    unused: bool


async def rights(platform: Platform, caller: Caller, plugin_id: str) -> tuple[HeldRight, ...]:
    """Every right that a plugin holds."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    await write_uses(platform)
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await plugin_of(tx, plugin_id)
        return await _held(platform, tx, [view.plugin])


async def all_rights(platform: Platform, caller: Caller, page: PageRequest, *, unused: bool) -> Page[HeldRight]:
    """The rights of all of the tenant's plugins, by the plugins' names; with ``unused`` those alone that are."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    behind = _place(page.cursor)
    await write_uses(platform)
    async with platform.store.for_tenant(tenant_id) as tx:
        plugins = [view.plugin for view in await tx.installed_plugins()]
        held = await _held(platform, tx, sorted(plugins, key=lambda one: (one.name, one.id)))
    left = [one for one in held if (one.unused or not unused) and (behind is None or _key(one) > behind)]
    shown = sorted(left, key=_key)[: page.limit]
    return Page(tuple(shown), _cursor(shown[-1]) if len(left) > len(shown) else None)


async def drop_rights(
    platform: Platform, caller: Caller, plugin_id: str, dropped: Sequence[Right], *, unused: bool = False
) -> PluginView:
    """Take rights away from a plugin, with ``unused`` also all that are; raises ``InvalidInput`` for one not held.

    A service of which no named host or topic is left goes as a whole. What runs now ends with the grant it began with.
    """
    require(caller, Action.INSTALL)
    tenant_id = tenant_of(caller)
    await write_uses(platform)
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.INSTALL)
        held = await _held(platform, tx, [view.plugin])
        there = {one.use.right for one in held}
        gone = list(dict.fromkeys([*dropped, *(one.use.right for one in held if unused and one.unused)]))
        errors = [
            FieldError(f"/rights/{index}", f"the plugin does not hold {right.key}")
            for index, right in enumerate(dropped)
            if right not in there
        ]
        if errors:
            raise InvalidInput("There are rights that the plugin does not hold.", errors)
        left = without(view.plugin.grants, gone)
        if left == view.plugin.grants:
            return view
        plugin, happened = view.plugin.dropped(left, platform.clock())
        await tx.save_plugin(plugin)
        data = {
            "version": view.version.number,
            "dropped": [right.key for right in gone],
            "grants": [grant.to_document() for grant in left],
        }
        await record_change(platform, tx, caller, happened, plugin, data)
    forget_cached(platform, plugin_id)
    return PluginView(plugin, view.version)


async def _held(platform: Platform, tx: Transaction, plugins: Sequence[Plugin]) -> tuple[HeldRight, ...]:
    used = await tx.used_rights([one.id for one in plugins])
    now, after = platform.clock(), timedelta(days=platform.policies.unused_rights_days)
    return tuple(
        HeldRight(plugin, use, use.unused_at(now, after))
        for plugin in plugins
        for use in uses_of(
            plugin.grants, plugin.granted_at, used.get(plugin.id, {}), plugin.installed_at or plugin.created_at
        )
    )


def _key(one: HeldRight) -> tuple[str, str, str]:
    return one.plugin.name, one.plugin.id, one.use.right.key


def _cursor(last: HeldRight) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(_key(last))).decode().rstrip("=")


def _place(cursor: str | None) -> tuple[str, str, str] | None:
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(raw, type=tuple[str, str, str])
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        fault = FieldError("query/cursor", "use nextCursor as it was given")
        raise InvalidInput("The cursor is none that this list gave.", [fault]) from error
