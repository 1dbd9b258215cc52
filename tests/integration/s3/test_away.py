"""S3 that is away, silent, or not for this service: a clear error in bounded time, and no secret anywhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from plugyard.bootstrap.stack.plan import free_ports
from plugyard.domain.errors import NotFound, StoreUnavailable
from plugyard.infrastructure.s3.failures import Misconfigured
from plugyard.infrastructure.s3.objects import S3Objects
from plugyard.infrastructure.s3.settings import Patience
from tests.integration.s3.conftest import SECRET, Bucket, Watched
from tests.integration.s3.recorder import Asked
from tests.seaweed import SECRET_KEY, Seaweed

KEY = "files/t/p/one"
IMPATIENT = Patience(connect_s=0.5, answer_s=0.5, request_s=2, retries=2, retry_s=1)


async def _in_pieces(objects: S3Objects) -> None:
    async for _ in objects.pieces(KEY):
        pass


async def _listed(objects: S3Objects) -> None:
    async for _ in objects.list("files/"):
        pass


def deeds(path: Path) -> list[Callable[[S3Objects], Awaitable[object]]]:
    """Everything that asks S3."""
    return [
        lambda objects: objects.get(KEY),
        _in_pieces,
        lambda objects: objects.put(KEY, b"bytes"),
        lambda objects: objects.put_file(KEY, path),
        lambda objects: objects.replace(KEY, b"bytes"),
        lambda objects: objects.delete(KEY),
        lambda objects: objects.copy(KEY, f"{KEY}-2"),
        lambda objects: objects.move(KEY, f"{KEY}-2"),
        _listed,
        lambda objects: objects.ping(),
    ]


async def test_nobody_listens(bucket: Bucket, large_file: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    objects = S3Objects(replace(bucket.settings, endpoint=nowhere, patience=IMPATIENT), SECRET)
    for deed in deeds(large_file):
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="The object store is away") as found:
            await deed(objects)
        assert not isinstance(found.value, Misconfigured)
        assert time.monotonic() - began < 5


async def test_a_silent_server_is_not_waited_for_for_ever_and_is_used_again(
    bucket: Bucket, s3: Seaweed, large_file: Path
) -> None:
    await bucket.objects.replace(KEY, b"before")
    objects = S3Objects(replace(bucket.settings, patience=IMPATIENT), SECRET)
    s3.pause()
    try:
        for deed in deeds(large_file):
            began = time.monotonic()
            with pytest.raises(StoreUnavailable, match="The object store is away"):
                await deed(objects)
            assert time.monotonic() - began < 6
    finally:
        s3.resume()
    await bucket.objects.ping()
    # What was given up may still be done, the deletion too, now that the server reads on. So this asks for another key.
    await bucket.objects.replace(f"{KEY}-after", b"after")
    assert await objects.get(f"{KEY}-after") == b"after"


async def test_an_error_of_the_server_is_tried_again_and_then_told(watched: Watched) -> None:
    await watched.objects().replace(KEY, b"bytes")
    failures = [503, 500]

    def instead(asked: Asked) -> tuple[int, dict[str, str], bytes] | None:
        return (failures.pop(), {}, b"<Error><Code>SlowDown</Code></Error>") if failures else None

    watched.recorder.instead = instead
    assert await watched.objects().get(KEY) == b"bytes"
    failures += [503] * 50
    watched.recorder.asked.clear()
    with pytest.raises(StoreUnavailable, match="The object store is away"):
        await watched.objects().get(KEY)
    assert len(watched.recorder.asked) == 4, "once, and three times again"


async def test_an_answer_that_ends_early_is_no_object(watched: Watched) -> None:
    await watched.objects().replace(KEY, b"bytes" * 1_000)
    objects = S3Objects(
        replace(watched.server.settings(watched.prefix, endpoint=watched.recorder.endpoint), patience=IMPATIENT), SECRET
    )
    watched.recorder.damage = lambda asked, body: body[:1_000]
    for deed in (lambda: objects.get(KEY), lambda: _in_pieces(objects)):
        with pytest.raises(StoreUnavailable):
            await deed()


async def test_wrong_credentials_are_told_apart_and_never_shown(
    s3: Seaweed, capsys: pytest.CaptureFixture[str], large_file: Path
) -> None:
    settings = s3.settings("refused", secret=SECRET_KEY + "-but-wrong")
    objects = S3Objects(settings, SECRET)
    for deed in deeds(large_file):
        with pytest.raises(Misconfigured, match="refuses this service") as found:
            await deed(objects)
        assert SECRET_KEY not in str(found.value)
    told = capsys.readouterr()
    assert "the object store failed" in told.out + told.err
    assert "SignatureDoesNotMatch" in told.out + told.err
    assert SECRET_KEY not in told.out + told.err + repr(settings)


async def test_a_bucket_that_is_not_there_is_no_missing_object(s3: Seaweed, large_file: Path) -> None:
    objects = S3Objects(s3.settings("prefix", bucket="not-there"), SECRET)
    for deed in deeds(large_file):
        with pytest.raises(Misconfigured, match="no such bucket"):
            await deed(objects)


async def test_a_missing_object_is_told_apart(bucket: Bucket) -> None:
    await bucket.objects.ping()
    with pytest.raises(NotFound):
        await bucket.objects.copy(KEY, f"{KEY}-2")
    with pytest.raises(NotFound):
        await bucket.objects.move(KEY, f"{KEY}-2")
