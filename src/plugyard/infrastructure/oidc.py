"""The keys of an OpenID Connect issuer, and tokens checked with them. The port ``TokenVerifier``.

Sources: OpenID Connect Discovery 1.0, RFC 7515 (JWS), RFC 7517 (JWK), RFC 8725 (JWT best practice).
"""

import asyncio
import base64
import binascii
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
import structlog

from plugyard.domain.errors import IdentityUnavailable, Unauthenticated

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""The algorithms that may be configured: signatures by public keys alone."""

_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
# Headers by which a token could bring its own key, or ask for rules that are not known here.
_FORBIDDEN = frozenset({"jwk", "jku", "x5u", "x5c", "crit", "zip", "enc"})
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_MOST_BYTES = 1 << 20
_LEAST_RSA_BITS = 2_048
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_NOT_VALID = "The token is not valid."
log = structlog.get_logger("plugyard.oidc")


@dataclass(frozen=True, slots=True)
class OidcSettings:
    """Whose tokens are taken. Times in seconds: keys are fetched again after ``cache_s``, never twice within
    ``pause_s``, within ``timeout_s`` as a whole, and are used for ``stale_s`` where the issuer does not answer."""

    issuer: str
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    jwks_url: str | None = None
    cache_s: float = 300.0
    pause_s: float = 10.0
    stale_s: float = 86_400.0
    timeout_s: float = 5.0

    def __post_init__(self) -> None:
        unknown = [one for one in self.algorithms if one not in ALGORITHMS]
        if unknown or not self.algorithms:
            raise ValueError(
                f"no such algorithm for tokens: {', '.join(unknown) or 'none'}; there are {', '.join(ALGORITHMS)}"
            )
        for url in (self.issuer, *([self.jwks_url] if self.jwks_url else [])):
            check_url(url)


def check_url(url: str) -> None:
    """Raise ``ValueError`` unless the address is https, or http on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise ValueError(f"{url} must begin with https://")


