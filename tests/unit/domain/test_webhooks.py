"""Which signatures hold, for how long, and how a delivery is known again."""

import hashlib
import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from plugyard.domain.errors import Conflict, InvalidInput
from plugyard.domain.webhooks import DeliveryRefused, Scheme, Webhook, check_secret, delivery_of, sign

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WINDOW = timedelta(seconds=300)
SECRET = "whsec_of-the-sender"
BODY = b'{"order": 7}\xff'
HOOK = Webhook("w", "t", "p", "shop", "/orders", Scheme.PLUGYARD, NOW, {"current": SECRET})


def _hex(signed: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _taken(headers: dict[str, str], hook: Webhook = HOOK, body: bytes = BODY, at: datetime = NOW) -> bytes:
    return delivery_of(hook, headers, body, at, WINDOW)


@pytest.mark.parametrize("seconds", [-300, 0, 300])
def test_a_signature_holds_within_the_window(seconds: int) -> None:
    header = {"plugyard-signature": sign(SECRET, NOW + timedelta(seconds=seconds), BODY)}
    assert _taken(header) == hashlib.sha256(header["plugyard-signature"][2:12].encode() + b"." + BODY).digest()


@pytest.mark.parametrize("seconds", [-301, 301])
def test_outside_the_window_it_does_not(seconds: int) -> None:
    with pytest.raises(DeliveryRefused, match="more than 300 s"):
        _taken({"plugyard-signature": sign(SECRET, NOW + timedelta(seconds=seconds), BODY)})


@pytest.mark.parametrize(
    "header",
    ["", "t=1", "v1=" + "0" * 64, "t=abc,v1=" + "0" * 64, "t=,v1=", "t=²,v1=" + "0" * 64, "t=1767323045,v1=é",
     "t=1767323045,v1=" + "0" * 64, "t=1767323045,v0=" + _hex(b"1767323045." + BODY), "t=-1,v1=" + "0" * 64],
)  # fmt: skip
def test_what_is_no_signature_is_refused(header: str) -> None:
    with pytest.raises(DeliveryRefused):
        _taken({"plugyard-signature": header})


def test_without_the_header_it_is_named() -> None:
    with pytest.raises(DeliveryRefused, match="plugyard-signature is missing"):
        _taken({})


def test_another_body_time_or_secret_does_not_hold() -> None:
    header = {"plugyard-signature": sign(SECRET, NOW, BODY)}
    with pytest.raises(DeliveryRefused):
        _taken(header, body=BODY + b" ")
    with pytest.raises(DeliveryRefused):
        _taken({"plugyard-signature": header["plugyard-signature"].replace("t=1767323045", "t=1767323046")})
    with pytest.raises(DeliveryRefused):
        _taken({"plugyard-signature": sign(SECRET + "x", NOW, BODY)})


def test_both_secrets_hold_until_the_overlap_ends_and_name_the_delivery_alike() -> None:
    rotated = HOOK.rotated("whsec_the-new-secret", NOW, timedelta(seconds=60))
    old = {"plugyard-signature": sign(SECRET, NOW, BODY)}
    new = {"plugyard-signature": sign("whsec_the-new-secret", NOW, BODY)}
    both = {"plugyard-signature": old["plugyard-signature"] + "," + new["plugyard-signature"].split(",")[1]}
    assert _taken(old, rotated) == _taken(new, rotated) == _taken(both, rotated)
    later = NOW + timedelta(seconds=60)
    with pytest.raises(DeliveryRefused):
        _taken(old, rotated, at=later)
    assert _taken(new, rotated, at=later)
    at_once = HOOK.rotated("whsec_the-new-secret", NOW, timedelta(0))
    assert dict(at_once.secrets) == {"current": "whsec_the-new-secret"}
    with pytest.raises(DeliveryRefused):
        _taken(old, at_once)


def test_a_revoked_webhook_is_not_rotated() -> None:
    with pytest.raises(Conflict):
        replace(HOOK, revoked_at=NOW).rotated("whsec_the-new-secret", NOW, timedelta(0))


def test_stripe_signs_like_the_service_under_its_own_header() -> None:
    stripe = replace(HOOK, scheme=Scheme.STRIPE)
    assert _taken({"stripe-signature": "t=1767323045,v1=" + "0" * 64 + ",v1=" + _hex(b"1767323045." + BODY)}, stripe)


def test_slack_and_github_sign_in_their_ways() -> None:
    # The example of Slack's own documentation.
    slack = replace(HOOK, scheme=Scheme.SLACK, secrets={"current": "8f742231b10e8888abcd99yyyzzz85a5"})
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name="
        b"foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
        b"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015."
        b"47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "x-slack-request-timestamp": "1531420618",
        "x-slack-signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    assert _taken(headers, slack, body, datetime.fromtimestamp(1531420620, UTC))
    # The example of GitHub's own documentation.
    github = replace(HOOK, scheme=Scheme.GITHUB, secrets={"current": "It's a Secret to Everybody"})
    header = {"x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    assert _taken(header, github, b"Hello, World!") == hashlib.sha256(b"Hello, World!").digest()
    with pytest.raises(DeliveryRefused):
        _taken(header, github, b"Hello, World")


def test_a_signature_behind_too_many_others_is_not_looked_at() -> None:
    crowd = "".join(",v1=" + "0" * 64 for _ in range(10))
    with pytest.raises(DeliveryRefused):
        _taken({"plugyard-signature": "t=1767323045" + crowd + ",v1=" + _hex(b"1767323045." + BODY)})


@pytest.mark.parametrize("secret", ["", "short", "x" * 201, "with a blank in it", "nul\0" + "x" * 20, "é" * 20])
def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    with pytest.raises(InvalidInput):
        check_secret(secret)


def test_secrets_are_not_shown() -> None:
    assert SECRET not in repr(HOOK)
