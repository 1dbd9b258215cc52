"""Who stands behind a package: publishers' keys, signatures that come with uploads, and what policies demand.

``upload.py`` and ``marketplace.py`` call what concerns a version; ``http/publishers.py`` the rest.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from plugyard.application.platform import Platform, record_tenant_change, require, tenant_of
from plugyard.application.ports import Page, PageRequest, Transaction
from plugyard.domain.errors import FieldError, InvalidInput, NotFound
from plugyard.domain.identity import Action, Caller, Tenant
from plugyard.domain.marketplace import Listing
from plugyard.domain.plugin import PluginVersion
from plugyard.domain.signatures import (
    PUBLIC_KEY_BYTES,
    SIGNATURE_BYTES,
    Demands,
    Origin,
    Publisher,
    PublisherKey,
    Signature,
    SignatureInvalid,
    Trust,
    decoded,
    key_id_of,
    proof_statement,
    statement,
)


@dataclass(frozen=True, slots=True)
class GivenSignature:
    """What came with an upload: the key's id, and the signature in base64."""

    key_id: str
    value: str


# --- publishers' keys ------------------------------------------------------------------------------------------------


async def register_key(platform: Platform, caller: Caller, name: str, public_key: str, proof: str) -> PublisherKey:
    """Register a key (base64) that signs packages; ``proof`` is its signature of ``proof_statement``.

    Raises ``InvalidInput``, ``SignatureInvalid``, and ``Conflict`` for a key that was registered before.
    """
    require(caller, Action.MANAGE_KEYS)
    tenant_id = tenant_of(caller)
    raw = decoded(public_key, PUBLIC_KEY_BYTES, "/publicKey")
    if not _holds(raw, decoded(proof, SIGNATURE_BYTES, "/proof"), proof_statement(tenant_id, raw)):
        raise SignatureInvalid(
            "The proof does not show that you hold the key's private half.",
            [FieldError("/proof", f"is no signature by this key of the proof text for the tenant {tenant_id}")],
        )
    key = PublisherKey(key_id_of(raw), tenant_id, name, raw, platform.clock())
    async with platform.store.for_tenant(tenant_id) as tx:
        await tx.add_publisher_key(key)
        await record_tenant_change(platform, tx, caller, "publisher_key.registered", key.id, {"name": name})
    return key


async def publisher_keys(platform: Platform, caller: Caller, page: PageRequest) -> Page[PublisherKey]:
    """The tenant's keys, revoked ones too, newest first."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.publisher_keys(page)


async def publisher_key(platform: Platform, caller: Caller, key_id: str) -> PublisherKey:
    """One of the tenant's keys; raises ``NotFound``."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return _found(await tx.publisher_key(key_id))


async def revoke_publisher_key(
    platform: Platform, caller: Caller, key_id: str, because: str, invalid_from: datetime | None
) -> PublisherKey:
    """Take a key back. What it signed from ``invalid_from`` on (by default now) counts as not signed.

    Raises ``NotFound``, ``InvalidInput`` for a moment to come, ``Conflict`` where it is revoked as far back already.
    """
    require(caller, Action.MANAGE_KEYS)
    now = platform.clock()
    since = now if invalid_from is None else invalid_from
    if since > now:
        raise InvalidInput("The request has values that do not fit.", [FieldError("/invalidFrom", "is yet to come")])
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        revoked = _found(await tx.publisher_key(key_id, lock=True)).revoked(now, since, because)
        await tx.save_publisher_key(revoked)
        detail = {"reason": because, "invalidFrom": since.isoformat()}
        await record_tenant_change(platform, tx, caller, "publisher_key.revoked", key_id, detail)
    return revoked


def _found(key: PublisherKey | None) -> PublisherKey:
    if key is None:
        raise NotFound("There is no publisher key of this id.")
    return key


# --- publishers ------------------------------------------------------------------------------------------------------


async def own_publisher(platform: Platform, caller: Caller) -> Publisher:
    """The name that the caller's tenant publishes by; the tenant's own while no operator has given another."""
    require(caller, Action.READ)
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        return await tx.publisher(tenant_id) or _unnamed(await tx.tenant(tenant_id))


async def publisher(platform: Platform, caller: Caller, tenant_id: str) -> Publisher:
    """The name that a tenant publishes by, for operators; raises ``NotFound``."""
    require(caller, Action.MANAGE_TENANTS)
    async with platform.store.for_operator() as tx:
        tenant = await tx.tenant(tenant_id)
        if tenant is None:
            raise NotFound("There is no tenant of this id.")
        return await tx.publisher(tenant_id) or _unnamed(tenant)


