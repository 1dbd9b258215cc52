"""Turns publishers, their keys and signatures into the views that answers are made of."""

from base64 import b64encode
from typing import Any

from plugyard.domain.signatures import Publisher, PublisherKey, Trust
from plugyard.http.views import PublisherKeyView, PublisherView, SignatureView


def fields_of(one: Trust) -> dict[str, Any]:
    """What stands wherever a plugin is shown."""
    return {
        "signed": one.signed,
        "publisher": one.publisher.name if one.publisher is not None else None,
        "verified_publisher": one.verified_publisher,
    }


def signature(one: Trust) -> SignatureView | None:
    """The signature of a version, whether it counts, and what became of its key."""
    if one.signature is None:
        return None
    return SignatureView(
        key_id=one.signature.key_id,
        public_key=one.signature.public_key,
        value=one.signature.value,
        accepted_at=one.signature.accepted_at,
        counts=one.signed,
        key_revoked_at=one.key.revoked_at if one.key is not None else None,
        key_revoked_because=one.key.revoked_because if one.key is not None else None,
    )


def publisher_key(one: PublisherKey) -> PublisherKeyView:
    """A publisher's key."""
    return PublisherKeyView(
        id=one.id,
        name=one.name,
        public_key=b64encode(one.public_key).decode(),
        created_at=one.created_at,
        revoked_at=one.revoked_at,
        invalid_from=one.invalid_from,
        revoked_because=one.revoked_because,
    )


def publisher(one: Publisher) -> PublisherView:
    """A publisher. Which operator vouches for it stays with the platform."""
    return PublisherView(
        tenant_id=one.tenant_id, name=one.name, verified=one.verified_at is not None, verified_at=one.verified_at
    )
