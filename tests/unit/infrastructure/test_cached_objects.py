"""The cache of objects: read once, kept within the cap, proven before it is served, and never a reason to fail."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from plugyard.domain.errors import NotFound, StoreUnavailable
from plugyard.infrastructure import cachefolder
from plugyard.infrastructure.cached import CachedObjects
from plugyard.infrastructure.cachefolder import CacheFolder
from tests.memory.objects import MemoryObjects

SECRET = b"secret"
SEAL_BYTES = 32


def package_key(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    return f"packages/sha256/{digest[:2]}/{digest}"


def bundle_key(number: int) -> str:
    return f"bundles/sha256/00/{number:064x}.json"


class Counted(MemoryObjects):
    """Counts how often each key is asked for, and is as slow or as far away as a test wants."""

    def __init__(self) -> None:
        super().__init__(lambda: datetime.now(UTC))
        self.reads: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    async def get(self, key: str) -> bytes:
        self.reads.append(key)
        await self.go_on.wait()
        if not self.available:
            raise StoreUnavailable()
        return await super().get(key)


class Kept:
    """A cache over a store in memory; ``again`` is the same after a restart."""

    def __init__(self, folder: Path, cap: int = 1_000_000) -> None:
        self.path = folder
        self.behind = Counted()
        self.cap = cap
        self.again()

    def again(self, secret: bytes = SECRET) -> None:
        self.folder = CacheFolder(self.path, self.cap, secret)
        self.objects = CachedObjects(self.behind, self.folder)

    async def read(self, key: str, way: str) -> bytes:
        if way == "whole":
            return await self.objects.get(key)
        return b"".join([piece async for piece in self.objects.pieces(key)])

    def files(self) -> list[Path]:
        return sorted(self.path.iterdir())

    def on_disk(self) -> int:
        return sum(path.stat().st_size for path in self.files())


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "cache")


WAYS = pytest.mark.parametrize("way", ["whole", "in pieces"])
PACKAGE = b"PK\x03\x04" + bytes(range(256)) * 2_000


@WAYS
@pytest.mark.parametrize("key", [package_key(PACKAGE), bundle_key(1)])
async def test_what_was_read_once_is_read_from_the_disk_even_after_a_restart(kept: Kept, key: str, way: str) -> None:
    await kept.behind.put(key, PACKAGE)
    for _ in range(3):
        assert await kept.read(key, way) == PACKAGE
    kept.again()
    kept.behind.available = False
    for _ in range(2):
        assert await kept.read(key, way) == PACKAGE
    assert kept.behind.reads == [key]
    assert (kept.objects.hits, kept.objects.misses) == (2, 0)


async def test_a_bundle_that_was_put_is_on_the_disk_and_a_package_that_was_put_is_not(
    kept: Kept, tmp_path: Path
) -> None:
    (tmp_path / "package").write_bytes(PACKAGE)
    await kept.objects.put_file(package_key(PACKAGE), tmp_path / "package")
    await kept.objects.put(bundle_key(1), b"{}")
    assert await kept.objects.get(bundle_key(1)) == b"{}"
    assert kept.behind.reads == []
    assert len(kept.files()) == 1


@WAYS
async def test_files_of_plugins_are_never_kept(kept: Kept, way: str) -> None:
    await kept.objects.replace("files/t/p/one", b"first")
    assert await kept.read("files/t/p/one", way) == b"first"
    await kept.behind.replace("files/t/p/one", b"other")
    assert await kept.read("files/t/p/one", way) == b"other"
    assert kept.files() == []


@WAYS
async def test_a_missing_key_is_not_found_and_is_asked_for_again(kept: Kept, way: str) -> None:
    with pytest.raises(NotFound):
        await kept.read(bundle_key(1), way)
    await kept.behind.put(bundle_key(1), b"now")
    assert await kept.read(bundle_key(1), way) == b"now"
    assert kept.folder.held_bytes == kept.on_disk() == 3 + SEAL_BYTES


async def test_readers_of_one_key_at_a_time_ask_the_store_once(kept: Kept) -> None:
    key = package_key(PACKAGE)
    await kept.behind.put(key, PACKAGE)
    kept.behind.go_on.clear()
    readers = [asyncio.create_task(kept.read(key, way)) for way in ("whole", "in pieces") * 10]
    # Somebody who gives up takes nothing from the others.
    readers[0].cancel()
    await asyncio.sleep(0.05)
    kept.behind.go_on.set()
    assert await asyncio.gather(*readers[1:]) == [PACKAGE] * 19
    assert kept.behind.reads == [key]


async def test_all_readers_hear_of_a_failure_and_the_next_one_tries_again(kept: Kept) -> None:
    kept.behind.go_on.clear()
    kept.behind.available = False
    readers = [asyncio.create_task(kept.read(bundle_key(1), way)) for way in ("whole", "in pieces") * 3]
    await asyncio.sleep(0.05)
    kept.behind.go_on.set()
    failed = await asyncio.gather(*readers, return_exceptions=True)
    assert [type(one) for one in failed] == [StoreUnavailable] * 6
    kept.behind.available = True
    await kept.behind.put(bundle_key(1), b"back")
    assert await kept.objects.get(bundle_key(1)) == b"back"
    assert kept.on_disk() == kept.folder.held_bytes


@WAYS
@pytest.mark.parametrize("size", [0, 1, 40_000, 99_900])
async def test_the_cap_holds_and_the_least_recently_used_goes_first(tmp_path: Path, way: str, size: int) -> None:
    kept = Kept(tmp_path / "cache", cap=100_000)
    await kept.behind.put(bundle_key(0), b"x" * size)
    for number in range(1, 9):
        await kept.behind.put(bundle_key(number), b"y" * 20_000)
    await kept.read(bundle_key(0), way)
    for number in range(1, 9):
        await kept.read(bundle_key(number), way)
        if size < 50_000:
            await kept.read(bundle_key(0), way)
        assert kept.on_disk() == kept.folder.held_bytes <= 100_000
    kept.behind.reads.clear()
    newest = range(7, 9) if size >= 40_000 else range(5, 9)
    for number in (*newest, *((0,) if size < 50_000 else ())):
        await kept.read(bundle_key(number), way)
    assert kept.behind.reads == []
    await kept.read(bundle_key(1), way)
    assert kept.behind.reads == [bundle_key(1)]


async def test_the_order_of_use_outlives_a_restart(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "cache", cap=100_000)
    for number in range(4):
        await kept.objects.put(bundle_key(number), b"y" * 20_000)
        await asyncio.sleep(0.01)
    await kept.objects.get(bundle_key(0))
    kept.cap = 50_000
    kept.again()
    assert kept.on_disk() == kept.folder.held_bytes <= 50_000
    assert [number for number in range(4) if kept.folder.has(bundle_key(number))] == [0, 3]


@WAYS
async def test_what_is_larger_than_the_cap_is_read_and_not_kept(tmp_path: Path, way: str) -> None:
    kept = Kept(tmp_path / "cache", cap=100_000)
    await kept.behind.put(package_key(PACKAGE), PACKAGE)
    for _ in range(2):
        assert await kept.read(package_key(PACKAGE), way) == PACKAGE
    assert (kept.files(), kept.folder.held_bytes) == ([], 0)


async def test_what_can_never_fit_makes_nothing_else_go(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "cache", cap=100_000)
    for number in range(4):
        await kept.objects.put(bundle_key(number), b"y" * 20_000)
    await kept.behind.put(package_key(PACKAGE), PACKAGE)
    assert await kept.objects.get(package_key(PACKAGE)) == PACKAGE
    assert not kept.folder.keep(bundle_key(9), b"z" * (100_000 - SEAL_BYTES + 1))
    assert [number for number in range(4) if kept.folder.has(bundle_key(number))] == [0, 1, 2, 3]


def test_what_does_not_fit_beside_what_is_being_written_makes_nothing_else_go(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "cache", cap=100_000)
    assert kept.folder.keep(bundle_key(0), b"x" * 20_000)
    half = kept.folder.half(bundle_key(1), 60_000)
    assert half is not None
    assert half.write(b"y" * 20_000)
    assert not kept.folder.keep(bundle_key(2), b"z" * 50_000)
    assert kept.folder.has(bundle_key(0))
    assert half.write(b"y" * 20_000)
    assert half.finish()
    assert kept.folder.held_bytes == kept.on_disk() == 60_000 + 2 * SEAL_BYTES, "what was not needed is given back"


DAMAGE = {
    "a byte": lambda data: bytes([data[0] ^ 1]) + data[1:],
    "the seal": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "cut short": lambda data: data[:-100],
    "zeros, as after a loss of power": lambda data: bytes(len(data)),
    "empty": lambda data: b"",
    "longer": lambda data: data + b"?",
}


@WAYS
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("key", [package_key(PACKAGE), bundle_key(1)])
async def test_a_damaged_file_is_deleted_and_fetched_again(kept: Kept, key: str, damage: str, way: str) -> None:
    await kept.behind.put(key, PACKAGE)
    await kept.read(key, way)
    (file,) = kept.files()
    file.write_bytes(DAMAGE[damage](file.read_bytes()))
    assert await kept.read(key, way) == PACKAGE
    assert kept.behind.reads == [key, key]
    assert await kept.read(key, way) == PACKAGE
    assert kept.folder.held_bytes == kept.on_disk()


@WAYS
@pytest.mark.parametrize("good", [0, 1])
async def test_a_disk_that_fails_after_the_proof_costs_nothing_but_the_time_to_fetch_it(
    kept: Kept, way: str, good: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.behind.put(bundle_key(1), PACKAGE)
    await kept.read(bundle_key(1), way)
    real, reads = cachefolder.KeptFile.next, [0]

    def broken(file: cachefolder.KeptFile) -> bytes:
        reads[0] += 1
        if reads[0] > good:
            raise OSError(errno.EIO, "the disk is broken")
        return real(file)

    monkeypatch.setattr(cachefolder.KeptFile, "next", broken)
    assert await kept.read(bundle_key(1), way) == PACKAGE


async def test_a_file_that_is_cut_short_while_it_is_read_is_read_to_its_end_from_the_store(kept: Kept) -> None:
    await kept.behind.put(bundle_key(1), PACKAGE)
    await kept.read(bundle_key(1), "in pieces")
    pieces = kept.objects.pieces(bundle_key(1))
    first = await anext(pieces)
    (file,) = kept.files()
    os.truncate(file, len(first) + 1)
    assert first + b"".join([piece async for piece in pieces]) == PACKAGE


def test_what_is_read_is_what_was_proven(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    assert kept.folder.keep(bundle_key(1), PACKAGE)
    (file,) = kept.files()
    real = kept.folder._seals.fits

    def changed_meanwhile(seal: bytes, key: str, digest: str) -> bool:
        held = file.read_bytes()
        file.write_bytes(b"?" * len(held))
        return real(seal, key, digest)

    monkeypatch.setattr(kept.folder._seals, "fits", changed_meanwhile)
    assert kept.folder.read(bundle_key(1)) == PACKAGE


async def test_a_file_under_another_name_or_of_another_secret_is_not_served(kept: Kept) -> None:
    for number, data in ((1, b"of one"), (2, b"of two")):
        await kept.behind.put(bundle_key(number), data)
        await kept.objects.get(bundle_key(number))
    one, two = kept.files()
    held = one.read_bytes()
    one.write_bytes(two.read_bytes())
    two.write_bytes(held)
    assert await kept.objects.get(bundle_key(1)) == b"of one"
    assert await kept.objects.get(bundle_key(2)) == b"of two"
    kept.behind.reads.clear()
    kept.again(secret=b"another")
    assert await kept.objects.get(bundle_key(1)) == b"of one"
    assert kept.behind.reads == [bundle_key(1)]


@WAYS
async def test_what_does_not_have_the_digest_of_its_key_is_not_kept(kept: Kept, way: str) -> None:
    """S3 proves what it answers (tests/integration/s3/test_proofs.py); this store does not."""
    other = PACKAGE[:-1] + b"?"
    kept.behind.held[package_key(PACKAGE)] = (other, datetime.now(UTC))
    assert await kept.read(package_key(PACKAGE), way) == other
    assert (kept.files(), kept.folder.held_bytes) == ([], 0)


@WAYS
async def test_a_full_disk_costs_the_keeping_and_nothing_else(
    kept: Kept, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The kernel's own full device: whatever is written to it fails as a full disk does.
    def full(dir: Path, prefix: str) -> tuple[int, str]:
        return os.open("/dev/full", os.O_WRONLY), str(dir / f"{prefix}full")

    await kept.behind.put(bundle_key(1), PACKAGE)
    await kept.behind.put(bundle_key(2), b"before")
    await kept.read(bundle_key(2), way)
    kept.behind.reads.clear()
    with monkeypatch.context() as patched:
        patched.setattr(cachefolder.tempfile, "mkstemp", full)
        for _ in range(2):
            assert await kept.read(bundle_key(1), way) == PACKAGE
        await kept.objects.put(bundle_key(3), b"stored all the same")
    assert await kept.read(bundle_key(2), way) == b"before", "what is there is still served"
    assert bundle_key(2) not in kept.behind.reads
    assert kept.folder.held_bytes == kept.on_disk() == len(b"before") + SEAL_BYTES
    assert not kept.folder.usable
    monkeypatch.setattr(kept.folder, "_refused_until", time.monotonic())
    kept.behind.reads.clear()
    for _ in range(2):
        assert await kept.read(bundle_key(1), way) == PACKAGE
    assert len(kept.behind.reads) == 1, "a disk that has room again is used again"


@WAYS
async def test_a_folder_that_cannot_be_made_costs_the_keeping_and_nothing_else(tmp_path: Path, way: str) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    kept = Kept(tmp_path / "file")
    await kept.behind.put(bundle_key(1), PACKAGE)
    assert await kept.read(bundle_key(1), way) == PACKAGE


@WAYS
async def test_somebody_deletes_the_files_while_the_service_runs(kept: Kept, way: str) -> None:
    await kept.behind.put(bundle_key(1), PACKAGE)
    await kept.read(bundle_key(1), way)
    for file in kept.files():
        file.unlink()
    assert await kept.read(bundle_key(1), way) == PACKAGE
    assert await kept.read(bundle_key(1), way) == PACKAGE
    assert kept.folder.held_bytes == kept.on_disk()


@WAYS
async def test_a_process_that_may_open_no_more_files_deletes_none(
    kept: Kept, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.behind.put(bundle_key(1), PACKAGE)
    await kept.read(bundle_key(1), way)

    def refused(*args: Any, **named: Any) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", refused)
        patched.setattr(Path, "read_bytes", refused)
        patched.setattr(cachefolder.tempfile, "mkstemp", refused)
        assert await kept.read(bundle_key(1), way) == PACKAGE
    assert len(kept.files()) == 1
    kept.behind.reads.clear()
    assert await kept.read(bundle_key(1), way) == PACKAGE
    assert kept.behind.reads == []


async def test_a_disk_that_cannot_be_read_to_prove_a_file_deletes_nothing(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    await kept.behind.put(bundle_key(1), PACKAGE)
    await kept.read(bundle_key(1), "in pieces")

    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    with monkeypatch.context() as patched:
        patched.setattr(cachefolder.os, "fstat", broken)
        assert kept.folder.opened(bundle_key(1)) is None
    again = kept.folder.opened(bundle_key(1))
    assert again is not None
    with again:
        assert PACKAGE.startswith(again.next())


@WAYS
async def test_what_is_deleted_while_it_is_fetched_does_not_stay(kept: Kept, way: str) -> None:
    await kept.behind.put(bundle_key(1), PACKAGE)
    kept.behind.go_on.clear()
    reading = asyncio.create_task(kept.read(bundle_key(1), way))
    await asyncio.sleep(0.05)
    data = kept.behind.held[bundle_key(1)]
    await kept.objects.delete(bundle_key(1))
    kept.behind.held[bundle_key(1)] = data
    kept.behind.go_on.set()
    assert await reading == PACKAGE
    await kept.behind.delete(bundle_key(1))
    with pytest.raises(NotFound):
        await kept.read(bundle_key(1), way)
    assert kept.folder.held_bytes == kept.on_disk() == 0


async def test_a_reader_goes_on_while_what_it_reads_makes_room(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "cache", cap=600_000)
    await kept.behind.put(package_key(PACKAGE), PACKAGE)
    await kept.read(package_key(PACKAGE), "in pieces")
    pieces: AsyncIterator[bytes] = kept.objects.pieces(package_key(PACKAGE))
    first = await anext(pieces)
    await kept.objects.put(bundle_key(1), b"z" * 500_000)
    assert not kept.folder.has(package_key(PACKAGE))
    assert first + b"".join([piece async for piece in pieces]) == PACKAGE


async def test_closing_ends_what_is_under_way(kept: Kept) -> None:
    kept.behind.go_on.clear()
    reading = asyncio.create_task(kept.read(bundle_key(1), "in pieces"))
    await asyncio.sleep(0.05)
    await kept.objects.close()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert kept.folder.held_bytes == kept.on_disk() == 0
