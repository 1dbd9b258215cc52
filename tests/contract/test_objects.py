"""The object store: what is put is got, under its key and nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plugyard.application.ports import Objects
from plugyard.domain.errors import NotFound
from plugyard.infrastructure.cached import CachedObjects
from plugyard.infrastructure.cachefolder import CacheFolder
from plugyard.infrastructure.objects import FolderObjects
from plugyard.infrastructure.s3.objects import S3Objects
from tests.memory.objects import MemoryObjects
from tests.seaweed import Seaweed

KEY = "packages/sha256/ab/abcdef"


@pytest.fixture(params=["memory", "folder", "s3", "cached s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    """One implementation after the other."""
    if request.param == "memory":
        return MemoryObjects(lambda: datetime.now(UTC))
    if request.param == "folder":
        return FolderObjects(tmp_path / "objects")
    server: Seaweed = request.getfixturevalue("s3")
    bucket = S3Objects(server.settings(f"contract/{uuid.uuid4().hex}"), b"secret")
    if request.param == "s3":
        return bucket
    return CachedObjects(bucket, CacheFolder(tmp_path / "cache", 64 * 1024 * 1024, b"secret"))


async def test_bytes_come_back_and_are_new_once(objects: Objects) -> None:
    assert await objects.put(KEY, b"some bytes") is True
    assert await objects.put(KEY, b"some bytes") is False
    assert await objects.get(KEY) == b"some bytes"


@pytest.mark.parametrize("size", [0, 1, 4 * 1024 * 1024, 9 * 1024 * 1024 + 1])
async def test_a_file_comes_back_and_is_new_once(objects: Objects, tmp_path: Path, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))
    assert await objects.put_file(KEY, source) is True
    assert await objects.put_file(KEY, source) is False
    assert await objects.get(KEY) == source.read_bytes()


async def test_a_key_that_is_not_there_is_not_found_and_may_be_deleted(objects: Objects) -> None:
    with pytest.raises(NotFound):
        await objects.get(KEY)
    await objects.delete(KEY)


@pytest.mark.parametrize("kind", ["a package", "a bundle"])
async def test_what_is_named_by_a_digest_comes_back_at_once_and_in_pieces(objects: Objects, kind: str) -> None:
    data = b'{"entry": "main.py", "files": {}}' * 20_000
    digest = hashlib.sha256(data).hexdigest()
    key = f"packages/sha256/{digest[:2]}/{digest}" if kind == "a package" else f"bundles/sha256/00/{digest}.json"
    assert await objects.put(key, data) is True
    assert await objects.put(key, data) is False
    for _ in range(2):
        assert await objects.get(key) == data
        assert b"".join([piece async for piece in objects.pieces(key)]) == data
    await objects.delete(key)
    with pytest.raises(NotFound):
        await objects.get(key)
    with pytest.raises(NotFound):
        await anext(objects.pieces(key))


@pytest.mark.parametrize("below", ["files/t/p", "bundles/sha256/00"])
async def test_a_copy_leaves_the_source_and_a_move_does_not(objects: Objects, below: str) -> None:
    await objects.replace(f"{below}/one", b"of one")
    await objects.replace(f"{below}/two", b"of two")
    await objects.copy(f"{below}/one", f"{below}/two")
    assert await objects.get(f"{below}/one") == await objects.get(f"{below}/two") == b"of one"
    await objects.move(f"{below}/one", f"{below}/three")
    assert await objects.get(f"{below}/three") == b"of one"
    assert {key async for key, _ in objects.list(below)} == {f"{below}/two", f"{below}/three"}
    await objects.replace(f"{below}/three", b"changed")
    assert await objects.get(f"{below}/two") == b"of one"
    with pytest.raises(NotFound):
        await objects.move(f"{below}/one", f"{below}/four")


async def test_a_deleted_object_is_gone(objects: Objects) -> None:
    await objects.put(KEY, b"bytes")
    await objects.delete(KEY)
    with pytest.raises(NotFound):
        await objects.get(KEY)
    assert await objects.put(KEY, b"bytes") is True


async def test_a_list_names_every_key_below_a_prefix_with_its_time(objects: Objects) -> None:
    keys = {f"packages/sha256/{number % 3:02d}/{number:04d}" for number in range(30)}
    for key in keys | {"bundles/sha256/00/0000"}:
        await objects.put(key, key.encode())
    found = {key: changed async for key, changed in objects.list("packages/")}
    assert set(found) == keys
    assert all(abs(datetime.now(UTC) - changed) < timedelta(minutes=1) for changed in found.values())
    assert {key async for key, _ in objects.list("packages/sha256/00/")} == {key for key in keys if "/00/" in key}
    assert {key async for key, _ in objects.list("nothing/")} == set()


async def test_what_is_replaced_is_new_even_where_it_is_as_long(objects: Objects) -> None:
    await objects.replace(KEY, b"first")
    await objects.replace(KEY, b"other")
    assert await objects.get(KEY) == b"other"


async def test_sizes_are_told_below_a_prefix(objects: Objects) -> None:
    for number in range(5):
        await objects.replace(f"files/t/p/{number}", b"x" * number)
    await objects.replace("files/t/q/0", b"another's")
    assert {key: size async for key, size in objects.sizes("files/t/p/")} == {f"files/t/p/{n}": n for n in range(5)}
    assert [key async for key, _ in objects.sizes("files/t/r/")] == []


async def test_a_file_that_a_power_loss_cut_short_is_written_again(tmp_path: Path) -> None:
    objects = FolderObjects(tmp_path / "objects")
    await objects.put(KEY, b"all of it")
    (tmp_path / "objects" / KEY).write_bytes(b"")
    assert await objects.put(KEY, b"all of it") is True
    assert await objects.get(KEY) == b"all of it"


@pytest.mark.parametrize("key", ["../outside", "packages/../../outside", "/etc/passwd/x"])
async def test_no_key_leads_out_of_the_folder(tmp_path: Path, key: str) -> None:
    objects = FolderObjects(tmp_path / "objects")
    # Whichever way it is refused, nothing may be outside.
    with contextlib.suppress(Exception):
        await objects.put(key, b"bytes")
    assert not [name for name in os.listdir(tmp_path) if name != "objects"]


@pytest.mark.parametrize("size", [0, 1, 999_999])
async def test_an_object_comes_back_in_pieces(objects: Objects, size: int) -> None:
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    await objects.put(KEY, data)
    pieces = [piece async for piece in objects.pieces(KEY)]
    assert b"".join(pieces) == data
    assert size < 999_999 or len(pieces) > 1
    with pytest.raises(NotFound):
        await anext(objects.pieces("packages/sha256/00/none"))