async def set_publisher(platform: Platform, caller: Caller, tenant_id: str, name: str, *, verified: bool) -> Publisher:
    """Name a tenant as a publisher, and vouch for the name or cease to. Raises ``NotFound``, ``NameTaken``."""
    require(caller, Action.MANAGE_TENANTS)
    async with platform.store.for_operator() as tx:
        if await tx.tenant_locked(tenant_id) is None:
            raise NotFound("There is no tenant of this id.")
        now = platform.clock()
        named = Publisher(tenant_id, name, now if verified else None, caller.actor if verified else None)
        before = await tx.publisher(tenant_id)
        if before is not None and before.name == name and verified and before.verified_at is not None:
            return before
        await tx.save_publisher(named)
        action = "publisher.verified" if verified else "publisher.unverified"
        await record_tenant_change(platform, tx, caller, action, tenant_id, {"name": name})
    return named


def _unnamed(tenant: Tenant | None) -> Publisher:
    if tenant is None:
        raise NotFound("There is no tenant of this id.")
    return Publisher(tenant.id, tenant.name)


# --- signatures ------------------------------------------------------------------------------------------------------


async def accepted(platform: Platform, caller: Caller, digest: str, given: GivenSignature | None) -> Signature | None:
    """The signature of a package that comes in, verified now. Raises ``SignatureInvalid``, ``SignatureRequired``."""
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        demands = await _demands(platform, tx, tenant_id)
        key = await tx.publisher_key(given.key_id) if given is not None else None
    demands.check_upload(signed=given is not None)
    if given is None:
        return None
    value = decoded(given.value, SIGNATURE_BYTES, "/signature")
    if key is None:
        raise _invalid("/keyId", f"no publisher key of this tenant has the id {given.key_id[:64]}")
    if key.revoked_at is not None:
        raise _invalid("/keyId", f"the key was revoked at {key.revoked_at.isoformat()}: {key.revoked_because}")
    if not _holds(key.public_key, value, statement(digest)):
        raise _invalid("/signature", f"is no signature by the key {key.id} of the package sha256:{digest}")
    return Signature(key.id, _text(key.public_key), _text(value), platform.clock())


async def sign_version(
    platform: Platform, tx: Transaction, caller: Caller, version: PluginVersion, signature: Signature
) -> None:
    """Keep the signature with a version, in the transaction that writes it, or that meets it a second time."""
    held = (await tx.trust([version.id])).get(version.id, Trust())
    if held.signed and held.signature is not None and held.signature.key_id == signature.key_id:
        return  # signed so already; the first time that it was taken in is the one that counts
    await tx.save_origin(Origin(version.id, version.tenant_id, version.tenant_id, signature))
    listing = await tx.listing_of(version.plugin_id)
    if listing is not None and listing.version_id == version.id:
        await tx.save_listing(replace(listing, signature=signature))
    detail = {"version": version.number, "digest": version.digest, "keyId": signature.key_id}
    await record_tenant_change(platform, tx, caller, "version.signed", version.plugin_id, detail)


async def offered_signature(platform: Platform, tx: Transaction, version: PluginVersion) -> Signature | None:
    """The signature that a version is published with; raises ``SignatureRequired`` where the platform demands more."""
    trust = (await tx.trust([version.id])).get(version.id, Trust())
    platform.policies.demands.check_listing(trust)
    return trust.signature


async def check_listing(platform: Platform, tx: Transaction, tenant_id: str, listing: Listing) -> None:
    """Raise ``SignatureRequired`` where the listing lacks what is demanded of what the tenant installs."""
    demands = await _demands(platform, tx, tenant_id)
    if demands != Demands():
        demands.check_listing((await tx.trust_of_listings([listing.id])).get(listing.id, Trust()))


async def trust(platform: Platform, caller: Caller, version_ids: Sequence[str]) -> Mapping[str, Trust]:
    """Who stands behind each of the versions."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.trust(version_ids)


async def trust_of_listings(platform: Platform, caller: Caller, listing_ids: Sequence[str]) -> Mapping[str, Trust]:
    """Who stands behind each of the listings."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.trust_of_listings(listing_ids)


async def _demands(platform: Platform, tx: Transaction, tenant_id: str) -> Demands:
    tenant = await tx.tenant(tenant_id)
    return platform.policies.demands.stricter(tenant.policy.demands if tenant is not None else Demands())


def _holds(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _invalid(pointer: str, message: str) -> SignatureInvalid:
    return SignatureInvalid("The signature does not hold; nothing was stored.", [FieldError(pointer, message)])
