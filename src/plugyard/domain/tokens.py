"""What a token of an identity provider has to say, and who it makes of its holder (RFC 7519, RFC 9068)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from plugyard.domain.errors import Unauthenticated
from plugyard.domain.identity import Role

_MOST_SUBJECT = 200
_LATEST = 253_402_300_800  # seconds since 1970, at which the year 9999 ends
_TRUSTED_ROLES = {role.value: role for role in Role if role is not Role.OPERATOR}


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What the operator configured. ``roles`` maps what the claim says to our roles; the highest that is said holds.

    A claim is named by its key, or by keys joined with dots where it lies deeper. By default no token makes an
    operator.
    """

    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    roles_claim: str = "roles"
    roles: Mapping[str, Role] = field(default_factory=lambda: dict(_TRUSTED_ROLES))
    leeway: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whom a token names: ``tenant`` is the id or slug that it says, ``None`` only for an operator."""

    subject: str
    role: Role
    tenant: str | None
    expires_at: float  # seconds since 1970, as the claim has it


def bearer_of(claims: Mapping[str, Any], rules: TokenRules, now: datetime) -> Bearer:
    """Who holds a token whose signature is right; raises ``Unauthenticated`` with what is wrong with it."""
    if claims.get("iss") != rules.issuer:
        raise Unauthenticated("The token is of another issuer.")
    audience = claims.get("aud")
    if rules.audience not in (
        [audience] if isinstance(audience, str) else audience if isinstance(audience, list) else []
    ):
        raise Unauthenticated("The token is for another audience.")
    expires = _moment(claims, "exp", needed=True)
    at, leeway = now.timestamp(), rules.leeway.total_seconds()
    if expires is None or at >= expires + leeway:
        raise Unauthenticated("The token has expired.")
    for name in ("nbf", "iat"):
        moment = _moment(claims, name, needed=False)
        if moment is not None and moment > at + leeway:
            raise Unauthenticated(f"The token is of the future: {name} lies ahead.")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= _MOST_SUBJECT or not subject.isprintable():
        raise Unauthenticated("The token names no subject that could be shown.")
    role = _role(claims, rules)
    tenant = _claim(claims, rules.tenant_claim)
    if role is not Role.OPERATOR and (not isinstance(tenant, str) or not 0 < len(tenant) <= _MOST_SUBJECT):
        raise Unauthenticated(f"The token names no tenant in its claim {rules.tenant_claim}.")
    return Bearer(subject, role, tenant if isinstance(tenant, str) and role is not Role.OPERATOR else None, expires)


def _role(claims: Mapping[str, Any], rules: TokenRules) -> Role:
    said = _claim(claims, rules.roles_claim)
    words = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
    held = [rules.roles[word] for word in words if isinstance(word, str) and word in rules.roles]
    if not held:
        raise Unauthenticated(f"The token has no role in its claim {rules.roles_claim} that is known here.")
    return max(held, key=list(Role).index)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _moment(claims: Mapping[str, Any], name: str, *, needed: bool) -> float | None:
    value = claims.get(name)
    if value is None and not needed:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Unauthenticated(f"The token's claim {name} is {'missing' if value is None else 'no time'}.")
    # What is not finite compares as it likes, and a time in milliseconds lies beyond what a calendar has.
    if not 0 <= value < _LATEST:
        raise Unauthenticated(f"The token's claim {name} is no time in seconds.")
    return float(value)
