"""Tokens of the platform's identity provider: who holds one, and in which tenant.

``http/auth.py`` calls ``authenticate_token`` for a bearer token in three parts.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from plugyard.application.platform import Platform
from plugyard.domain.errors import NotFound, NotOffered, Unauthenticated
from plugyard.domain.identity import Caller, Role
from plugyard.domain.tokens import Bearer, TokenRules, bearer_of

_MOST_KNOWN = 10_000


async def authenticate_token(
    platform: Platform, token: str, *, request_id: str, wanted_tenant: str | None = None
) -> Caller:
    """Who holds the token. Raises ``Unauthenticated``, ``NotOffered`` where no issuer is configured.

    A token that was checked is known again by its hash for a moment, at most until it expires.
    """
    rules, verifier = platform.policies.tokens, platform.tokens
    if rules is None or verifier is None:
        raise NotOffered("No identity provider is configured here (oidc_issuer); send an API key.")
    now = platform.clock()
    known, name = platform.known_tokens, hashlib.blake2b(token.encode(), digest_size=32).digest()
    held = known.get(name)
    if held is not None and now < held[0]:
        actor, role, tenant_id = held[1]
    else:
        bearer = _bearer(await verifier.claims(token), rules, now)
        tenant_id = None if bearer.tenant is None else await _tenant(platform, bearer.tenant)
        actor, role = f"user:{bearer.subject}", bearer.role
        kept = now + timedelta(seconds=platform.policies.token_cache_s)
        # An issuer gives new tokens without end; what is known longest goes.
        if name not in known and len(known) >= _MOST_KNOWN:
            del known[next(iter(known))]
        known[name] = (
            min(kept, datetime.fromtimestamp(bearer.expires_at, UTC)),
            (actor, role, tenant_id),
        )
    if wanted_tenant is None:
        return Caller(actor, role, tenant_id, request_id)
    wanted = await _tenant_id(platform, wanted_tenant)
    if role is Role.OPERATOR and tenant_id is None:
        if wanted is None:
            raise NotFound("There is no tenant of this name.")
        return Caller(actor, role, wanted, request_id)
    if wanted != tenant_id:
        raise NotFound("There is no tenant of this name.")
    return Caller(actor, role, tenant_id, request_id)


def _bearer(claims: Mapping[str, Any], rules: TokenRules, now: datetime) -> Bearer:
    """Whom the claims name, whose signature is right; a refusal tells the trail whose token it was."""
    try:
        return bearer_of(claims, rules, now)
    except Unauthenticated as error:
        subject = claims.get("sub")
        actor = (
            f"user:{subject}" if isinstance(subject, str) and subject.isprintable() and len(subject) <= 200 else None
        )
        raise Unauthenticated(error.message, actor=actor, reason=error.message) from error


async def _tenant(platform: Platform, name: str) -> str:
    tenant_id = await _tenant_id(platform, name)
    if tenant_id is None:
        raise Unauthenticated("The token names a tenant that is not known here.")
    return tenant_id


async def _tenant_id(platform: Platform, name: str) -> str | None:
    async with platform.store.for_operator() as tx:
        tenant = await tx.tenant_by_slug(name) or await tx.tenant(name)
    return None if tenant is None else tenant.id
