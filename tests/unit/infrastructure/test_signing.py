"""Signed URLs are those that Amazon's own documentation signs."""

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from plugyard.infrastructure.s3.settings import Credentials, Encryption, S3Settings
from plugyard.infrastructure.s3.signing import presigned

EXAMPLE = Credentials("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
THEN = datetime(2013, 5, 24, tzinfo=UTC)


def test_the_example_of_the_documentation_has_its_signature() -> None:
    # Amazon S3 API Reference, "Authenticating Requests: Using Query Parameters".
    url = presigned(
        "GET", "https://examplebucket.s3.amazonaws.com/test.txt", {}, EXAMPLE, "us-east-1", timedelta(days=1), THEN
    )
    assert url == (
        "https://examplebucket.s3.amazonaws.com/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        "&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_headers_and_the_token_of_a_session_are_bound() -> None:
    credentials = Credentials("id", "secret", "a/token+")
    headers = {"x-amz-server-side-encryption": "AES256", "Content-Type": "application/zip"}
    url = presigned("PUT", "https://host/b/k", headers, credentials, "eu-west-1", timedelta(minutes=1), THEN)
    query = parse_qs(urlsplit(url).query)
    assert query["X-Amz-SignedHeaders"] == ["content-type;host;x-amz-server-side-encryption"]
    assert query["X-Amz-Security-Token"] == ["a/token+"]
    assert "secret" not in url


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        ("AES256", {"x-amz-server-side-encryption": "AES256"}),
        ("aws:kms", {"x-amz-server-side-encryption": "aws:kms"}),
        (
            "aws:kms=arn:aws:kms:r:1:key/2",
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:r:1:key/2",
            },
        ),
        ("none", {}),
    ],
)
def test_an_encryption_is_said_in_the_words_of_s3(text: str, headers: dict[str, str]) -> None:
    assert Encryption.parsed(text).headers() == headers


@pytest.mark.parametrize("text", ["", "aes256", "AES256=key", "aws:kms=", "on", "aws:kms:dsse"])
def test_a_word_that_s3_does_not_know_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="write AES256"):
        Encryption.parsed(text)


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        ("https://bucket/prefix", None),
        ("s3://id:hidden@bucket/prefix", None),
        ("s3://", None),
        ("s3://Bucket", None),
        ("s3://bucket/a/../b", None),
        ("s3://bucket/?versions=hidden", None),
        ("s3://bucket", "host:9000"),
        ("s3://bucket", "https://id:hidden@host"),
    ],
)
def test_a_bucket_that_is_none_is_refused_and_no_secret_repeated(url: str, endpoint: str | None) -> None:
    with pytest.raises(ValueError, match=r"bucket|prefix|endpoint") as found:
        S3Settings.parsed(url, endpoint=endpoint)
    assert "hidden" not in str(found.value)


def test_the_environment_fills_what_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"ID": "them", "SECRET": "hidden"}.items():
        monkeypatch.setenv({"ID": "AWS_ACCESS_KEY_ID", "SECRET": "AWS_SECRET_ACCESS_KEY"}[name], value)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    found = S3Settings.parsed("s3://bucket/a/b/")
    assert found.credentials == Credentials("them", "hidden")
    assert found.base == "https://s3.eu-central-1.amazonaws.com/bucket/a/b"
    assert "hidden" not in repr(found)
    named = S3Settings.parsed("s3://bucket", credentials=EXAMPLE, region="us-west-2", endpoint="http://s3.internal:80/")
    assert named.credentials == EXAMPLE
    assert named.base == "http://s3.internal:80/bucket"
    assert named.in_the_clear
    assert not S3Settings.parsed("s3://bucket", endpoint="http://127.0.0.1:9000").in_the_clear