class JwksVerifier:
    """Checks tokens with the issuer's keys; ``clock`` gives monotonic seconds."""

    def __init__(self, settings: OidcSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings, self._clock = settings, clock
        self._keys: dict[str, list[Any]] = {}  # by kid; keys without one under the empty text
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._first_tried_at: float | None = None
        self._lock = asyncio.Lock()
        self.failures = 0

    @property
    def keys_age_s(self) -> float:
        """How long ago the issuer gave its keys, or was first asked for them; 0 before anybody has shown a token."""
        since = self._first_tried_at if self._fetched_at is None else self._fetched_at
        return 0.0 if since is None else self._clock() - since

    async def claims(self, token: str) -> Mapping[str, Any]:
        """The claims of a token whose signature is right; raises ``Unauthenticated``, ``IdentityUnavailable``."""
        header = _header(token)
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._settings.algorithms:
            raise Unauthenticated("The token is signed by an algorithm that is not accepted.")
        if _FORBIDDEN & header.keys():
            raise Unauthenticated("The token's header holds what is not accepted.")
        if str(header.get("typ", "JWT")).lower() not in _TYPES:
            raise Unauthenticated("The token is of another type than a JWT for access.")
        kid = header.get("kid", "")
        if not isinstance(kid, str):
            raise Unauthenticated(_NOT_VALID)
        for key in await self._candidates(kid, algorithm):
            claims = _verified(token, key, algorithm)
            if claims is not None:
                return claims
        raise Unauthenticated(_NOT_VALID)

    async def _candidates(self, kid: str, algorithm: str) -> list[Any]:
        if self._is_old() or not self._matching(kid, algorithm):
            await self._refresh()
        if self._fetched_at is None:
            raise IdentityUnavailable()
        if self._clock() - self._fetched_at > self._settings.stale_s:
            raise IdentityUnavailable("The identity provider has not given its keys for too long.")
        return self._matching(kid, algorithm)

    def _matching(self, kid: str, algorithm: str) -> list[Any]:
        known = self._keys.get(kid, []) if kid else [key for keys in self._keys.values() for key in keys]
        return [key for key in known if _fits(key, algorithm)]

    def _is_old(self) -> bool:
        return self._fetched_at is None or self._clock() - self._fetched_at > self._settings.cache_s

    async def _refresh(self) -> None:
        """Fetch the keys, unless that was tried a moment ago: unknown keys must not become a flood of requests."""
        async with self._lock:
            now = self._clock()
            if self._tried_at is not None and now - self._tried_at < self._settings.pause_s:
                return
            self._tried_at = now
            self._first_tried_at = self._first_tried_at or now
            try:
                # The client's own limit is for each read; an issuer that drips must not hold those who wait.
                async with asyncio.timeout(self._settings.timeout_s):
                    self._keys = await self._fetch()
                self._fetched_at = self._clock()
            except Exception as error:
                self.failures += 1
                log.warning(
                    "the issuer's keys could not be fetched",
                    issuer=self._settings.issuer,
                    why=(str(error) or type(error).__name__)[:300],
                )

    async def _fetch(self) -> dict[str, list[Any]]:
        import httpx

        async with httpx.AsyncClient(timeout=self._settings.timeout_s, follow_redirects=False) as client:
            url = self._settings.jwks_url
            if url is None:
                found = await _json(client, f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._settings.issuer:
                    raise ValueError(f"the discovery document names the issuer {found.get('issuer')!r}")
                url = str(found.get("jwks_uri"))
                check_url(url)
            document = await _json(client, url)
        keys: dict[str, list[Any]] = {}
        for one in document.get("keys", []):
            key = _imported(one)
            if key is not None:
                keys.setdefault(str(one.get("kid", "")), []).append(key)
        if not keys:
            raise ValueError("the issuer has no key that could be used")
        return keys


async def _json(client: Any, url: str) -> dict[str, Any]:
    data = b""
    async with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
        if answer.status_code != 200:
            raise ValueError(f"{url} answered {answer.status_code}")
        async for piece in answer.aiter_bytes():
            data += piece
            if len(data) > _MOST_BYTES:
                raise ValueError(f"{url} answered more than {_MOST_BYTES} bytes")
    document = msgspec.json.decode(data)
    if not isinstance(document, dict):
        raise ValueError(f"{url} answered no object")  # noqa: TRY004 - it is the issuer's document that is wrong
    return document


def _imported(document: Any) -> Any:
    """A public key for signatures, or ``None``: one of another kind or use is left out, and so is one that is weak."""
    from joserfc import jwk
    from joserfc.errors import JoseError

    if not isinstance(document, dict) or document.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    if document.get("use", "sig") != "sig" or "verify" not in document.get("key_ops", ["verify"]):
        return None
    try:
        key = jwk.import_key({name: value for name, value in document.items() if name not in ("use", "key_ops")})
        if document["kty"] == "RSA" and key.public_key.key_size < _LEAST_RSA_BITS:  # type: ignore[union-attr]
            return None
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return key


def _fits(key: Any, algorithm: str) -> bool:
    if key.key_type != _KEY_TYPES[algorithm[:2]]:
        return False
    return key.as_dict(private=False).get("alg", algorithm) in (
        algorithm,
        "EdDSA" if algorithm == "Ed25519" else algorithm,
    )


def _verified(token: str, key: Any, algorithm: str) -> Mapping[str, Any] | None:
    from joserfc import jwt
    from joserfc.errors import JoseError

    try:
        with warnings.catch_warnings():
            # EdDSA is the name that issuers use; its successor's is taken as well.
            warnings.simplefilter("ignore")
            claims = jwt.decode(token, key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError):
        return None
    return claims if isinstance(claims, dict) else None


def _header(token: str) -> dict[str, Any]:
    first = token.partition(".")[0]
    try:
        header = msgspec.json.decode(base64.urlsafe_b64decode(first + "=" * (-len(first) % 4)))
    except (binascii.Error, ValueError, msgspec.DecodeError, RecursionError) as error:
        raise Unauthenticated(_NOT_VALID) from error
    if not isinstance(header, dict):
        raise Unauthenticated(_NOT_VALID)
    return header
