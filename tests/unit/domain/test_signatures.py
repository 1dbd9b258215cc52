"""What signatures are made over, when they count, and what policies demand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plugyard.domain.errors import Conflict, InvalidInput
from plugyard.domain.signatures import (
    Demands,
    Publisher,
    PublisherKey,
    Signature,
    SignatureDemand,
    SignatureRequired,
    Trust,
    decoded,
    key_id_of,
    proof_statement,
    statement,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = PublisherKey("ab" * 32, "t", "ci", b"k" * 32, NOW - 3 * HOUR)
SIGNATURE = Signature(KEY.id, "", "", NOW - HOUR)
VERIFIED = Publisher("t", "Acme", NOW, "key:1")


def test_the_signed_texts_are_those_of_the_document() -> None:
    assert statement("0f" * 32) == b"plugyard package v1\nsha256:" + b"0f" * 32 + b"\n"
    assert proof_statement("t-1", bytes(32)) == b"plugyard publisher key v1\nt-1\n" + b"A" * 43 + b"=\n"
    assert key_id_of(bytes(32)) == "66687aadf862bd776c8fc18b8e9f8e20089714856ee233b3902a591d0d5f2925"


@pytest.mark.parametrize("text", ["", "AAAA", "é" * 44, "A" * 44, "*" * 43 + "=", "A" * 43 + "=\n"])
def test_what_is_no_base64_of_the_size_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decoded(text, 32, "/publicKey")
    assert caught.value.errors[0].pointer == "/publicKey"


def test_a_signature_counts_until_the_moment_from_which_its_key_does_not() -> None:
    assert Trust(signature=SIGNATURE, key=KEY).signed
    assert Trust(signature=SIGNATURE).signed, "its publisher is gone, and nobody revoked the key"
    assert not Trust(key=KEY).signed
    assert Trust(signature=SIGNATURE, key=KEY.revoked(NOW, NOW, "retired")).signed
    assert not Trust(signature=SIGNATURE, key=KEY.revoked(NOW, NOW - HOUR, "leaked")).signed
    assert not Trust(signature=SIGNATURE, key=KEY.revoked(NOW, NOW - 2 * HOUR, "leaked")).signed


def test_a_second_revocation_only_reaches_further_back() -> None:
    once = KEY.revoked(NOW, NOW, "retired")
    for since in (NOW, NOW + HOUR):
        with pytest.raises(Conflict):
            once.revoked(NOW + 2 * HOUR, since, "again")
    again = once.revoked(NOW + HOUR, NOW - HOUR, "it had leaked")
    assert (again.revoked_at, again.invalid_from, again.revoked_because) == (NOW, NOW - HOUR, "it had leaked")


def test_a_signature_comes_back_from_its_stored_form() -> None:
    assert Signature.from_document(SIGNATURE.to_document()) == SIGNATURE


@pytest.mark.parametrize("demand", list(SignatureDemand))
def test_the_stricter_of_two_demands_holds(demand: SignatureDemand) -> None:
    assert demand.stricter(SignatureDemand.NONE) is demand
    assert demand.stricter(SignatureDemand.ALWAYS) is SignatureDemand.ALWAYS
    both = Demands(demand).stricter(Demands(verified_publisher=True))
    assert both == Demands(demand, verified_publisher=True)


def test_uploads_have_to_be_signed_where_everything_has() -> None:
    for demand in SignatureDemand:
        Demands(demand).check_upload(signed=True)
    Demands(SignatureDemand.MARKETPLACE, verified_publisher=True).check_upload(signed=False)
    with pytest.raises(SignatureRequired, match="plugyard sign"):
        Demands(SignatureDemand.ALWAYS).check_upload(signed=False)


def test_what_is_offered_has_to_have_what_is_demanded() -> None:
    signed = Trust(VERIFIED, SIGNATURE, KEY)
    Demands(SignatureDemand.ALWAYS, verified_publisher=True).check_listing(signed)
    Demands().check_listing(Trust())
    with pytest.raises(SignatureRequired, match="not signed"):
        Demands(SignatureDemand.MARKETPLACE).check_listing(Trust(VERIFIED))
    with pytest.raises(SignatureRequired, match="revoked"):
        Demands(SignatureDemand.MARKETPLACE).check_listing(replace(signed, key=KEY.revoked(NOW, NOW - HOUR, "leaked")))
    for publisher in (None, Publisher("t", "Acme")):
        with pytest.raises(SignatureRequired, match="verified publisher"):
            Demands(verified_publisher=True).check_listing(replace(signed, publisher=publisher))
