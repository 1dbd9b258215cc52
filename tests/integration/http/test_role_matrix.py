"""Every operation, for every role and without a key, on the caller's own things and on another tenant's.

The operations are those of the code and the roles those of ``LOWEST_ROLE``, so that neither a new operation nor a
change of the table can be forgotten. Bodies are the examples of the OpenAPI document.
"""

import base64
import json
import re
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugyard.cli.signing import SigningKey
from plugyard.domain.identity import Role, allows
from plugyard.http import openapi
from plugyard.http.answers import JSON
from plugyard.http.app import OPERATIONS
from plugyard.http.operations import Operation
from tests.integration.http.service import MISSING, Http
from tests.memory.sandbox import failed

DOCUMENT = openapi.document(OPERATIONS, "1.0.0")
# What lies in the marketplace is everybody's to see, and tenants are named by operators alone.
OF_ALL = {"listingId", "tenantId"}
FOREIGN_WORDS = "zebrafish"


@dataclass
class Things:
    """The ids of what a tenant has, by the name of the path's parameter."""

    ids: dict[str, str]

    def path(self, one: Operation) -> str:
        return re.sub(r"{(\w+)}", lambda match: self.ids.get(match[1], MISSING), one.path)


async def _things(http: Http, *, of: str = "", words: str = "greeter") -> Things:
    async with http.client(of=of) as client:
        fields = {
            "functions": {"greet": {"description": f"Tells of {words}."}},
            "api": {"endpoints": [{"method": "POST", "path": "/orders", "handler": "greet"}]},
        }
        plugin = await http.plugin(client, f"{words}-plugin", fields=fields)
        call = {"function": "greet", "input": {"say": words}}
        ran = (await client.post(f"/api/v1/plugins/{plugin}/execute", json=call)).json()
        http.world.executor.answer("greet", failed())
        letter = (await client.post(f"/api/v1/plugins/{plugin}/execute", json={**call, "mode": "async"})).json()
        await http.world.work()
        http.world.executor.scripts.clear()
        listing = (await client.post(f"/api/v1/plugins/{plugin}/publish", json={})).json()
        key = (await client.post("/api/v1/keys", json={"name": words, "role": "viewer"})).json()
        hook = {"name": words, "path": "/orders"}
        webhook = (await client.post(f"/api/v1/plugins/{plugin}/webhooks", json=hook)).json()
        tenant = (await client.get("/api/v1/tenant")).json()
        signs = SigningKey(Ed25519PrivateKey.generate())
        body = {"name": words, "publicKey": base64.b64encode(signs.public).decode(), "proof": signs.proof(tenant["id"])}
        publisher_key = (await client.post("/api/v1/publisher-keys", json=body)).json()
    ids = {
        "pluginId": plugin,
        "executionId": ran.get("executionId", MISSING),
        "deadLetterId": letter["executionId"],
        "listingId": listing.get("id", MISSING),
        "keyId": key.get("key", key).get("id", MISSING),
        "tenantId": tenant["id"],
        "publisherKeyId": publisher_key["id"],
        "webhookId": webhook["id"],
        "path": "greet",
        **dict.fromkeys(("version", "a", "b"), "1.0.0"),
    }
    return Things(ids)


def _body(http: Http, one: Operation) -> dict[str, Any]:
    """A body that the operation takes, as arguments for the client."""
    if not one.listed:
        return {}
    described = DOCUMENT["paths"][one.path][one.method.lower()].get("requestBody")
    if described is None:
        return {}
    media_type, content = next(iter(described["content"].items()))
    if media_type.startswith("multipart/"):
        return {"files": {"package": ("p.zip", http.package("another-one"))}}
    example = next(iter(content.get("examples", {}).values()), {"value": {}})["value"]
    return {"content": json.dumps(example), "headers": {"content-type": media_type or JSON}}


async def _asked(http: Http, client: Any, one: Operation, things: Things) -> httpx.Response:
    answer: httpx.Response = await client.request(one.method, things.path(one), **_body(http, one))
    return answer


def _name(one: Operation) -> str:
    return f"{one.method} {one.path}"


@pytest.mark.parametrize("one", OPERATIONS, ids=_name)
async def test_without_a_key_nothing_is_answered(http: Http, one: Operation) -> None:
    async with http.client(None) as client:
        answer = await _asked(http, client, one, Things({}))
    assert answer.status_code == 401, answer.text
    assert answer.json()["code"] == "unauthenticated"


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("one", OPERATIONS, ids=_name)
async def test_a_role_may_do_what_the_table_says_and_nothing_else(http: Http, one: Operation, role: Role) -> None:
    await http.tenant("seller")
    seller = await _things(http, of="seller", words="offered")
    own = await _things(http)
    # Nobody rates or installs what is the own tenant's.
    own.ids["listingId"] = seller.ids["listingId"]
    if one.path.endswith("/rating"):
        async with http.client() as client:
            await client.post(f"/api/v1/plugins/marketplace/{own.ids['listingId']}/install", json={})
    headers = {"Plugyard-Tenant": "acme"} if role is Role.OPERATOR else {}
    async with http.client(role, **headers) as client:
        answer = await _asked(http, client, one, own)
    if one.action is None or allows(role, one.action):
        assert answer.status_code not in (401, 403), answer.text
        assert answer.status_code < 500 or answer.status_code == 501, answer.text
    else:
        assert answer.status_code == 403, answer.text
        assert answer.json()["code"] == "forbidden"


def _without_what_differs(answer: httpx.Response, things: Things) -> str:
    """The answer's text without the ids that were asked for and the request's own."""
    text = answer.text
    for given in (*things.ids.values(), MISSING):
        if len(given) >= len(MISSING):
            text = text.replace(given, "ID")
    return re.sub(r'"requestId":\s*"[^"]*"', "", text)


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "one",
    [one for one in OPERATIONS if {"pluginId", "executionId", "keyId", "publisherKeyId"} & set(one.path_names)],
    ids=_name,
)
async def test_anothers_things_answer_as_missing_ones_do(http: Http, one: Operation, role: Role) -> None:
    await http.tenant("other")
    foreign = await _things(http, of="other", words=FOREIGN_WORDS)
    missing = Things({name: value for name, value in foreign.ids.items() if name in ("path", "version", "a", "b")})
    headers = {"Plugyard-Tenant": "acme"} if role is Role.OPERATOR else {}
    async with http.client(role, **headers) as client:
        answered = await _asked(http, client, one, foreign)
        as_missing = await _asked(http, client, one, missing)
    assert answered.status_code == as_missing.status_code
    assert _without_what_differs(answered, foreign) == _without_what_differs(as_missing, foreign)
    assert answered.status_code in (403, 404, 422, 501), answered.text


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(
    "one", [one for one in OPERATIONS if one.method == "GET" and not set(one.path_names) - {"path"}], ids=_name
)
async def test_no_list_holds_a_word_of_another_tenant(http: Http, one: Operation, role: Role) -> None:
    if "/marketplace" in one.path:
        pytest.skip("the marketplace is everybody's to see")
    await http.tenant("other")
    await _things(http, of="other", words=FOREIGN_WORDS)
    await _things(http)
    headers = {"Plugyard-Tenant": "acme"} if role is Role.OPERATOR else {}
    async with http.client(role, **headers) as client:
        answer = await _asked(http, client, one, Things({}))
    assert FOREIGN_WORDS not in answer.text
