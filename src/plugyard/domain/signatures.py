"""Who stands behind a package: publishers, their keys, signatures, and what a policy demands of them.

A signature is Ed25519 (RFC 8032) over ``statement(digest)``, by a key that the publisher registered before. The service
notes when it took a signature in, so that a key that is revoked later takes no earlier signature with it.
"""

import base64
import binascii
import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from plugyard.domain.errors import Conflict, FieldError, Forbidden, InvalidInput

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64


class SignatureInvalid(InvalidInput):
    """The signature does not hold; nothing was stored."""

    code = "signature_invalid"


class SignatureRequired(Forbidden):
    """The policy demands a signature, or a verified publisher."""

    code = "signature_required"


class SignatureDemand(StrEnum):
    """From what a signature is demanded: from nothing, from what the marketplace offers, or from all of it."""

    NONE = "none"
    MARKETPLACE = "marketplace"
    ALWAYS = "always"

    @property
    def of_listings(self) -> bool:
        """Whether versions that are published or installed from the marketplace have to be signed."""
        return self is not SignatureDemand.NONE

    @property
    def of_uploads(self) -> bool:
        """Whether uploads have to be signed."""
        return self is SignatureDemand.ALWAYS

    def stricter(self, other: "SignatureDemand") -> "SignatureDemand":
        """The one of the two that demands more."""
        order = list(SignatureDemand)
        return max(self, other, key=order.index)


def statement(digest: str) -> bytes:
    """What is signed for a package whose SHA-256 in hex is ``digest``: two lines, so that no other text is meant."""
    return f"plugyard package v1\nsha256:{digest}\n".encode("ascii")


def proof_statement(tenant_id: str, public_key: bytes) -> bytes:
    """What is signed to prove, when a key is registered, that its private half is held by who registers it."""
    return f"plugyard publisher key v1\n{tenant_id}\n{base64.b64encode(public_key).decode()}\n".encode("ascii")


def key_id_of(public_key: bytes) -> str:
    """A key's id: the SHA-256 of its 32 bytes in hex, which everybody who has the key can compute."""
    return hashlib.sha256(public_key).hexdigest()


def decoded(text: str, size: int, pointer: str) -> bytes:
    """Base64 (RFC 4648 section 4) of so many bytes; raises ``InvalidInput`` that names the place."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != size:
        raise InvalidInput("The request has values that do not fit.", [FieldError(pointer, f"base64 of {size} bytes")])
    return data


@dataclass(frozen=True, slots=True)
class PublisherKey:
    """A public key that a tenant registered to sign packages with.

    From ``invalid_from`` on its signatures count no more, those that were taken in before still do.
    """

    id: str
    tenant_id: str
    name: str
    public_key: bytes
    created_at: datetime
    revoked_at: datetime | None = None
    invalid_from: datetime | None = None
    revoked_because: str | None = None

    def revoked(self, at: datetime, invalid_from: datetime, because: str) -> "PublisherKey":
        """The same key, revoked. A second revocation may only reach further back; raises ``Conflict``."""
        if self.invalid_from is not None and invalid_from >= self.invalid_from:
            raise Conflict(f"The key is revoked already, with what it signed since {self.invalid_from.isoformat()}.")
        return replace(self, revoked_at=self.revoked_at or at, invalid_from=invalid_from, revoked_because=because)


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature that was verified when it was taken in. ``public_key`` and ``value`` are base64."""

    key_id: str
    public_key: str
    value: str
    accepted_at: datetime

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Signature":
        """Read the stored form."""
        at = datetime.fromisoformat(document["acceptedAt"])
        return cls(document["keyId"], document["publicKey"], document["value"], at)

    def to_document(self) -> dict[str, str]:
        """The stored form."""
        return {
            "keyId": self.key_id,
            "publicKey": self.public_key,
            "value": self.value,
            "acceptedAt": self.accepted_at.isoformat(),
        }


@dataclass(frozen=True, slots=True)
class Publisher:
    """A tenant under the name that it publishes by; ``verified_at`` is when an operator began to vouch for the name."""

    tenant_id: str
    name: str
    verified_at: datetime | None = None
    verified_by: str | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a version comes from: the tenant that published it, and its signature where it has one."""

    version_id: str
    tenant_id: str
    publisher_id: str
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of who stands behind a version, at this moment."""

    publisher: Publisher | None = None
    signature: Signature | None = None
    key: PublisherKey | None = None  # none where its publisher is gone; the signature has its public half

    @property
    def signed(self) -> bool:
        """Whether there is a signature that counts."""
        if self.signature is None:
            return False
        ended = self.key.invalid_from if self.key is not None else None
        return ended is None or self.signature.accepted_at < ended

    @property
    def verified_publisher(self) -> bool:
        """Whether an operator vouches for its publisher's name."""
        return self.publisher is not None and self.publisher.verified_at is not None


@dataclass(frozen=True, slots=True)
class Demands:
    """What a policy demands of packages."""

    signature: SignatureDemand = SignatureDemand.NONE
    verified_publisher: bool = False  # of what the marketplace offers

    def stricter(self, other: "Demands") -> "Demands":
        """What both demand."""
        return Demands(self.signature.stricter(other.signature), self.verified_publisher or other.verified_publisher)

    def check_upload(self, *, signed: bool) -> None:
        """Raise ``SignatureRequired`` where an upload has to be signed and is not."""
        if self.signature.of_uploads and not signed:
            raise SignatureRequired(
                "The policy demands that every package is signed: sign it with a registered publisher key "
                "(plugyard sign) and send signature and keyId with it."
            )

    def check_listing(self, trust: Trust) -> None:
        """Raise ``SignatureRequired`` where what the marketplace offers lacks what is demanded of it."""
        if self.signature.of_listings and not trust.signed:
            why = "its signature counts no more, since its key was revoked" if trust.signature else "it is not signed"
            raise SignatureRequired(f"The policy demands a signature of what the marketplace offers; {why}.")
        if self.verified_publisher and not trust.verified_publisher:
            raise SignatureRequired(
                "The policy demands a verified publisher of what the marketplace offers; this one is not verified."
            )
