"""Consent over HTTP: an admin answers an upgrade that waits, and sees which rights are used."""

from datetime import datetime
from typing import Any

from starlette.types import ASGIApp

from plugyard.application import consent, rights
from plugyard.domain.identity import Action
from plugyard.domain.permissions import Service
from plugyard.domain.rights import Right
from plugyard.http import commands, examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.detailed import detail_of
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, flag, page_of
from plugyard.http.view import View


class SeenView(View, frozen=True):
    """A host or topic that was used under a wider entry of the grant."""

    name: str
    last_used_at: datetime


class RightView(View, frozen=True):
    """A right that a plugin holds: a service (`name` is null), or one host or topic of it, and its last use."""

    service: Service
    name: str | None
    granted_at: datetime
    last_used_at: datetime | None
    unused: bool
    seen: list[SeenView]


class PluginRightView(RightView, frozen=True):
    """A right with the plugin that holds it."""

    plugin_id: str
    plugin: str


class RightsView(View, frozen=True):
    """Every right of a plugin. `unused` ones were neither used nor granted for so many days."""

    unused_after_days: int
    items: list[RightView]


_ONE = "/api/v1/plugins/{pluginId}"
_TAG = "Consent"
_UPGRADED = {**examples.DETAIL, "version": "1.1.0", "waitingVersion": None, "waiting": None, "available": None}
_DECLINED = {
    **examples.WAITING,
    "declined": True,
    "declinedBecause": "It has no business in the database.",
    "decidedBy": examples.WAITING["requestedBy"],
    "decidedAt": examples.MOMENT,
}


@operation(
    "POST",
    _ONE + "/consent",
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(
        commands.ConsentToUpgrade,
        examples={
            "to all that is asked": {"version": "1.1.0"},
            "narrowed": {"version": "1.1.0", "grants": [{"service": "network", "hosts": ["api.acme.com"]}]},
        },
    ),
    replies=[Reply(200, "The plugin at the version consented to.", views.PluginDetail, _UPGRADED)],
    problems=[
        "not_found",
        "wrong_state",
        "conflict",
        "dependency_conflict",
        "configuration_incomplete",
        "quota_exceeded",
        "not_grantable",
        "signature_required",
    ],
)
async def consent_to_upgrade(exchange: Exchange) -> ASGIApp:
    """Consent to an upgrade that waits, or that is available.

    `version` is the one that was shown: where another one waits by now, nothing happens (409). Grants answer what the
    version asks beyond those that are held; a service that they leave out is declined. Without grants, all of it is
    granted as it is asked.
    """
    asked = await exchange.body(commands.ConsentToUpgrade)
    grants = commands.permissions(asked.grants)
    view = await consent.consent(exchange.platform, exchange.caller, exchange.id("pluginId"), asked.version, grants)
    return json_answer(await detail_of(exchange, view))


@operation(
    "POST",
    _ONE + "/decline",
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(
        commands.DeclineUpgrade,
        examples={"with a reason": {"version": "1.1.0", "reason": "It has no business in the database."}},
    ),
    replies=[
        Reply(
            200,
            "The plugin, which goes on as it is.",
            views.PluginDetail,
            {**examples.DETAIL, "waitingVersion": None, "waiting": _DECLINED},
        )
    ],
    problems=["not_found", "conflict"],
)
async def decline_upgrade(exchange: Exchange) -> ASGIApp:
    """Decline an upgrade that waits; the version in use goes on.

    Who asks for the version again reads the reason. An admin may still consent to it later.
    """
    asked = await exchange.body(commands.DeclineUpgrade)
    view = await consent.decline(
        exchange.platform, exchange.caller, exchange.id("pluginId"), asked.version, asked.reason
    )
    return json_answer(await detail_of(exchange, view))


@operation(
    "GET",
    _ONE + "/rights",
    tag=_TAG,
    replies=[
        Reply(200, "The rights.", RightsView, {"unusedAfterDays": 30, "items": [examples.RIGHT]}),
    ],
    problems=["not_found"],
)
async def list_plugin_rights(exchange: Exchange) -> ASGIApp:
    """List the rights that a plugin holds, with their last use.

    A right is a service, or one host (`network`) or topic (`events`) of it. `unused` says that it was not used for the
    operator's number of days, counted from its last use or else from when it was granted. A denied use is none.
    """
    held = await rights.rights(exchange.platform, exchange.caller, exchange.id("pluginId"))
    after = exchange.platform.policies.unused_rights_days
    return json_answer(RightsView(unused_after_days=after, items=[_right(one) for one in held]))


@operation(
    "POST",
    _ONE + "/rights/drop",
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(
        commands.DropRights,
        examples={
            "all that went unused": {"unused": True},
            "named ones": {"rights": [{"service": "database"}, {"service": "network", "name": "old.acme.com"}]},
        },
    ),
    replies=[Reply(200, "The plugin with the rights that are left.", views.PluginDetail, examples.DETAIL)],
    problems=["not_found", "wrong_state"],
)
async def drop_plugin_rights(exchange: Exchange) -> ASGIApp:
    """Take rights away from a plugin: those that are named, and with `unused` all that went unused.

    A service of which no named host or topic is left goes as a whole. What runs now ends with the grant that it began
    with.
    """
    asked = await exchange.body(commands.DropRights)
    named = [Right(one.service, one.name or "") for one in asked.rights]
    view = await rights.drop_rights(
        exchange.platform, exchange.caller, exchange.id("pluginId"), named, unused=asked.unused
    )
    return json_answer(await detail_of(exchange, view))


@operation(
    "GET",
    "/api/v1/rights",
    tag=_TAG,
    query=(flag("unused", "Only rights that went unused."), *PAGE),
    replies=[
        Reply(
            200,
            "A page.",
            views.PageView[PluginRightView],
            examples.page_of({**examples.RIGHT, "pluginId": examples.PLUGIN_ID, "plugin": "invoice-totals"}),
        )
    ],
)
async def list_rights(exchange: Exchange) -> ASGIApp:
    """List the rights of all plugins of the tenant, by the plugins' names."""
    asked = exchange.query
    found = await rights.all_rights(exchange.platform, exchange.caller, page_of(asked), unused=asked["unused"])
    return json_answer(present.page(found, _plugin_right))


def _fields(one: rights.HeldRight) -> dict[str, Any]:
    use = one.use
    return {
        "service": use.right.service,
        "name": use.right.name or None,
        "granted_at": use.granted_at,
        "last_used_at": use.last_used_at,
        "unused": one.unused,
        "seen": [SeenView(name=name, last_used_at=at) for name, at in use.seen],
    }


def _right(one: rights.HeldRight) -> RightView:
    return RightView(**_fields(one))


def _plugin_right(one: rights.HeldRight) -> PluginRightView:
    return PluginRightView(**_fields(one), plugin_id=one.plugin.id, plugin=one.plugin.name)


OPERATIONS = (
    consent_to_upgrade,
    decline_upgrade,
    list_plugin_rights,
    drop_plugin_rights,
    list_rights,
)
