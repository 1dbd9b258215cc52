"""Tokens of an identity provider: what is accepted, and every way in which one is not."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from aiohttp import web
from joserfc import jwk, jwt

from plugyard.application.tokens import authenticate_token
from plugyard.domain.errors import IdentityUnavailable, NotFound, NotOffered, Unauthenticated
from plugyard.domain.identity import Caller, Role
from plugyard.domain.tokens import TokenRules
from plugyard.http.auth import caller_of
from plugyard.infrastructure.oidc import JwksVerifier, OidcSettings
from tests.memory.world import World

AUDIENCE = "https://plugins.acme.example"
pytestmark = pytest.mark.filterwarnings("ignore:EdDSA is deprecated")


@dataclass
class Issuer:
    """An issuer on loopback, whose keys and answers a test changes."""

    keys: dict[str, Any] = field(default_factory=dict)
    fetched: int = 0
    down: bool = False
    url: str = ""
    drips_s: float = 0.0
    answer: Callable[[], Any] | None = None

    def key(self, kid: str, kind: str = "RSA") -> Any:
        made = {
            "RSA": lambda: jwk.RSAKey.generate_key(2048),
            "EC": lambda: jwk.ECKey.generate_key("P-256"),
            "OKP": lambda: jwk.OKPKey.generate_key("Ed25519"),
        }[kind]()
        self.keys[kid] = made
        return made

    def token(self, kid: str = "one", algorithm: str = "RS256", header: Any = None, **changes: Any) -> str:
        claims = {
            "iss": self.url, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 300, "tenant": "acme",
            "roles": ["developer"], **changes,
        }  # fmt: skip
        claims = {name: value for name, value in claims.items() if value is not None}
        head = {"alg": algorithm, "kid": kid, **(header or {})}
        return jwt.encode(head, claims, self.keys[kid], algorithms=[algorithm])

    def jwks(self) -> dict[str, Any]:
        return {"keys": [{**key.as_dict(private=False), "kid": kid, "use": "sig"} for kid, key in self.keys.items()]}


async def _dripped(request: web.Request, for_s: float) -> web.StreamResponse:
    """An answer that never ends and never rests for long."""
    answer, until = web.StreamResponse(), time.monotonic() + for_s
    await answer.prepare(request)
    while time.monotonic() < until:
        await answer.write(b" ")
        await asyncio.sleep(0.05)
    return answer


@asynccontextmanager
async def _issuer() -> AsyncIterator[Issuer]:
    issuer = Issuer()

    async def discovery(request: web.Request) -> web.Response:
        if issuer.down:
            return web.Response(status=503)
        return web.json_response({"issuer": issuer.url, "jwks_uri": issuer.url + "/keys"})

    async def keys(request: web.Request) -> web.StreamResponse:
        issuer.fetched += 1
        if issuer.drips_s:
            return await _dripped(request, issuer.drips_s)
        if issuer.down:
            return web.Response(status=503)
        return web.json_response(issuer.answer() if issuer.answer else issuer.jwks())

    app = web.Application()
    app.add_routes([web.get("/.well-known/openid-configuration", discovery), web.get("/keys", keys)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    issuer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()


@dataclass
class Setting:
    """A world whose platform takes an issuer's tokens."""

    world: World
    issuer: Issuer
    now: list[float]

    async def who(self, token: str, wanted: str | None = None) -> Caller:
        return await authenticate_token(self.world.platform, token, request_id="r", wanted_tenant=wanted)


class Now:
    """The wall clock, for claims are made by it."""

    def __call__(self) -> Any:
        from datetime import UTC, datetime

        return datetime.now(UTC)


@pytest.fixture
async def there(tmp_path: Any) -> AsyncIterator[Setting]:
    async with _issuer() as issuer:
        issuer.key("one")
        world, now = World(tmp_path), [1000.0]
        await world.tenant("acme")
        await world.tenant("other")
        rules = TokenRules(issuer.url, AUDIENCE)
        policies = replace(world.platform.policies, tokens=rules, token_cache_s=0.0)
        verifier = JwksVerifier(OidcSettings(issuer.url), clock=lambda: now[0])
        world.platform = replace(world.platform, policies=policies, tokens=verifier, clock=Now())
        yield Setting(world, issuer, now)


async def test_a_token_says_who_asks_in_which_tenant_and_role(there: Setting) -> None:
    caller = await there.who(there.issuer.token())
    tenant = next(one for one in there.world.store.tables.tenants.values() if one.slug == "acme")
    assert caller == Caller("user:ada", Role.DEVELOPER, tenant.id, "r")
    by_id = await there.who(there.issuer.token(tenant=tenant.id, roles="viewer admin"))
    assert (by_id.tenant_id, by_id.role) == (tenant.id, Role.ADMIN)


