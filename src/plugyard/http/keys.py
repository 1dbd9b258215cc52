"""API keys over HTTP, and who the caller's own key belongs to."""

from datetime import timedelta

from starlette.types import ASGIApp

from plugyard.application import keys
from plugyard.domain.identity import Action
from plugyard.http import commands, examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, in_utc, page_of

_TAG = "Keys and tenants"


@operation(
    "GET",
    "/api/v1/me",
    tag=_TAG,
    action=None,
    replies=[Reply(200, "The caller.", views.MeView, examples.ME)],
)
async def who_am_i(exchange: Exchange) -> ASGIApp:
    """Show who the key belongs to and what role it has."""
    caller = exchange.caller
    return json_answer(views.MeView(actor=caller.actor, role=caller.role, tenant_id=caller.tenant_id))


@operation(
    "GET",
    "/api/v1/keys",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.KeyView], examples.page_of(examples.KEY))],
)
async def list_keys(exchange: Exchange) -> ASGIApp:
    """List the tenant's keys, newest first, without their secrets."""
    found = await keys.keys(exchange.platform, exchange.caller, page_of(exchange.query))
    return json_answer(present.page(found, present.key))


@operation(
    "POST",
    "/api/v1/keys",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    body=Body(
        commands.CreateKey,
        examples={
            "for a pipeline": {"name": "continuous delivery", "role": "developer", "expiresInDays": 90},
            "for one function": {
                "name": "the shop",
                "role": "developer",
                "scopes": [{"actions": ["execute"], "plugin": examples.PLUGIN_ID, "functions": ["total"]}],
            },
        },
    ),
    replies=[Reply(201, "The key, with the secret that is never shown again.", views.NewKeyView, examples.NEW_KEY)],
)
async def create_key(exchange: Exchange) -> ASGIApp:
    """Make a key.

    `scopes` narrow it: to actions, to a plugin, to functions of that plugin; it may do what any of them lets through,
    and never more than the key that makes it. Operators' keys belong to no tenant and are made by
    `POST /api/v1/operator-keys`.
    """
    asked = await exchange.body(commands.CreateKey)
    platform = exchange.platform
    expires_at = None if asked.expires_at is None else in_utc(asked.expires_at)
    if asked.expires_in_days is not None:
        then = platform.clock() + timedelta(days=asked.expires_in_days)
        expires_at = then if expires_at is None else min(then, expires_at)
    scopes = tuple(one.scope() for one in asked.scopes)
    key, secret = await keys.create_key(platform, exchange.caller, asked.name, asked.role, expires_at, scopes)
    return json_answer(present.new_key(key, secret), status=201)


@operation(
    "GET",
    "/api/v1/keys/{keyId}",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    replies=[Reply(200, "The key.", views.KeyView, examples.KEY)],
    problems=["not_found"],
)
async def get_key(exchange: Exchange) -> ASGIApp:
    """Show one key, without its secret."""
    return json_answer(present.key(await keys.key_of(exchange.platform, exchange.caller, exchange.id("keyId"))))


@operation(
    "POST",
    "/api/v1/keys/{keyId}/rotate",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    body=Body(commands.RotateKey, examples={"a day": {"overlapSeconds": 86400}}, required=False),
    replies=[Reply(201, "The new key, with the secret that is never shown again.", views.NewKeyView, examples.NEW_KEY)],
    problems=["not_found", "conflict"],
)
async def rotate_key(exchange: Exchange) -> ASGIApp:
    """Make a new key in the place of one.

    It has the same name, role, scopes and end. The old secret works until the overlap ends.
    """
    asked = await exchange.optional_body(commands.RotateKey)
    overlap = timedelta(seconds=asked.overlap_seconds)
    key, secret = await keys.rotate_key(exchange.platform, exchange.caller, exchange.id("keyId"), overlap)
    return json_answer(present.new_key(key, secret), status=201)


@operation(
    "DELETE",
    "/api/v1/keys/{keyId}",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    replies=[Reply(200, "The key, revoked.", views.KeyView, {**examples.KEY, "revokedAt": examples.MOMENT})],
    problems=["not_found"],
)
async def revoke_key(exchange: Exchange) -> ASGIApp:
    """Revoke a key.

    It stays listed. Revoking a revoked key changes nothing.
    """
    return json_answer(present.key(await keys.revoke_key(exchange.platform, exchange.caller, exchange.id("keyId"))))


OPERATIONS = (who_am_i, list_keys, create_key, get_key, rotate_key, revoke_key)
