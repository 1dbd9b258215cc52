"""Which object store the settings name, and what the health report says of it."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from plugyard.bootstrap import objects as chosen
from plugyard.bootstrap.keys import CannotStart
from plugyard.bootstrap.objects import ObjectStore, object_store
from plugyard.domain.errors import StoreUnavailable
from plugyard.infrastructure.cached import CachedObjects
from plugyard.infrastructure.cachefolder import CacheFolder
from plugyard.infrastructure.objects import FolderObjects
from plugyard.infrastructure.s3.objects import S3Objects
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings
from tests.memory.objects import MemoryObjects


class Bucket:
    """Answers, fails, or says nothing."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False
        self.silent = False

    async def ping(self) -> None:
        self.asked += 1
        if self.silent:
            await asyncio.Event().wait()
        if self.fails:
            raise StoreUnavailable("away")


def reported_on(bucket: Bucket) -> ObjectStore:
    return ObjectStore(MemoryObjects(lambda: datetime.now(UTC)), cast("Any", bucket))


def test_a_folder_a_bucket_or_a_bucket_with_a_cache(tmp_path: Path) -> None:
    named = {"data": tmp_path, "objects_url": "s3://bucket/prefix", "objects_endpoint": "http://127.0.0.1:1"}
    assert isinstance(object_store(Settings(data=tmp_path), b"k").objects, FolderObjects)
    assert isinstance(object_store(Settings(**cast("Any", named)), b"k").objects, CachedObjects)
    assert isinstance(object_store(Settings(**cast("Any", named), objects_cache_bytes=0), b"k").objects, S3Objects)


async def test_what_the_cache_saves_is_shown_where_there_is_one(tmp_path: Path) -> None:
    telemetry = Telemetry()
    ObjectStore(FolderObjects(tmp_path)).show(telemetry)
    assert "objects_cache" not in telemetry.exposition()[0].decode()
    behind = MemoryObjects(lambda: datetime.now(UTC))
    cached = CachedObjects(behind, CacheFolder(tmp_path, 1_000, b"k"))
    ObjectStore(cached, None, cached).show(telemetry)
    await behind.put("bundles/one", b"{}")
    for _ in range(3):
        await cached.get("bundles/one")
    text = telemetry.exposition()[0].decode()
    assert "plugyard_objects_cache_hits_total 2.0" in text
    assert "plugyard_objects_cache_misses_total 1.0" in text


@pytest.mark.parametrize("half", ["objects_access_key_id", "objects_secret_access_key"])
def test_half_of_an_access_key_is_refused_and_not_repeated(tmp_path: Path, half: str) -> None:
    settings = Settings(data=tmp_path, objects_url="s3://bucket", **cast("Any", {half: "hidden"}))
    with pytest.raises(CannotStart, match="belong together") as found:
        object_store(settings, b"k")
    assert "hidden" not in str(found.value)


def test_the_secret_is_not_in_what_the_settings_print() -> None:
    assert "hidden" not in repr(Settings(objects_access_key_id="them", objects_secret_access_key="hidden"))


async def test_a_folder_is_no_part_of_the_health_report(tmp_path: Path) -> None:
    store = ObjectStore(FolderObjects(tmp_path))
    await store.start()
    assert await store.parts() == {}
    await store.close()


async def test_a_silent_bucket_holds_up_neither_a_probe_nor_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen, "STARTS_WITHOUT_AFTER_S", 0.1)
    bucket = Bucket()
    bucket.silent = True
    store = reported_on(bucket)
    await store.start()
    for _ in range(3):
        began = time.monotonic()
        assert await store.parts() == {"objects": "warning: the object store does not answer"}
        assert time.monotonic() - began < 2 * chosen.WAITED_FOR_S
    assert bucket.asked == 2, "one question at the start, and one for all probes"
    await store.close()


async def test_probes_ask_the_bucket_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Bucket()
    store = reported_on(bucket)
    for _ in range(3):
        assert await store.parts() == {"objects": "ok"}
    assert bucket.asked == 1
    monkeypatch.setattr(chosen, "ASKED_EVERY_S", 0.0)
    bucket.fails = True
    assert await store.parts() == {"objects": "warning: away"}
    bucket.fails = False
    assert await store.parts() == {"objects": "ok"}
    await store.close()
