"""How objects lie in the bucket: types, compression, one copy of each digest, and the sweep of orphans."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from plugyard.application.housekeeping import YOUNGEST, sweep_orphans
from plugyard.domain.errors import InvalidInput, NotFound, StoreUnavailable
from plugyard.infrastructure.s3.objects import S3Objects
from tests.integration.s3.conftest import SECRET, Bucket, Watched, asked, package_key
from tests.memory.world import World
from tests.seaweed import Seaweed

BUNDLE = json.dumps({"entry": "main.py", "files": {"main.py": "def run(input, context): pass\n" * 300}}).encode()
BUNDLE_KEY = f"bundles/sha256/ab/{'ab' * 32}.json"
ONE_MINUTE = timedelta(minutes=1)


async def fetched(objects: S3Objects, key: str) -> httpx.Response:
    """The answer to whoever holds a signed URL, and nothing else."""
    url = await objects.signed_url(key, "GET", ONE_MINUTE)
    assert url is not None
    return await asked("GET", url.url, headers=url.headers)


@pytest.mark.parametrize(
    ("key", "data", "named"),
    [
        ("files/t/p/1", b"PK\x03\x04...", "application/zip"),
        ("files/t/p/2", b"\x1f\x8b\x08...", "application/gzip"),
        ("files/t/p/3", b"\x00asm\x01", "application/wasm"),
        ("files/t/p/4", b"<script>alert(1)</script>", "application/octet-stream"),
        (BUNDLE_KEY, BUNDLE, "application/json"),
    ],
)
async def test_the_content_type_is_by_the_content(bucket: Bucket, key: str, data: bytes, named: str) -> None:
    await bucket.objects.replace(key, data)
    answer = await fetched(bucket.objects, key)
    assert answer.headers["content-type"] == named
    assert answer.content == data
    assert re.fullmatch("[0-9a-f]{64}", answer.headers["x-amz-meta-plugyard-sha256"])


async def test_a_bundle_is_compressed_and_nobody_who_reads_it_notices(bucket: Bucket) -> None:
    await bucket.objects.put(BUNDLE_KEY, BUNDLE)
    taken = {key: size async for key, size in bucket.objects.sizes("bundles/")}
    assert taken[BUNDLE_KEY] < len(BUNDLE) / 10
    assert await bucket.objects.get(BUNDLE_KEY) == BUNDLE
    answer = await fetched(bucket.objects, BUNDLE_KEY)
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.json() == json.loads(BUNDLE)


async def test_what_would_not_shrink_is_stored_as_it_is(bucket: Bucket) -> None:
    await bucket.objects.put(BUNDLE_KEY, b'{"entry": "main.py"}')
    await bucket.objects.replace("files/t/p/text", b"a plugin's quota counts it as it is" * 1_000)
    assert [size async for _, size in bucket.objects.sizes("bundles/")] == [20]
    assert [size async for _, size in bucket.objects.sizes("files/")] == [35_000]


async def test_a_digest_that_is_there_is_not_uploaded_again(watched: Watched, large_file: Path) -> None:
    objects = watched.objects()
    key = package_key(await asyncio.to_thread(large_file.read_bytes))
    assert await objects.put_file(key, large_file) is True
    assert await objects.put(BUNDLE_KEY, BUNDLE) is True
    watched.recorder.asked.clear()
    assert await objects.put_file(key, large_file) is False
    assert await objects.put(BUNDLE_KEY, BUNDLE) is False
    assert [one.method for one in watched.recorder.asked] == ["HEAD", "HEAD"]


async def test_an_old_object_that_is_put_again_counts_as_new_without_an_upload(watched: Watched) -> None:
    await watched.objects().put(BUNDLE_KEY, BUNDLE)
    later = S3Objects(
        watched.server.settings(watched.prefix, endpoint=watched.recorder.endpoint),
        SECRET,
        lambda: datetime.now(UTC) + 2 * YOUNGEST,
    )
    (before,) = [at async for _, at in later.list(BUNDLE_KEY)]
    watched.recorder.asked.clear()
    # S3 dates objects by the second.
    await asyncio.sleep(1.1)
    assert await later.put(BUNDLE_KEY, BUNDLE) is False
    assert sum(one.size for one in watched.recorder.asked) == 0
    found = [(key, at) async for key, at in later.list("bundles/")]
    assert [key for key, _ in found] == [BUNDLE_KEY], "nothing is left aside"
    assert found[0][1] > before
    assert await later.get(BUNDLE_KEY) == BUNDLE


async def test_the_sweep_takes_what_no_version_names(bucket: Bucket, tmp_path: Path) -> None:
    world = World(tmp_path)
    platform = replace(world.platform, objects=bucket.objects)
    await bucket.objects.put(package_key(b"left by an upload that died"), b"left by an upload that died")
    await bucket.objects.put(BUNDLE_KEY, BUNDLE)
    await bucket.objects.put("files/t/p/kept", b"a file")
    world.clock.now = datetime.now(UTC)
    assert await sweep_orphans(platform) == 0, "what is young may still get its row"
    world.clock.now = datetime.now(UTC) + YOUNGEST + ONE_MINUTE
    assert await sweep_orphans(platform) == 2
    assert [key async for key, _ in bucket.objects.list("")] == ["files/t/p/kept"]


async def test_signed_urls_open_one_key_one_way_for_a_while(bucket: Bucket) -> None:
    objects = bucket.objects
    await objects.replace("files/t/p/one", b"one")
    await objects.replace("files/t/p/two", b"two")
    read = await objects.signed_url("files/t/p/one", "GET", timedelta(seconds=2))
    write = await objects.signed_url("files/t/p/a b=%2F+ü", "PUT", ONE_MINUTE)
    assert read is not None
    assert write is not None
    assert (await asked("GET", read.url)).content == b"one"
    assert (await asked("GET", read.url.replace("p/one", "p/two"))).status_code == 403
    assert (await asked("DELETE", read.url)).status_code == 403
    assert (await asked("PUT", read.url, content=b"changed")).status_code == 403
    assert (await asked("GET", write.url)).status_code == 403
    assert (await asked("PUT", write.url, content=b"theirs", headers=write.headers)).status_code == 200
    assert await objects.get("files/t/p/a b=%2F+ü") == b"theirs"
    assert await objects.get("files/t/p/one") == b"one"
    await asyncio.sleep(2.5)
    assert (await asked("GET", read.url)).status_code == 403


async def test_no_signed_url_is_given_for_what_only_the_service_may_write(bucket: Bucket) -> None:
    assert await bucket.objects.signed_url(BUNDLE_KEY, "PUT", ONE_MINUTE) is None
    without = S3Objects(replace(bucket.settings, credentials=None), SECRET)
    assert await without.signed_url("files/t/p/one", "PUT", ONE_MINUTE) is None


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=8)])
async def test_a_signed_url_has_an_end(bucket: Bucket, expires: timedelta) -> None:
    with pytest.raises(InvalidInput):
        await bucket.objects.signed_url("files/t/p/one", "GET", expires)


async def test_no_key_leads_out_of_the_prefix(bucket: Bucket, s3: Seaweed) -> None:
    outside = S3Objects(s3.settings(), SECRET)
    for key in ("../outside", "files/../../outside", "/outside"):
        # Whichever way it is refused, nothing may be outside.
        with contextlib.suppress(StoreUnavailable):
            await bucket.objects.put(key, b"bytes")
        with pytest.raises(StoreUnavailable):
            await bucket.objects.signed_url(key, "PUT", ONE_MINUTE)
    with pytest.raises(NotFound):
        await outside.get("outside")
    assert [key async for key, _ in bucket.objects.list("files/")] == []


_UPLOAD = """
import asyncio, resource, sys
from pathlib import Path
from plugyard.infrastructure.s3.objects import S3Objects
from plugyard.infrastructure.s3.settings import Credentials, S3Settings

async def main():
    endpoint, prefix, named, secret, small, large = sys.argv[1:]
    settings = S3Settings.parsed(f"s3://plugyard/{prefix}", endpoint=endpoint, credentials=Credentials(named, secret))
    objects = S3Objects(settings, b"secret")
    await objects.put_file("files/small", Path(small))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await objects.put_file("files/large", Path(large))
    async for piece in objects.pieces("files/large"):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)

asyncio.run(main())
"""


def test_a_large_file_is_never_whole_in_memory(bucket: Bucket, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(bytes(6 * 1024 * 1024))
    with large.open("wb") as file:
        file.truncate(160 * 1024 * 1024)
    credentials = bucket.settings.credentials
    assert credentials is not None
    arguments = [
        bucket.settings.endpoint or "", bucket.settings.prefix, credentials.access_key_id,
        credentials.secret_access_key, str(small), str(large),
    ]  # fmt: skip
    done = subprocess.run([sys.executable, "-c", _UPLOAD, *arguments], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 64 * 1024, f"{int(done.stdout) // 1024} MB more for a file of 160 MB"
