"""Measures objects in a bucket: a large upload, what it holds in memory, and what the cache before the bucket saves.

    uv run python -m benchmarks.objects [--json] [--mb 50]

Starts SeaweedFS out of its wheel on loopback, with encryption, and asks it by the adapter that the service uses. The
server shares the cores and the disk with what is measured, and no network lies between, so a real bucket is slower by
its distance. Each row is measured in a process of its own, so that its memory is its own.
"""

import argparse
import asyncio
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from plugyard.infrastructure.cached import CachedObjects
from plugyard.infrastructure.cachefolder import CacheFolder
from plugyard.infrastructure.objects import FolderObjects
from plugyard.infrastructure.s3.objects import S3Objects
from plugyard.infrastructure.s3.settings import Credentials, S3Settings
from tests.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, seaweed

MB = 1 << 20
READS, BUNDLE_READS = 7, 200


def package_key(digest: str) -> str:
    """Where a package of this digest lies."""
    return f"packages/sha256/{digest[:2]}/{digest}"


def memory_kb(what: str) -> int:
    """``VmRSS`` is what is held now, ``VmHWM`` the most since it was reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(what):
            return int(line.split()[1])
    raise AssertionError(what)


def forget_the_most() -> None:
    """From here on ``VmHWM`` counts anew (proc(5), ``clear_refs``)."""
    Path("/proc/self/clear_refs").write_text("5")


async def grown(deed: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """How long it took (s), and how far memory rose above where it was before (MB)."""
    forget_the_most()
    before = memory_kb("VmRSS")
    began = time.perf_counter()
    await deed()
    return time.perf_counter() - began, (memory_kb("VmHWM") - before) / 1024


async def median_ms(deed: Callable[[], Awaitable[object]], times: int) -> float:
    """The median of single calls."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        await deed()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1_000


async def drain(objects: S3Objects | CachedObjects, key: str) -> None:
    """Read some at a time and keep nothing."""
    async for _ in objects.pieces(key):
        pass


def opened(endpoint: str, prefix: str) -> S3Objects:
    """The adapter, on its own part of the bucket."""
    credentials = Credentials(ACCESS_KEY, SECRET_KEY)
    return S3Objects(S3Settings.parsed(f"s3://{BUCKET}/{prefix}", endpoint=endpoint, credentials=credentials), b"key")


async def upload(endpoint: str, folder: Path, size: int) -> dict[str, float]:
    """A package that is new, the same again, and the folder that serves without a bucket."""
    objects = opened(endpoint, "upload")
    (folder / "small").write_bytes(os.urandom(6 * MB))
    await objects.put_file("files/warm", folder / "small")
    files = []
    for number in range(3):
        data = os.urandom(size)
        files.append((package_key(hashlib.sha256(data).hexdigest()), folder / f"large-{number}"))
        files[-1][1].write_bytes(data)
        del data
    runs = [await grown(lambda one=one: objects.put_file(*one)) for one in files]  # type: ignore[misc]
    again = await median_ms(lambda: objects.put_file(*files[0]), 3)
    beside = FolderObjects(folder / "objects")
    local = [await grown(lambda one=one: beside.put_file(*one)) for one in files]  # type: ignore[misc]
    return {
        "upload, new (s)": statistics.median(took for took, _ in runs),
        "memory grown meanwhile, most (MB)": max(more for _, more in runs),
        "upload, already there (s)": again / 1_000,
        "upload to a folder instead (s)": statistics.median(took for took, _ in local),
    }


async def reads(endpoint: str, folder: Path, size: int) -> dict[str, float]:
    """The same package and a bundle, from the bucket and from the cache before it."""
    objects = opened(endpoint, "reads")
    data = os.urandom(size)
    key = package_key(hashlib.sha256(data).hexdigest())
    (folder / "large").write_bytes(data)
    del data
    await objects.put_file(key, folder / "large")
    text = json.dumps({"entry": "main.py", "files": {"main.py": code()}}).encode()
    bundle = f"bundles/sha256/00/{'00' * 32}.json"
    await objects.put(bundle, text)
    cached = CachedObjects(objects, CacheFolder(folder / "cache", 4 * size, b"key"))
    await drain(cached, key)
    await cached.get(bundle)
    (stored,) = [taken async for _, taken in objects.sizes(bundle)]
    _, uncached_more = await grown(lambda: drain(objects, key))
    _, cached_more = await grown(lambda: drain(cached, key))
    return {
        "package in pieces, from the bucket (ms)": await median_ms(lambda: drain(objects, key), READS),
        "package in pieces, from the cache (ms)": await median_ms(lambda: drain(cached, key), READS),
        "memory grown, from the bucket (MB)": uncached_more,
        "memory grown, from the cache (MB)": cached_more,
        "bundle, from the bucket (ms)": await median_ms(lambda: objects.get(bundle), BUNDLE_READS),
        "bundle, from the cache (ms)": await median_ms(lambda: cached.get(bundle), BUNDLE_READS),
        "bundle (KB)": len(text) / 1024,
        "bundle as stored (KB)": stored / 1024,
    }


def code() -> str:
    """Real source text, as bundles hold it."""
    files = sorted((Path(__file__).resolve().parents[1] / "src" / "plugyard" / "domain").glob("*.py"))
    return "\n".join(file.read_text() for file in files)


PARTS = {"upload": upload, "reads": reads}


def measure(size: int) -> dict[str, float]:
    """Both parts, one after the other."""
    found: dict[str, float] = {}
    with seaweed() as server:
        for part in PARTS:
            command = [sys.executable, "-m", "benchmarks.objects", "--part", part, "--endpoint", server.endpoint]
            done = subprocess.run([*command, "--mb", str(size // MB)], capture_output=True, text=True, check=True)
            found |= json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--mb", type=int, default=50)
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--endpoint", help=argparse.SUPPRESS)
    given = parser.parse_args()
    size = given.mb * MB
    if given.part:
        with tempfile.TemporaryDirectory(prefix="plugyard-bench-") as folder:
            print(json.dumps(asyncio.run(PARTS[given.part](given.endpoint, Path(folder), size))))
        return
    found = measure(size)
    if given.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:44} {value:10.2f}")


if __name__ == "__main__":
    main()
