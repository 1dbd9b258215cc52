"""How many requests of which kind a key and its tenant may send, and how answers tell of it.

``operations.py`` asks for every request behind a key. The counting is behind ``Rates``, which
``infrastructure/rates.py`` does; here is which policies hold, what a refusal says, and the two header fields of
draft-ietf-httpapi-ratelimit-headers-11: ``RateLimit-Policy`` with what is allowed and ``RateLimit`` with what is left.
"""

import math
import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Protocol

from plugyard.domain.errors import PlugyardError
from plugyard.domain.identity import Caller
from plugyard.domain.rates import WINDOW_S, Rate, RatePolicy

_KNOWN_CREDENTIALS = 10_000
Headers = list[tuple[bytes, bytes]]


class RateClass(StrEnum):
    """The kinds of requests. ``upload`` is for those that move whole archives, in or out."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    UPLOAD = "upload"


class Rates(Protocol):
    """Counts requests for whoever is named, under a policy."""

    def at_hand(self, policy: RatePolicy, who: str) -> Rate | None: ...
    # at_hand: count one from what was taken before, without waiting; None where `take` has to ask
    async def take(self, policy: RatePolicy, who: str, beside: tuple[RatePolicy, str] | None = None) -> Rate: ...

    # take: count one, asking whoever counts; ``beside`` is asked for right after, so that one round trip may do


class RateLimited(PlugyardError):
    """Too many requests within a short time."""

    code = "rate_limited"

    def __init__(self, message: str, policy: RatePolicy, retry_after_s: float) -> None:
        super().__init__(message)
        self.policy, self.retry_after_s = policy, retry_after_s


class RateLimits:
    """The policies of a service: for each class one for a key and one for its tenant, and one for failed credentials.

    A limit of 0 is none. ``trusted`` are the networks of proxies whose ``X-Forwarded-For`` is believed.
    """

    def __init__(
        self,
        rates: Rates,
        per_key: Mapping[RateClass, int],
        per_tenant: Mapping[RateClass, int],
        *,
        failures: int = 0,
        trusted: Sequence[IPv4Network | IPv6Network] = (),
    ) -> None:
        self._rates = rates
        self._of = {kind: _Pair(kind, per_key.get(kind, 0), per_tenant.get(kind, 0)) for kind in RateClass}
        self._failures = RatePolicy("failed-authentication", failures) if failures else None
        self._trusted = tuple(trusted)
        self._barred: dict[str, float] = {}
        self._known: dict[int, None] = {}

    async def admit(self, kind: RateClass, caller: Caller, state: dict[str, Any]) -> None:
        """Count a request; ``state`` gets the header fields of its answer. Raises ``RateLimited``."""
        pair, rates, tenant_id = self._of[kind], self._rates, caller.tenant_id
        told = b""
        if pair.key is not None:
            who = f"{tenant_id} {caller.actor}"
            rate = rates.at_hand(pair.key, who)
            if rate is None:
                next_ = (pair.tenant, tenant_id) if pair.tenant is not None and tenant_id is not None else None
                rate = await rates.take(pair.key, who, next_)
            told = b'"%b";r=%d;t=%d' % (pair.key_name, rate.remaining, math.ceil(rate.resets_in_s))
            if not rate.allowed:
                state["rate"] = pair.headers(told)
                raise _refusal(pair.key, rate, "this key")
        if pair.tenant is not None and tenant_id is not None:
            rate = rates.at_hand(pair.tenant, tenant_id) or await rates.take(pair.tenant, tenant_id)
            more = b'"%b";r=%d;t=%d' % (pair.tenant_name, rate.remaining, math.ceil(rate.resets_in_s))
            told = told + b", " + more if told else more
            if not rate.allowed:
                state["rate"] = pair.headers(told)
                raise _refusal(pair.tenant, rate, "the tenant")
        if told:
            state["rate"] = pair.headers(told)

    # --- credentials that are wrong -----------------------------------------------------------------------------------

    def check_address(self, scope: Any, headers: Mapping[str, str], at: str = "") -> None:
        """Raise ``RateLimited`` for an address that sent too many wrong credentials, before these are looked at.

        ``at`` is where they went, where each place counts for itself.

        Credentials that were right a while ago are let through: a stranger behind the same proxy shuts nobody out.
        """
        if not self._barred or self._failures is None:
            return
        address = f"{at} {address_of(scope, self._trusted)}"
        until = self._barred.get(address)
        if until is None or hash(headers.get("authorization", "")) in self._known:
            return
        left = until - time.monotonic()
        if left <= 0:
            del self._barred[address]
            return
        raise RateLimited(
            f"More than {self._failures.limit} requests with wrong credentials came from this address within "
            f"{WINDOW_S} seconds. Ask again in {math.ceil(left)} s.",
            self._failures,
            left,
        )

    def recognise(self, headers: Mapping[str, str]) -> None:
        """Remember that these credentials were right, by a hash that differs in each process."""
        known, mark = self._known, hash(headers["authorization"])
        if mark not in known:
            if len(known) >= _KNOWN_CREDENTIALS:
                del known[next(iter(known))]
            known[mark] = None

    async def count_failure(self, scope: Any, at: str = "") -> None:
        """Count wrong credentials; an address with too many is barred there until fewer lie within the window."""
        if self._failures is None:
            return
        address = f"{at} {address_of(scope, self._trusted)}"
        rate = await self._rates.take(self._failures, address)
        if not rate.allowed or rate.remaining == 0:
            now = time.monotonic()
            self._barred = {one: until for one, until in self._barred.items() if until > now}
            self._barred[address] = now + max(1.0, rate.resets_in_s)


class _Pair:
    """The two policies of a class, and what the header fields say of them, made once."""

    __slots__ = ("_policy", "key", "key_name", "tenant", "tenant_name")

    def __init__(self, kind: RateClass, per_key: int, per_tenant: int) -> None:
        self.key = RatePolicy(f"{kind}-key", per_key) if per_key else None
        self.tenant = RatePolicy(f"{kind}-tenant", per_tenant) if per_tenant else None
        self.key_name, self.tenant_name = f"{kind}-key".encode(), f"{kind}-tenant".encode()
        held = [one for one in (self.key, self.tenant) if one is not None]
        self._policy = b", ".join(b'"%b";q=%d;w=%d' % (one.name.encode(), one.limit, one.window_s) for one in held)

    def headers(self, told: bytes) -> Headers:
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", told)]


def _refusal(policy: RatePolicy, rate: Rate, whose: str) -> RateLimited:
    return RateLimited(
        f"More than {policy.limit} requests of this kind came from {whose} within {policy.window_s} seconds. "
        f"Ask again in {max(1, math.ceil(rate.resets_in_s))} s.",
        policy,
        rate.resets_in_s,
    )


def address_of(scope: Any, trusted: Sequence[IPv4Network | IPv6Network]) -> str:
    """The client's address: the nearest that is no trusted proxy's. Of IPv6 the network of 64 bits, which one client
    has to itself (RFC 6177)."""
    peer = scope.get("client")
    # Each proxy may add a line of its own: all of them are one list, in which empty places count for nothing (RFC 9110,
    # sections 5.3 and 5.6.1).
    lines = [value.decode("latin-1") for name, value in scope.get("headers", ()) if name == b"x-forwarded-for"]
    chain = [one for one in map(str.strip, ",".join(lines).split(",")) if one]
    nearest = "unknown"
    for text in (peer[0] if peer else "", *reversed(chain)):
        try:
            address = ip_address(text)
        except ValueError:
            break
        if isinstance(address, IPv6Address):
            # As ::ffff:192.0.2.1 a socket of IPv6 names clients of IPv4, whose 64 bits would all be the same.
            address = address.ipv4_mapped or address
        nearest = str(address)
        if address.version == 6:
            nearest = str(IPv6Network((int(address) >> 64 << 64, 64)))
        if not any(address in network for network in trusted if network.version == address.version):
            break
    return nearest
