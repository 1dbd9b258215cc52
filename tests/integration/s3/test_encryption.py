"""Encryption is demanded at every write, and what lies on the server's disk cannot be read there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from plugyard.infrastructure.s3.objects import S3Objects
from tests.integration.s3.conftest import Bucket, Watched, asked
from tests.integration.s3.recorder import Asked
from tests.seaweed import Seaweed

SIDE, KEY_ID = "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"
ONE_MINUTE = timedelta(minutes=1)


async def _write_in_every_way(objects: S3Objects, large: Path) -> None:
    await objects.put("files/t/p/put", b"a")
    await objects.replace("files/t/p/replaced", b"b")
    await objects.put_file("files/t/p/large", large)
    await objects.put("bundles/sha256/00/00.json", b'{"entry": "main.py"}' * 100)
    await objects.copy("files/t/p/put", "files/t/p/copied")
    await objects.move("files/t/p/put", "files/t/p/moved")


async def test_every_write_demands_sse_s3(watched: Watched, large_file: Path) -> None:
    await _write_in_every_way(watched.objects(), large_file)
    writes = watched.recorder.writes()
    assert len(writes) == 6
    assert {one.headers.get(SIDE) for one in writes} == {"AES256"}
    assert any(one.method == "POST" for one in writes), "the large file came in parts"


async def test_sse_kms_names_the_key_at_every_write(watched: Watched, large_file: Path) -> None:
    def instead(asked: Asked) -> tuple[int, dict[str, str], bytes] | None:
        # This server has no KMS; what it is asked for is what is looked at.
        if asked.method == "POST" and "?uploads" in asked.path:
            return 200, {}, b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
        if "x-amz-copy-source" in asked.headers:
            return 200, {}, b'<CopyObjectResult><ETag>"e"</ETag></CopyObjectResult>'
        if asked.method in ("PUT", "DELETE"):
            return 200, {"ETag": '"e"'}, b""
        if asked.method == "POST":
            return 200, {}, b'<CompleteMultipartUploadResult><ETag>"e"</ETag></CompleteMultipartUploadResult>'
        return 404, {}, b""

    watched.recorder.instead = instead
    arn = "arn:aws:kms:eu-central-1:111122223333:key/1234"
    await _write_in_every_way(watched.objects(encryption=f"aws:kms={arn}"), large_file)
    writes = watched.recorder.writes()
    assert len(writes) == 6
    assert {(one.headers.get(SIDE), one.headers.get(KEY_ID)) for one in writes} == {("aws:kms", arn)}


async def test_the_server_says_that_each_object_is_encrypted(bucket: Bucket, large_file: Path) -> None:
    await _write_in_every_way(bucket.objects, large_file)
    keys = [key async for key, _ in bucket.objects.list("")]
    assert len(keys) == 5
    for key in keys:
        url = await bucket.objects.signed_url(key, "GET", ONE_MINUTE)
        assert url is not None
        with httpx.stream("GET", url.url) as answer:
            assert answer.status_code == 200
            assert answer.headers[SIDE] == "AES256", key


@pytest.mark.parametrize("size", [1_000, 300_000])
async def test_what_lies_on_the_servers_disk_cannot_be_read_there(bucket: Bucket, s3: Seaweed, size: int) -> None:
    mark = f"a text that only its owner may read {bucket.settings.prefix}".encode()
    await bucket.objects.replace("files/t/p/secret", mark + b"." * size)
    assert await bucket.objects.get("files/t/p/secret") == mark + b"." * size
    on_disk = [path for path in s3.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in on_disk) > size
    assert not [path for path in on_disk if mark in path.read_bytes()]


async def test_an_upload_by_a_signed_url_cannot_leave_the_encryption_out(bucket: Bucket) -> None:
    url = await bucket.objects.signed_url("files/t/p/theirs", "PUT", ONE_MINUTE)
    assert url is not None
    assert url.headers[SIDE] == "AES256"
    bare = {name: value for name, value in url.headers.items() if name != SIDE}
    assert (await asked("PUT", url.url, content=b"bytes", headers=bare)).status_code == 403
    assert (await asked("PUT", url.url, content=b"bytes", headers=url.headers)).status_code == 200


async def test_none_demands_nothing(watched: Watched) -> None:
    await watched.objects(encryption="none").put("files/t/p/plain", b"a")
    assert [SIDE in one.headers for one in watched.recorder.writes()] == [False]
