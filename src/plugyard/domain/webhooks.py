"""Webhooks: public addresses of plugins' endpoints, for senders without a key, who sign what they send.

A signature is HMAC-SHA256 (RFC 2104) in hex, keyed with the secret's text. What is signed, and where it stands, depends
on the scheme: the service's own is that of Stripe under another name, and three providers' are known.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from plugyard.domain.errors import Conflict, FieldError, InvalidInput, PlugyardError

SIGNATURE_HEADER = "plugyard-signature"
PREFIX = "whsec_"  # by which scanners know a secret where it does not belong
MOST_SIGNATURES = 10
_SECRET = re.compile(r"[!-~]{16,200}", re.ASCII)
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{64}", re.ASCII)


class Scheme(StrEnum):
    """Whose way of signing a sender follows."""

    PLUGYARD = "plugyard"
    STRIPE = "stripe"
    SLACK = "slack"
    GITHUB = "github"


class DeliveryRefused(PlugyardError):
    """The signature does not hold."""

    code = "delivery_refused"


class DeliveryRepeated(Conflict):
    """This delivery was taken before; it is not taken twice."""

    code = "delivery_repeated"


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address. ``path`` is below the plugin's own; ``secrets`` has ``current``, and ``previous`` after a rotation,
    which holds until ``previous_until``."""

    id: str
    tenant_id: str
    plugin_id: str
    name: str
    path: str
    scheme: Scheme
    created_at: datetime
    secrets: Mapping[str, Any] = field(repr=False)
    previous_until: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def rotated(self, secret: str, at: datetime, overlap: timedelta) -> "Webhook":
        """With a new secret; the old one holds until the overlap ends, and one that was older no more."""
        if self.revoked_at is not None:
            raise Conflict("The webhook is revoked; make a new one.")
        if not overlap:
            return replace(self, secrets={"current": secret}, previous_until=None)
        secrets = {"current": secret, "previous": self.secrets["current"]}
        return replace(self, secrets=secrets, previous_until=at + overlap)

    def holding(self, now: datetime) -> tuple[str, ...]:
        """The secrets that hold now. Raises ``SecretsLocked`` where the service cannot open them."""
        current = str(self.secrets["current"])
        if self.previous_until is None or now >= self.previous_until:
            return (current,)
        return (current, str(self.secrets["previous"]))


def check_secret(secret: str) -> None:
    """Raise ``InvalidInput`` for a secret that somebody brings and that is none."""
    if not _SECRET.fullmatch(secret):
        raise InvalidInput(errors=[FieldError("/secret", "must be 16 to 200 visible ASCII characters")])


def delivery_of(webhook: Webhook, headers: Mapping[str, str], body: bytes, now: datetime, window: timedelta) -> bytes:
    """The name of a delivery whose signature holds: the same whenever the same is sent again, whichever secret signs.

    Raises ``DeliveryRefused``, and ``SecretsLocked``.
    """
    moment, given, signed = _READ[webhook.scheme](headers, body)
    if moment is not None:
        if not _SECONDS.fullmatch(moment):
            raise DeliveryRefused("The signature names no time, in seconds since 1970.")
        if abs(now.timestamp() - int(moment)) > window.total_seconds():
            raise DeliveryRefused(f"The time that was signed is more than {window.total_seconds():g} s from now.")
    offered = [one for one in given[:MOST_SIGNATURES] if _HEX.fullmatch(one)]
    holds = False
    for secret in webhook.holding(now):
        expected = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()
        for one in offered:
            # All of them are compared, in constant time each: how long it takes says nothing of which was close.
            holds |= hmac.compare_digest(one, expected)
    if not holds:
        raise DeliveryRefused("The signature does not hold for this body and any secret of the webhook.")
    return hashlib.sha256(signed).digest()


def sign(secret: str, at: datetime, body: bytes) -> str:
    """The value of ``Plugyard-Signature``: the time in Unix seconds, and HMAC-SHA256 over the time, a full stop and the
    body, in hexadecimal. The service signs by it what it sends, and takes by it what it is sent."""
    moment = str(int(at.timestamp()))
    return f"t={moment},v1={hmac.new(secret.encode(), moment.encode() + b'.' + body, hashlib.sha256).hexdigest()}"


_Read = tuple[str | None, Sequence[str], bytes]  # the time, the signatures, and what was signed


def _needed(headers: Mapping[str, str], name: str) -> str:
    if name not in headers:
        raise DeliveryRefused(f"The header {name} is missing.")
    return headers[name]


def _timed(name: str, headers: Mapping[str, str], body: bytes) -> _Read:
    pairs = [part.strip().partition("=") for part in _needed(headers, name).split(",")]
    moment = next((value for key, _, value in pairs if key == "t"), "")
    return moment, [value for key, _, value in pairs if key == "v1"], moment.encode("latin-1", "replace") + b"." + body


def _plugyard(headers: Mapping[str, str], body: bytes) -> _Read:
    return _timed(SIGNATURE_HEADER, headers, body)


def _stripe(headers: Mapping[str, str], body: bytes) -> _Read:
    return _timed("stripe-signature", headers, body)


def _slack(headers: Mapping[str, str], body: bytes) -> _Read:
    moment = _needed(headers, "x-slack-request-timestamp").strip()
    given = _needed(headers, "x-slack-signature").strip()
    return moment, [given.removeprefix("v0=")], b"v0:" + moment.encode("latin-1", "replace") + b":" + body


def _github(headers: Mapping[str, str], body: bytes) -> _Read:
    return None, [_needed(headers, "x-hub-signature-256").strip().removeprefix("sha256=")], body


_READ = {Scheme.PLUGYARD: _plugyard, Scheme.STRIPE: _stripe, Scheme.SLACK: _slack, Scheme.GITHUB: _github}
