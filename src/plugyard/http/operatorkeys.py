"""Operators' own keys over HTTP."""

from datetime import timedelta

from starlette.types import ASGIApp

from plugyard.application import operatorkeys
from plugyard.domain.identity import Action
from plugyard.http import commands, examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, in_utc, page_of

_TAG = "Keys and tenants"
_KEYS = "/api/v1/operator-keys"
_NEW = [Reply(201, "The key, with the secret that is never shown again.", views.NewKeyView, examples.NEW_OPERATOR_KEY)]


@operation(
    "GET",
    _KEYS,
    tag=_TAG,
    action=Action.MANAGE_OPERATORS,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.KeyView], examples.page_of(examples.OPERATOR_KEY))],
)
async def list_operator_keys(exchange: Exchange) -> ASGIApp:
    """List the operators' keys, newest first, without their secrets."""
    found = await operatorkeys.operator_keys(exchange.platform, exchange.caller, page_of(exchange.query))
    return json_answer(present.page(found, present.key))


@operation(
    "POST",
    _KEYS,
    tag=_TAG,
    action=Action.MANAGE_OPERATORS,
    body=Body(
        commands.CreateOperatorKey,
        examples={
            "for a person": {"name": "Grace", "expiresInDays": 365},
            "for reviews alone": {"name": "review desk", "scopes": [{"actions": ["review"]}]},
        },
    ),
    replies=_NEW,
)
async def create_operator_key(exchange: Exchange) -> ASGIApp:
    """Make an operator key, which reaches every tenant; one for each person and machine is best.

    `scopes` narrow it as they narrow tenants' keys. It never may do more than the key that makes it.
    """
    asked = await exchange.body(commands.CreateOperatorKey)
    expires_at = None if asked.expires_at is None else in_utc(asked.expires_at)
    if asked.expires_in_days is not None:
        then = exchange.platform.clock() + timedelta(days=asked.expires_in_days)
        expires_at = then if expires_at is None else min(then, expires_at)
    scopes = tuple(one.scope() for one in asked.scopes)
    key, secret = await operatorkeys.create_operator_key(
        exchange.platform, exchange.caller, asked.name, expires_at, scopes
    )
    return json_answer(present.new_key(key, secret), status=201)


@operation(
    "POST",
    _KEYS + "/{operatorKeyId}/rotate",
    tag=_TAG,
    action=Action.MANAGE_OPERATORS,
    body=Body(commands.RotateKey, examples={"a day": {"overlapSeconds": 86400}}, required=False),
    replies=_NEW,
    problems=["not_found", "conflict"],
)
async def rotate_operator_key(exchange: Exchange) -> ASGIApp:
    """Make a new operator key in the place of one.

    It has the same name, scopes and end. The old secret works until the overlap ends.
    """
    asked = await exchange.optional_body(commands.RotateKey)
    overlap, key_id = timedelta(seconds=asked.overlap_seconds), exchange.id("operatorKeyId")
    key, secret = await operatorkeys.rotate_operator_key(exchange.platform, exchange.caller, key_id, overlap)
    return json_answer(present.new_key(key, secret), status=201)


@operation(
    "DELETE",
    _KEYS + "/{operatorKeyId}",
    tag=_TAG,
    action=Action.MANAGE_OPERATORS,
    replies=[Reply(200, "The key, revoked.", views.KeyView, {**examples.OPERATOR_KEY, "revokedAt": examples.MOMENT})],
    problems=["not_found", "conflict"],
)
async def revoke_operator_key(exchange: Exchange) -> ASGIApp:
    """Revoke an operator key.

    The last one that works without end and without scopes is kept (409), for nobody could make another.
    """
    key_id = exchange.id("operatorKeyId")
    key = await operatorkeys.revoke_operator_key(exchange.platform, exchange.caller, key_id)
    return json_answer(present.key(key))


OPERATIONS = (list_operator_keys, create_operator_key, rotate_operator_key, revoke_operator_key)
