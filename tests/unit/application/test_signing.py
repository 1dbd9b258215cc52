"""Signed uploads, revoked keys, verified publishers, and what policies demand, through the use cases."""

import base64
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugyard.application import signing
from plugyard.application.marketplace import install_listing, publish
from plugyard.application.platform import Policies
from plugyard.application.ports import PageRequest
from plugyard.application.signing import GivenSignature
from plugyard.application.tenants import set_policy
from plugyard.application.upgrade import upgrade
from plugyard.application.upload import Uploaded, upload
from plugyard.cli.signing import SigningKey
from plugyard.domain.errors import Conflict, InvalidInput, NameTaken, NotFound
from plugyard.domain.identity import Caller, Role
from plugyard.domain.marketplace import Listing
from plugyard.domain.signatures import (
    Demands,
    PublisherKey,
    SignatureDemand,
    SignatureInvalid,
    SignatureRequired,
    Trust,
)
from tests.memory.world import World, as_role, manifest


class Author:
    """An admin with a private key."""

    def __init__(self, world: World, caller: Caller) -> None:
        self.world, self.caller = world, caller
        self.key = SigningKey(Ed25519PrivateKey.generate())

    async def register(self) -> PublisherKey:
        assert self.caller.tenant_id is not None
        public = base64.b64encode(self.key.public).decode()
        proof = self.key.proof(self.caller.tenant_id)
        return await signing.register_key(self.world.platform, self.caller, "ci", public, proof)

    async def upload(self, version: str = "1.0.0", *, sign: bool = True, **how: Any) -> Uploaded:
        package = self.world.pack(manifest("greeter", version), **how)
        made = self.key.signature_of(package.path)
        given = GivenSignature(made["keyId"], made["signature"]) if sign else None
        return await upload(self.world.platform, self.caller, package, checksum=None, activate=True, signature=given)

    async def publish(self, done: Uploaded) -> Listing:
        return await publish(self.world.platform, self.caller, done.view.plugin.id, done.version.number)

    async def trust(self, done: Uploaded) -> Trust:
        return (await signing.trust(self.world.platform, self.caller, [done.version.id]))[done.version.id]


@pytest.fixture
async def author(world: World) -> Author:
    return Author(world, await world.caller())


async def test_a_signed_upload_is_signed_wherever_it_goes(world: World, author: Author) -> None:
    key = await author.register()
    done = await author.upload()
    trust = await author.trust(done)
    assert trust.signed
    assert trust.signature is not None
    assert (trust.signature.key_id, trust.signature.accepted_at) == (key.id, world.clock())
    listing = await author.publish(done)
    other = await world.caller("other")
    found = await signing.trust_of_listings(world.platform, other, [listing.id])
    assert found[listing.id].signature == trust.signature
    copy = await install_listing(world.platform, other, listing.id, None, activate=True)
    assert (await signing.trust(world.platform, other, [copy.version.id]))[copy.version.id] == trust


async def test_a_signature_of_other_bytes_another_key_or_another_tenant_is_refused(
    world: World, author: Author
) -> None:
    stranger = Author(world, await world.caller("other"))
    with pytest.raises(SignatureInvalid) as caught:
        await author.upload()
    assert caught.value.errors[0].pointer == "/keyId"
    await author.register()
    await stranger.register()
    package = world.pack(manifest())
    for made, key_id, pointer in (
        (author.key.signature_of(world.pack(manifest("another")).path), None, "/signature"),
        (stranger.key.signature_of(package.path), None, "/keyId"),
        (stranger.key.signature_of(package.path), author.key.signature_of(package.path)["keyId"], "/signature"),
    ):
        given = GivenSignature(key_id or made["keyId"], made["signature"])
        with pytest.raises(SignatureInvalid) as caught:
            await upload(world.platform, author.caller, package, checksum=None, activate=False, signature=given)
        assert [one.pointer for one in caught.value.errors] == [pointer]
    assert world.store.tables.versions == {}, "nothing is stored"


async def test_nobody_registers_a_key_that_another_holds(world: World, author: Author) -> None:
    await author.register()
    other = await world.caller("other")
    assert author.caller.tenant_id is not None
    public = base64.b64encode(author.key.public).decode()
    for proof in (author.key.proof(author.caller.tenant_id), base64.b64encode(bytes(64)).decode()):
        with pytest.raises(SignatureInvalid) as caught:
            await signing.register_key(world.platform, other, "stolen", public, proof)
        assert caught.value.errors[0].pointer == "/proof"
    with pytest.raises(Conflict):
        await author.register()


async def test_a_revoked_key_signs_nothing_new_and_what_it_signed_before_stays(world: World, author: Author) -> None:
    key = await author.register()
    done = await author.upload()
    world.clock.forward(hours=1)
    revoked = await signing.revoke_publisher_key(world.platform, author.caller, key.id, "retired", None)
    assert revoked.invalid_from == world.clock()
    assert (await author.trust(done)).signed
    with pytest.raises(SignatureInvalid, match="does not hold") as caught:
        await author.upload("1.1.0")
    assert "retired" in caught.value.errors[0].message
    with pytest.raises(Conflict):
        await author.register()
    earlier = world.clock() - timedelta(hours=2)
    await signing.revoke_publisher_key(world.platform, author.caller, key.id, "it had leaked", earlier)
    assert not (await author.trust(done)).signed


