"""Measures what it costs to know a caller: a warm API key, a warm token, and a token that is checked anew.

    uv run python -m benchmarks.keys

The parts that serve requests, in this process, on a store and a token verifier that answer at once: warm, neither is
asked. Medians of many calls, in microseconds.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

from joserfc import jwk, jwt

from plugyard.application.keys import authenticate, new_secret
from plugyard.application.platform import Platform, Policies
from plugyard.application.tokens import authenticate_token
from plugyard.domain.identity import ApiKey, Role, Tenant
from plugyard.domain.tokens import TokenRules
from plugyard.infrastructure.oidc import JwksVerifier, OidcSettings

BOUND_US, CALLS = 50.0, 20_000
ISSUER, AUDIENCE = "https://login.acme.example", "https://plugins.acme.example"
TENANT = "01a1f0c4-7a10-7000-8000-000000000001"


class Store:
    """Answers at once, as a warm path never asks."""

    async def key_by_hash(self, secret_hash: bytes) -> ApiKey:
        return ApiKey("k", TENANT, "bench", Role.DEVELOPER, datetime.now(UTC), last_used_at=datetime.now(UTC))

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        return None

    @asynccontextmanager
    async def for_operator(self) -> Any:
        yield self

    async def tenant_by_slug(self, slug: str) -> Tenant:
        return Tenant(TENANT, slug, slug, datetime.now(UTC))


def platform(cache_s: float) -> Platform:
    """Only what knowing a caller needs."""
    rules = TokenRules(ISSUER, AUDIENCE)
    nothing = cast("Any", None)
    return Platform(
        cast("Any", Store()),
        *[nothing] * 5,
        lambda: datetime.now(UTC),
        lambda: "id",
        b"pepper",
        replace(Policies(), tokens=rules, key_cache_s=cache_s, token_cache_s=cache_s),
    )


async def median_us(call: Callable[[], Awaitable[Any]], calls: int) -> float:
    """The median of single calls."""
    took = []
    for _ in range(calls):
        began = time.perf_counter_ns()
        await call()
        took.append(time.perf_counter_ns() - began)
    return statistics.median(took) / 1000


async def measure() -> dict[str, float]:
    """Everything, one after another."""
    key = jwk.RSAKey.generate_key(2048)
    verifier = JwksVerifier(OidcSettings(ISSUER))
    verifier._keys, verifier._fetched_at = {"one": [key]}, time.monotonic()
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": now + 600, "tenant": "acme", "roles": ["developer"]}
    token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, key, algorithms=["RS256"])
    secret = new_secret()
    warm, cold = replace(platform(600), tokens=verifier), replace(platform(0), tokens=verifier)
    return {
        "warm API key": await median_us(lambda: authenticate(warm, secret, request_id="r"), CALLS),
        "warm token": await median_us(lambda: authenticate_token(warm, token, request_id="r"), CALLS),
        "token checked anew (RS256)": await median_us(lambda: authenticate_token(cold, token, request_id="r"), 2_000),
    }


def main() -> None:
    """Measure, print, and end with 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    found = asyncio.run(measure())
    if parser.parse_args().json:
        print(json.dumps(found, indent=2))
    else:
        for name, took in found.items():
            print(f"{name:28} {took:8.1f} us" + (f"   bound {BOUND_US:g}" if name.startswith("warm") else ""))
    raise SystemExit(any(took > BOUND_US for name, took in found.items() if name.startswith("warm")))


if __name__ == "__main__":
    main()