@pytest.mark.parametrize(("kind", "algorithm"), [("EC", "ES256"), ("OKP", "EdDSA")])
async def test_other_kinds_of_keys_are_taken(there: Setting, kind: str, algorithm: str) -> None:
    there.issuer.key("two", kind)
    assert (await there.who(there.issuer.token("two", algorithm))).actor == "user:ada"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"aud": "https://elsewhere.example"}, "another audience"),
        ({"aud": None}, "another audience"),
        ({"exp": None}, "exp is missing"),
        ({"exp": True}, "exp is no time"),
        ({"exp": int(time.time() * 1000)}, "exp is no time"),
        ({"exp": float("inf")}, "exp is no time"),
        ({"exp": float("nan")}, "exp is no time"),
        ({"exp": 10**400}, "exp is no time"),
        ({"nbf": float("nan")}, "nbf is no time"),
        ({"exp": int(time.time()) - 3600}, "expired"),
        ({"nbf": int(time.time()) + 3600}, "nbf lies ahead"),
        ({"iat": int(time.time()) + 3600}, "iat lies ahead"),
        ({"sub": None}, "no subject"),
        ({"sub": "a\nb"}, "no subject"),
        ({"sub": "a" * 500}, "no subject"),
        ({"tenant": None}, "names no tenant"),
        ({"tenant": "nowhere"}, "not known here"),
        ({"roles": None}, "no role"),
        ({"roles": ["operator"]}, "no role"),
        ({"roles": ["owner"]}, "no role"),
    ],
    ids=lambda one: one if isinstance(one, str) else next(iter(one)),
)
async def test_a_claim_that_is_wrong_is_named(there: Setting, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Unauthenticated, match=said):
        await there.who(there.issuer.token(**changes))


async def test_a_token_signed_by_anothers_key_is_refused(there: Setting) -> None:
    token = there.issuer.token()
    there.issuer.key("one")
    foreign = there.issuer.token()
    there.issuer.keys["one"] = None
    head, body, _ = token.split(".")
    for bad in (foreign, f"{head}.{body}.", f"{head}.{body}.AAAA", f"a.{body}.b", "e30.e30.e30", "..", "a.b.c"):
        there.issuer.keys = {"one": jwk.RSAKey.generate_key(2048)}
        with pytest.raises(Unauthenticated):
            await there.who(bad)


