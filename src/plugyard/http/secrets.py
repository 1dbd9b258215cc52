"""Sealed secrets over HTTP, for operators alone: which keys there are, and a rotation, step by step."""

from typing import Annotated

import msgspec
from starlette.types import ASGIApp

from plugyard.application import secrets
from plugyard.domain.identity import Action
from plugyard.http import examples
from plugyard.http.answers import json_answer
from plugyard.http.commands import Command
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.view import View

_TAG = "Keys and tenants"
_UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class RotateSecrets(Command, frozen=True):
    """Behind which plugin to go on, as the step before said (null: at the beginning), and how many to seal at most."""

    after: Annotated[str, msgspec.Meta(pattern=_UUID, max_length=36)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 500


class SecretKeyView(View, frozen=True):
    """A key by its id, and how many plugins' secrets it seals. ``seals`` is true for the one that seals now."""

    id: str
    seals: bool
    plugins: int


class SecretKeysView(View, frozen=True):
    """Every key that the service has, and those that it lacks and something is sealed with."""

    keys: list[SecretKeyView]


class LockedView(View, frozen=True):
    """A plugin whose secrets no key of the service opens."""

    tenant_id: str
    plugin_id: str
    key_id: str


class RotatedView(View, frozen=True):
    """A step of the rotation; ``next`` is null at the end."""

    key_id: str
    sealed: int
    locked: list[LockedView]
    next: str | None


@operation(
    "GET",
    "/api/v1/secrets",
    tag=_TAG,
    action=Action.MANAGE_SECRETS,
    replies=[
        Reply(200, "The keys.", SecretKeysView, {"keys": [{"id": "2026-11", "seals": True, "plugins": 12}]}),
    ],
)
async def list_secret_keys(exchange: Exchange) -> ASGIApp:
    """List the keys that seal plugins' secrets, by their ids."""
    found = await secrets.secret_keys(exchange.platform, exchange.caller)
    views = [SecretKeyView(id=key_id, seals=place == 0, plugins=n) for place, (key_id, n) in enumerate(found.items())]
    return json_answer(SecretKeysView(keys=views))


@operation(
    "POST",
    "/api/v1/secrets/rotate",
    tag=_TAG,
    action=Action.MANAGE_SECRETS,
    body=Body(
        RotateSecrets, required=False, examples={"the first step": {}, "the next": {"after": examples.PLUGIN_ID}}
    ),
    replies=[
        Reply(200, "What was sealed.", RotatedView, {"keyId": "2026-11", "sealed": 12, "locked": [], "next": None}),
    ],
)
async def rotate_secrets(exchange: Exchange) -> ASGIApp:
    """Seal plugins' secrets with the first key anew, some at a time.

    What the first key seals already is left alone, so a rotation that broke off goes on where it was. `plugyard secrets
    rotate` takes all the steps.
    """
    asked = await exchange.optional_body(RotateSecrets)
    done = await secrets.rotate(exchange.platform, exchange.caller, asked.after, asked.limit)
    locked = [LockedView(tenant_id=one.tenant_id, plugin_id=one.plugin_id, key_id=one.key_id) for one in done.locked]
    return json_answer(RotatedView(key_id=done.key_id, sealed=done.sealed, locked=locked, next=done.next))


OPERATIONS = (list_secret_keys, rotate_secrets)