async def test_a_key_is_not_revoked_from_a_moment_to_come_nor_by_another_tenant(world: World, author: Author) -> None:
    key = await author.register()
    later = world.clock() + timedelta(seconds=1)
    with pytest.raises(InvalidInput) as caught:
        await signing.revoke_publisher_key(world.platform, author.caller, key.id, "later", later)
    assert caught.value.errors[0].pointer == "/invalidFrom"
    other = await world.caller("other")
    with pytest.raises(NotFound):
        await signing.revoke_publisher_key(world.platform, other, key.id, "mine", None)
    with pytest.raises(NotFound):
        await signing.publisher_key(world.platform, other, key.id)
    assert (await signing.publisher_keys(world.platform, other, PageRequest())).items == ()
    assert (await signing.publisher_keys(world.platform, author.caller, PageRequest())).items == (key,)


async def test_the_same_bytes_may_be_signed_later_and_their_listing_with_them(world: World, author: Author) -> None:
    done = await author.upload(sign=False)
    listing = await author.publish(done)
    await author.register()
    again = await author.upload()
    assert (again.created, again.version.id) == (False, done.version.id)
    assert (await author.trust(done)).signed
    other = await world.caller("other")
    assert (await signing.trust_of_listings(world.platform, other, [listing.id]))[listing.id].signed
    world.clock.forward(hours=1)
    accepted = (await author.trust(done)).signature
    await author.upload()
    assert (await author.trust(done)).signature == accepted, "the first time that it was taken in counts"


async def test_a_version_whose_key_leaked_may_be_signed_anew_by_another(world: World, author: Author) -> None:
    key = await author.register()
    done = await author.upload()
    await signing.revoke_publisher_key(world.platform, author.caller, key.id, "leaked", world.clock())
    assert not (await author.trust(done)).signed
    author.key = SigningKey(Ed25519PrivateKey.generate())
    await author.register()
    await author.upload()
    assert (await author.trust(done)).signed


async def test_a_tenant_that_demands_signatures_of_all_takes_no_other_upload(world: World, author: Author) -> None:
    await set_policy(world.platform, author.caller, signature=SignatureDemand.ALWAYS)
    with pytest.raises(SignatureRequired):
        await author.upload(sign=False)
    await author.register()
    assert (await author.upload()).created


async def test_a_tenant_installs_and_upgrades_only_to_what_its_policy_lets_in(world: World, author: Author) -> None:
    listing = await author.publish(await author.upload(sign=False))
    other = await world.caller("other")
    await set_policy(world.platform, other, signature=SignatureDemand.MARKETPLACE)
    with pytest.raises(SignatureRequired):
        await install_listing(world.platform, other, listing.id, None, activate=True)
    await author.register()
    await author.publish(await author.upload("1.1.0"))
    copy = await install_listing(world.platform, other, listing.id, None, activate=True)
    await author.publish(await author.upload("1.2.0", sign=False))
    with pytest.raises(SignatureRequired):
        await upgrade(world.platform, other, copy.plugin.id, None, None)
    assert (await world.fetch(other, copy.plugin.id)).version.number == "1.1.0"


async def test_a_tenant_that_wants_verified_publishers_installs_from_no_other(world: World, author: Author) -> None:
    listing = await author.publish(await author.upload(sign=False))
    other, operator = await world.caller("other"), as_role(Role.OPERATOR, None)
    await set_policy(world.platform, other, verified_publisher=True)
    with pytest.raises(SignatureRequired, match="verified publisher"):
        await install_listing(world.platform, other, listing.id, None, activate=False)
    assert author.caller.tenant_id is not None
    named = await signing.set_publisher(
        world.platform, operator, author.caller.tenant_id, "Acme Incorporated", verified=True
    )
    copy = await install_listing(world.platform, other, listing.id, None, activate=False)
    trust = (await signing.trust(world.platform, other, [copy.version.id]))[copy.version.id]
    assert (trust.publisher, trust.verified_publisher) == (named, True)
    await signing.set_publisher(world.platform, operator, author.caller.tenant_id, "Acme Incorporated", verified=False)
    trust = (await signing.trust(world.platform, other, [copy.version.id]))[copy.version.id]
    assert not trust.verified_publisher


async def test_what_the_platform_demands_holds_for_every_tenant(world: World, author: Author) -> None:
    done = await author.upload(sign=False)
    demands = Demands(SignatureDemand.MARKETPLACE, verified_publisher=True)
    object.__setattr__(world.platform, "policies", Policies(demands=demands))
    with pytest.raises(SignatureRequired, match="not signed"):
        await author.publish(done)
    await author.register()
    await author.upload()
    with pytest.raises(SignatureRequired, match="verified publisher"):
        await author.publish(done)
    assert author.caller.tenant_id is not None
    operator = as_role(Role.OPERATOR, None)
    await signing.set_publisher(world.platform, operator, author.caller.tenant_id, "Acme", verified=True)
    assert (await author.publish(done)).signature is not None


async def test_a_publisher_is_named_like_its_tenant_until_an_operator_names_it(world: World, author: Author) -> None:
    own = await signing.own_publisher(world.platform, author.caller)
    assert (own.name, own.verified_at) == ("Acme", None)
    operator = as_role(Role.OPERATOR, None)
    assert author.caller.tenant_id is not None
    assert await signing.publisher(world.platform, operator, author.caller.tenant_id) == own
    first = await signing.set_publisher(world.platform, operator, author.caller.tenant_id, "Acme Inc", verified=True)
    world.clock.forward(hours=1)
    again = await signing.set_publisher(world.platform, operator, author.caller.tenant_id, "Acme Inc", verified=True)
    assert again == first, "vouching again changes nothing"
    other = await world.tenant("other")
    with pytest.raises(NameTaken):
        await signing.set_publisher(world.platform, operator, other.id, "ACME inc", verified=True)
    with pytest.raises(NotFound):
        await signing.set_publisher(world.platform, operator, "no-such-id", "Nobody", verified=True)
