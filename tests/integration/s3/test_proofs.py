"""What S3 answers is never believed: other bytes are found out, whoever changed them and wherever."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from plugyard.domain.errors import ChecksumMismatch, NotFound, StoreUnavailable
from plugyard.infrastructure.cached import CachedObjects
from plugyard.infrastructure.cachefolder import CacheFolder
from plugyard.infrastructure.s3.objects import S3Objects
from plugyard.infrastructure.s3.settings import S3Settings
from tests.integration.s3.conftest import SECRET, Bucket, Watched, asked, package_key

PACKAGE = b"PK\x03\x04" + b"what an author wrote" * 50_000
BUNDLE = json.dumps({"entry": "main.py", "files": {"main.py": "def run(input, context): pass\n" * 300}}).encode()
KEY = package_key(PACKAGE)
BUNDLE_KEY = f"bundles/sha256/ab/{'ab' * 32}.json"
ONE_MINUTE = timedelta(minutes=1)


def direct(settings: S3Settings) -> S3Store:
    """The bucket as its administrator sees it, past the adapter."""
    credentials = settings.credentials
    assert credentials is not None
    return S3Store(
        settings.bucket,
        prefix=settings.prefix,
        endpoint=settings.endpoint,
        access_key_id=credentials.access_key_id,
        secret_access_key=credentials.secret_access_key,
        client_options={"allow_http": True},
    )


async def in_pieces(objects: S3Objects | CachedObjects, key: str, had: list[bytes]) -> None:
    """Read to the end; ``had`` is what the reader was given."""
    async for piece in objects.pieces(key):
        had.append(piece)


@pytest.mark.parametrize("change", ["one byte", "shorter", "longer", "empty"])
async def test_a_package_that_was_changed_is_not_served(bucket: Bucket, tmp_path: Path, change: str) -> None:
    await bucket.objects.put(KEY, PACKAGE)
    other = {
        "one byte": PACKAGE[:-1] + b"?",
        "shorter": PACKAGE[:-1],
        "longer": PACKAGE + b"?",
        "empty": b"",
    }[change]
    # Whoever changes the bytes can change what stands beside them as well.
    beside = {"plugyard-sha256": hashlib.sha256(other).hexdigest()}
    await obstore.put_async(direct(bucket.settings), KEY, other, attributes=beside, use_multipart=False)
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await bucket.objects.get(KEY)
    had: list[bytes] = []
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await in_pieces(bucket.objects, KEY, had)
    assert len(b"".join(had)) < max(len(other), 1), "a reader of pieces never gets all of it"
    cached = CachedObjects(bucket.objects, CacheFolder(tmp_path / "cache", 1 << 30, SECRET))
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await cached.get(KEY)
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await in_pieces(cached, KEY, [])
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("change", ["other code", "another's bundle", "no seal", "a seal of nonsense", "not packed"])
async def test_a_bundle_that_this_service_did_not_seal_is_not_served(bucket: Bucket, change: str) -> None:
    objects, store = bucket.objects, direct(bucket.settings)
    await objects.put(BUNDLE_KEY, BUNDLE)
    stored = await obstore.get_async(store, BUNDLE_KEY)
    attributes, packed = stored.attributes, bytes(await stored.bytes_async())
    if change == "other code":
        packed = packed[:-9] + bytes(9)
    elif change == "another's bundle":
        theirs = f"bundles/sha256/cd/{'cd' * 32}.json"
        await objects.put(theirs, BUNDLE.replace(b"pass", b"evil"))
        other = await obstore.get_async(store, theirs)
        attributes, packed = other.attributes, bytes(await other.bytes_async())
    elif change == "no seal":
        del attributes["plugyard-seal"]
    elif change == "a seal of nonsense":
        attributes["plugyard-seal"] = "nonsense"
    else:
        del attributes["Content-Encoding"]
    await obstore.put_async(store, BUNDLE_KEY, packed, attributes=attributes, use_multipart=False)
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await objects.get(BUNDLE_KEY)
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await in_pieces(objects, BUNDLE_KEY, [])


async def test_another_service_with_the_same_secret_reads_a_bundle_and_one_with_another_does_not(
    bucket: Bucket,
) -> None:
    await bucket.objects.put(BUNDLE_KEY, BUNDLE)
    assert await S3Objects(bucket.settings, SECRET).get(BUNDLE_KEY) == BUNDLE
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await S3Objects(bucket.settings, b"another").get(BUNDLE_KEY)


async def test_a_damaged_file_of_a_plugin_is_not_served(watched: Watched) -> None:
    objects = watched.objects()
    await objects.replace("files/t/p/one", b"what a plugin wrote")
    watched.recorder.damage = lambda asked, body: body.replace(b"plugin", b"plugan")
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await objects.get("files/t/p/one")
    with pytest.raises(StoreUnavailable, match="not what was stored"):
        await in_pieces(objects, "files/t/p/one", [])


async def test_a_package_is_not_stored_under_another_digest(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "package"
    path.write_bytes(PACKAGE + b"?")
    with pytest.raises(ChecksumMismatch):
        await bucket.objects.put_file(KEY, path)
    with pytest.raises(ChecksumMismatch):
        await bucket.objects.put(KEY, PACKAGE + b"?")
    with pytest.raises(NotFound):
        await bucket.objects.get(KEY)


async def test_s3_is_told_the_checksum_of_what_is_sent(watched: Watched, large_file: Path) -> None:
    await watched.objects().put_file("files/t/p/large", large_file)
    await watched.objects().put("files/t/p/small", b"small")
    sent = [one for one in watched.recorder.asked if one.method == "PUT"]
    assert len(sent) == 4, "three parts and one put"
    assert all("x-amz-checksum-sha256" in one.headers for one in sent)


async def test_what_is_damaged_in_the_bucket_is_written_again(bucket: Bucket) -> None:
    await bucket.objects.put(KEY, PACKAGE)
    await obstore.put_async(direct(bucket.settings), KEY, bytes(len(PACKAGE)), use_multipart=False)
    assert await bucket.objects.put(KEY, PACKAGE) is True
    assert await bucket.objects.get(KEY) == PACKAGE


async def test_the_holder_of_a_signed_url_cannot_put_other_bytes_under_a_digest(bucket: Bucket) -> None:
    url = await bucket.objects.signed_url(KEY, "PUT", ONE_MINUTE)
    assert url is not None
    refused = await asked("PUT", url.url, content=PACKAGE[:-1] + b"?", headers=url.headers)
    assert refused.status_code == 400
    with pytest.raises(NotFound):
        await bucket.objects.get(KEY)
    assert (await asked("PUT", url.url, content=PACKAGE, headers=url.headers)).status_code == 200
    assert await bucket.objects.get(KEY) == PACKAGE
