"""Publishers and their keys over HTTP: what stands behind a signature."""

from starlette.types import ASGIApp

from plugyard.application import signing
from plugyard.domain.identity import Action
from plugyard.http import commands, examples, present, trust, views
from plugyard.http.answers import json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, in_utc, page_of

_TAG = "Publishers"
_KEYS = "/api/v1/publisher-keys"
_OF_TENANT = "/api/v1/tenants/{tenantId}/publisher"


@operation(
    "GET",
    _KEYS,
    tag=_TAG,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.PublisherKeyView], examples.page_of(examples.PUBLISHER_KEY))],
)
async def list_publisher_keys(exchange: Exchange) -> ASGIApp:
    """List the keys that the tenant's packages are signed with, newest first, revoked ones too."""
    found = await signing.publisher_keys(exchange.platform, exchange.caller, page_of(exchange.query))
    return json_answer(present.page(found, trust.publisher_key))


@operation(
    "POST",
    _KEYS,
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    body=Body(
        commands.RegisterPublisherKey,
        examples={
            "a key": {
                "name": "release machine",
                "publicKey": examples.PUBLIC_KEY,
                "proof": examples.SIGNATURE["value"],
            }
        },
    ),
    replies=[Reply(201, "The key.", views.PublisherKeyView, examples.PUBLISHER_KEY)],
    problems=["conflict", "signature_invalid"],
)
async def register_publisher_key(exchange: Exchange) -> ASGIApp:
    """Register an Ed25519 key that signs packages.

    `proof` is the key's own signature of a text that names the tenant, so that nobody registers what another holds.
    `plugyard keygen` makes both; docs/signatures.md shows it with openssl. The id is the SHA-256 of the 32 bytes.
    """
    asked = await exchange.body(commands.RegisterPublisherKey)
    key = await signing.register_key(exchange.platform, exchange.caller, asked.name, asked.public_key, asked.proof)
    return json_answer(trust.publisher_key(key), status=201)


@operation(
    "GET",
    _KEYS + "/{publisherKeyId}",
    tag=_TAG,
    replies=[Reply(200, "The key.", views.PublisherKeyView, examples.PUBLISHER_KEY)],
    problems=["not_found"],
)
async def get_publisher_key(exchange: Exchange) -> ASGIApp:
    """Show one publisher key."""
    key = await signing.publisher_key(exchange.platform, exchange.caller, exchange.digest("publisherKeyId"))
    return json_answer(trust.publisher_key(key))


@operation(
    "POST",
    _KEYS + "/{publisherKeyId}/revoke",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    body=Body(
        commands.RevokePublisherKey,
        examples={
            "from now on": {"reason": "The machine is retired."},
            "since it leaked": {"reason": "The machine was broken into.", "invalidFrom": examples.MOMENT},
        },
    ),
    replies=[
        Reply(
            200,
            "The key, revoked.",
            views.PublisherKeyView,
            {
                **examples.PUBLISHER_KEY,
                "revokedAt": examples.MOMENT,
                "invalidFrom": examples.MOMENT,
                "revokedBecause": "The machine is retired.",
            },
        )
    ],
    problems=["not_found", "conflict"],
)
async def revoke_publisher_key(exchange: Exchange) -> ASGIApp:
    """Revoke a publisher key.

    No upload is signed with it from now on. What the service took in before `invalidFrom` stays signed; what came later
    counts as not signed, wherever it is shown and demanded. Revoking again may only reach further back.
    """
    asked = await exchange.body(commands.RevokePublisherKey)
    since = None if asked.invalid_from is None else in_utc(asked.invalid_from)
    key_id = exchange.digest("publisherKeyId")
    key = await signing.revoke_publisher_key(exchange.platform, exchange.caller, key_id, asked.reason, since)
    return json_answer(trust.publisher_key(key))


@operation(
    "GET",
    "/api/v1/publisher",
    tag=_TAG,
    replies=[Reply(200, "The publisher.", views.PublisherView, examples.PUBLISHER)],
    problems=["not_found"],
)
async def own_publisher(exchange: Exchange) -> ASGIApp:
    """Show the name that the tenant publishes by, and whether the operator vouches for it."""
    return json_answer(trust.publisher(await signing.own_publisher(exchange.platform, exchange.caller)))


@operation(
    "GET",
    _OF_TENANT,
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    replies=[Reply(200, "The publisher.", views.PublisherView, examples.PUBLISHER)],
    problems=["not_found"],
)
async def get_publisher(exchange: Exchange) -> ASGIApp:
    """Show the name that a tenant publishes by."""
    found = await signing.publisher(exchange.platform, exchange.caller, exchange.id("tenantId"))
    return json_answer(trust.publisher(found))


@operation(
    "PUT",
    _OF_TENANT,
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    body=Body(commands.NamePublisher, examples={"after a look": {"name": "Lovelace & Co.", "verified": True}}),
    replies=[Reply(200, "The publisher as it is now.", views.PublisherView, examples.PUBLISHER)],
    problems=["not_found", "name_taken"],
)
async def name_publisher(exchange: Exchange) -> ASGIApp:
    """Name a tenant as a publisher, and vouch for the name, or cease to.

    `verifiedPublisher` is true from now on wherever its plugins are shown, installed copies included.
    """
    asked = await exchange.body(commands.NamePublisher)
    tenant_id = exchange.id("tenantId")
    named = await signing.set_publisher(
        exchange.platform, exchange.caller, tenant_id, asked.name, verified=asked.verified
    )
    return json_answer(trust.publisher(named))


OPERATIONS = (
    list_publisher_keys,
    register_publisher_key,
    get_publisher_key,
    revoke_publisher_key,
    own_publisher,
    get_publisher,
    name_publisher,
)