def _part(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_no_algorithm_and_a_public_key_as_a_secret_are_refused(there: Setting) -> None:
    await there.who(there.issuer.token())
    claims = there.issuer.token().split(".")[1]
    with pytest.raises(Unauthenticated, match="algorithm"):
        await there.who(f"{_part({'alg': 'none', 'kid': 'one'})}.{claims}.AA")
    public = there.issuer.keys["one"].as_pem(private=False)
    secret = jwk.OctKey.import_key(base64.b64encode(public).decode())
    confused = jwt.encode({"alg": "HS256", "kid": "one"}, {"sub": "ada"}, secret, algorithms=["HS256"])
    with pytest.raises(Unauthenticated, match="algorithm"):
        await there.who(confused)
    with pytest.raises(ValueError, match="no such algorithm"):
        OidcSettings(there.issuer.url, algorithms=("HS256",))


@pytest.mark.parametrize(
    "header",
    [
        {"jwk": {"kty": "RSA"}},
        {"jku": "https://evil.example"},
        {"x5u": "https://e.example"},
        {"crit": ["b64"], "b64": False},
        {"zip": "DEF"},
    ],
)
async def test_a_token_that_brings_its_own_key_is_refused(there: Setting, header: dict[str, Any]) -> None:
    _, body, signature = there.issuer.token().split(".")
    head = _part({"alg": "RS256", "kid": "one", **header})
    with pytest.raises(Unauthenticated, match="header holds"):
        await there.who(f"{head}.{body}.{signature}")
    with pytest.raises(Unauthenticated, match="another type"):
        await there.who(f"{_part({'alg': 'RS256', 'typ': 'dpop+jwt'})}.{body}.{signature}")


async def test_a_rotated_key_is_fetched_once_and_one_that_was_taken_away_stops(there: Setting) -> None:
    await there.who(there.issuer.token())
    old = there.issuer.token()
    there.issuer.key("two")
    there.now[0] += 11
    assert (await there.who(there.issuer.token("two"))).actor == "user:ada"
    assert there.issuer.fetched == 2
    del there.issuer.keys["one"]
    assert (await there.who(old)).actor == "user:ada"
    there.now[0] += 301
    with pytest.raises(Unauthenticated):
        await there.who(old)


async def test_a_flood_of_unknown_keys_is_no_flood_of_requests(there: Setting) -> None:
    token = there.issuer.token()
    _, body, signature = token.split(".")
    await there.who(token)
    there.now[0] += 11
    for number in range(50):
        with pytest.raises(Unauthenticated):
            await there.who(f"{_part({'alg': 'RS256', 'kid': f'k{number}'})}.{body}.{signature}")
    assert there.issuer.fetched == 2


async def test_known_keys_go_on_while_the_issuer_is_down_and_nothing_is_known_before(there: Setting) -> None:
    there.issuer.down = True
    with pytest.raises(IdentityUnavailable):
        await there.who(there.issuer.token())
    there.issuer.down = False
    there.now[0] += 11
    await there.who(there.issuer.token())
    there.issuer.down = True
    there.now[0] += 400
    assert (await there.who(there.issuer.token())).actor == "user:ada"
    there.now[0] += 86_400
    with pytest.raises(IdentityUnavailable, match="too long"):
        await there.who(there.issuer.token())


@pytest.mark.parametrize(
    "document",
    [
        {"keys": []},
        {"keys": "x"},
        {"keys": [{"kty": "oct", "k": "AAAA"}]},
        {"keys": [{"kty": "RSA", "n": "AQ", "e": "AQ"}]},
    ],
    ids=str,
)
async def test_an_issuer_without_a_key_of_use_is_unavailable(there: Setting, document: Any) -> None:
    there.issuer.answer = lambda: document
    with pytest.raises(IdentityUnavailable):
        await there.who(there.issuer.token())


async def test_many_at_once_fetch_the_keys_once(there: Setting) -> None:
    token = there.issuer.token()
    assert len(await asyncio.gather(*(there.who(token) for _ in range(20)))) == 20
    assert there.issuer.fetched == 1


async def test_an_issuer_that_drips_holds_nobody_for_longer_than_its_time(there: Setting) -> None:
    token = there.issuer.token()
    verifier = JwksVerifier(OidcSettings(there.issuer.url, timeout_s=0.5), clock=lambda: there.now[0])
    there.world.platform = replace(there.world.platform, tokens=verifier)
    await there.who(token)
    there.issuer.drips_s = 8.0
    there.now[0] += 400
    began = time.monotonic()
    assert (await there.who(token)).actor == "user:ada"
    assert time.monotonic() - began < 4


async def test_of_tokens_that_were_checked_only_so_many_are_kept(
    there: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugyard.application.tokens._MOST_KNOWN", 3)
    for number in range(5):
        await there.who(there.issuer.token(jti=str(number)))
    assert len(there.world.platform.known_tokens) == 3


async def test_a_token_that_is_refused_after_its_signature_held_tells_the_trail_whose_it_was(there: Setting) -> None:
    with pytest.raises(Unauthenticated) as caught:
        await there.who(there.issuer.token(exp=int(time.time()) - 3600))
    assert (caught.value.actor, caught.value.reason) == ("user:ada", "The token has expired.")
    with pytest.raises(Unauthenticated) as caught:
        await there.who(there.issuer.token(sub="a\nb"))
    assert caught.value.actor is None, "what cannot be shown is not written down"
    head, body, _ = there.issuer.token().split(".")
    with pytest.raises(Unauthenticated) as caught:
        await there.who(f"{head}.{body}.AAAA")
    assert caught.value.actor is None, "nobody is accused by a token that anybody can write"


async def test_an_oversized_token_is_refused_unread(there: Setting) -> None:
    token = there.issuer.token(padding="x" * 20_000)
    with pytest.raises(Unauthenticated):
        await caller_of(there.world.platform, {"authorization": f"Bearer {token}"}, "r")
    assert there.issuer.fetched == 0
    token = there.issuer.token(padding="x" * 5_000)
    found = await caller_of(there.world.platform, {"authorization": f"Bearer {token}"}, "r")
    assert found.actor == "user:ada"


async def test_a_token_reaches_no_other_tenant(there: Setting) -> None:
    token = there.issuer.token()
    assert (await there.who(token, "acme")).actor == "user:ada"
    for wanted in ("other", "nowhere"):
        with pytest.raises(NotFound):
            await there.who(token, wanted)


async def test_only_a_mapping_makes_an_operator(there: Setting) -> None:
    rules = TokenRules(there.issuer.url, AUDIENCE, roles={"platform-team": Role.OPERATOR}, roles_claim="realm.roles")
    there.world.platform = replace(there.world.platform, policies=replace(there.world.platform.policies, tokens=rules))
    token = there.issuer.token(realm={"roles": ["platform-team"]}, tenant=None)
    assert (await there.who(token)).tenant_id is None
    caller = await there.who(token, "other")
    assert caller.role is Role.OPERATOR
    assert caller.tenant_id is not None
    with pytest.raises(NotFound):
        await there.who(token, "nowhere")


async def test_a_checked_token_is_known_again_until_it_expires(there: Setting) -> None:
    policies = replace(there.world.platform.policies, token_cache_s=60.0)
    there.world.platform = replace(there.world.platform, policies=policies)
    token = there.issuer.token()
    first = await there.who(token)
    there.issuer.down = True
    there.now[0] += 100_000
    assert await there.who(token) == first


async def test_without_an_issuer_a_token_is_not_taken(there: Setting) -> None:
    there.world.platform = replace(there.world.platform, tokens=None)
    with pytest.raises(NotOffered, match="oidc_issuer"):
        await there.who(there.issuer.token())


@pytest.mark.parametrize("url", ["http://issuer.example", "ftp://x", "issuer"])
def test_an_issuer_must_be_reached_by_https(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        OidcSettings(url)
