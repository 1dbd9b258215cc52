"""Webhooks over HTTP, for the admins who make, rotate and revoke them. What senders meet is in ``hooks.py``."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta
from starlette.types import ASGIApp

from plugyard.application import webhooks
from plugyard.domain.identity import Action
from plugyard.domain.webhooks import Scheme, Webhook
from plugyard.http import examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.commands import Command, Text
from plugyard.http.exchange import Exchange
from plugyard.http.hooks import address_of
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, page_of
from plugyard.http.view import View

_TAG = "Executions"
_ALL = "/api/v1/plugins/{pluginId}/webhooks"
_ONE = _ALL + "/{webhookId}"
_WEBHOOK_ID = "01a1f0c4-7a10-7000-8000-000000000081"
Secret = Annotated[str, Meta(min_length=16, max_length=200, pattern=r"^[!-~]+$")]
Path = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"^/[!-~]*$", examples=["/github"])]


class CreateWebhook(Command, frozen=True):
    """A name to know it by, the path of the endpoint below the plugin's own address, whose way of signing the sender
    follows, and the secret where the sender makes it (null: one is made)."""

    name: Text
    path: Path
    scheme: Scheme = Scheme.PLUGYARD
    secret: Secret | None = None


class RotateWebhook(Command, frozen=True):
    """For how many seconds the old secret goes on holding, and the new one where the sender makes it."""

    overlap_seconds: Annotated[int, Meta(ge=0, le=2_592_000)] = 86_400
    secret: Secret | None = None


class WebhookView(View, frozen=True):
    """A webhook, without its address and its secrets; until `previousUntil` the secret before holds, too."""

    id: str
    plugin_id: str
    name: str
    path: str
    scheme: Scheme
    created_at: datetime
    previous_until: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewWebhookView(WebhookView, frozen=True):
    """A new webhook with its address, a path of this service, and its secret; neither is shown again."""

    address: str
    secret: str


class RotatedWebhookView(WebhookView, frozen=True):
    """A webhook with its new secret, which is not shown again."""

    secret: str


_EXAMPLE: dict[str, Any] = {
    "id": _WEBHOOK_ID,
    "pluginId": examples.PLUGIN_ID,
    "name": "pushes of the rockets",
    "path": "/github",
    "scheme": "github",
    "createdAt": examples.MOMENT,
    "previousUntil": None,
    "revokedAt": None,
    "lastUsedAt": None,
}
_SECRET = "whsec_" + "x" * 43


def _shown(one: Webhook) -> dict[str, Any]:
    hidden = ("secrets", "tenant_id")
    return {name: getattr(one, name) for name in Webhook.__dataclass_fields__ if name not in hidden}


def _view(one: Webhook) -> WebhookView:
    return WebhookView(**_shown(one))


@operation(
    "GET",
    _ALL,
    tag=_TAG,
    action=Action.INSTALL,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[WebhookView], examples.page_of(_EXAMPLE))],
    problems=["not_found"],
)
async def list_webhooks(exchange: Exchange) -> ASGIApp:
    """List a plugin's webhooks, newest first, revoked ones included."""
    page = page_of(exchange.query)
    found = await webhooks.webhooks(exchange.platform, exchange.caller, exchange.id("pluginId"), page)
    return json_answer(present.page(found, _view))


@operation(
    "POST",
    _ALL,
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(
        CreateWebhook,
        examples={
            "for one's own systems": {"name": "the shop", "path": "/orders"},
            "for GitHub": {"name": "pushes", "path": "/github", "scheme": "github"},
        },
    ),
    replies=[
        Reply(
            201,
            "The webhook, with the address and the secret that are never shown again.",
            NewWebhookView,
            {**_EXAMPLE, "address": "/hooks/" + "x" * 43, "secret": _SECRET},
        )
    ],
    problems=["not_found", "wrong_state", "conflict"],
)
async def create_webhook(exchange: Exchange) -> ASGIApp:
    """Make a webhook: a public address for an endpoint of the plugin that takes POST.

    Whoever knows the secret signs what it sends, and needs no key. `scheme` says how: `plugyard`, or as `github`,
    `stripe` or `slack` do.
    """
    asked = await exchange.body(CreateWebhook)
    made, token, secret = await webhooks.create_webhook(
        exchange.platform,
        exchange.caller,
        exchange.id("pluginId"),
        asked.name,
        asked.path,
        asked.scheme,
        asked.secret,
    )
    return json_answer(NewWebhookView(**_shown(made), address=address_of(token), secret=secret), status=201)


@operation(
    "GET",
    _ONE,
    tag=_TAG,
    action=Action.INSTALL,
    replies=[Reply(200, "The webhook.", WebhookView, _EXAMPLE)],
    problems=["not_found"],
)
async def get_webhook(exchange: Exchange) -> ASGIApp:
    """Show one webhook, without its address and its secret."""
    plugin_id, webhook_id = exchange.id("pluginId"), exchange.id("webhookId")
    return json_answer(_view(await webhooks.webhook_of(exchange.platform, exchange.caller, plugin_id, webhook_id)))


@operation(
    "POST",
    _ONE + "/rotate",
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(RotateWebhook, examples={"a day": {"overlapSeconds": 86400}}, required=False),
    replies=[
        Reply(
            200,
            "The webhook, with the secret that is never shown again.",
            RotatedWebhookView,
            {**_EXAMPLE, "previousUntil": examples.MOMENT, "secret": _SECRET},
        )
    ],
    problems=["not_found", "conflict", "secrets_locked"],
)
async def rotate_webhook(exchange: Exchange) -> ASGIApp:
    """Give a webhook a new secret.

    Its address stays. The old secret holds until the overlap ends, so that the sender can change it meanwhile.
    """
    asked = await exchange.optional_body(RotateWebhook)
    rotated, secret = await webhooks.rotate_webhook(
        exchange.platform,
        exchange.caller,
        exchange.id("pluginId"),
        exchange.id("webhookId"),
        asked.secret,
        timedelta(seconds=asked.overlap_seconds),
    )
    return json_answer(RotatedWebhookView(**_shown(rotated), secret=secret))


@operation(
    "DELETE",
    _ONE,
    tag=_TAG,
    action=Action.INSTALL,
    replies=[Reply(200, "The webhook, revoked.", WebhookView, {**_EXAMPLE, "revokedAt": examples.MOMENT})],
    problems=["not_found"],
)
async def revoke_webhook(exchange: Exchange) -> ASGIApp:
    """Revoke a webhook.

    Its address answers as one that never was. It stays listed; revoking it again changes nothing.
    """
    plugin_id, webhook_id = exchange.id("pluginId"), exchange.id("webhookId")
    return json_answer(_view(await webhooks.revoke_webhook(exchange.platform, exchange.caller, plugin_id, webhook_id)))


OPERATIONS = (list_webhooks, create_webhook, get_webhook, rotate_webhook, revoke_webhook)
