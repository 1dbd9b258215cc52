"""What a folder holds of objects is copied into a bucket, whole, and again without doing it twice."""

import asyncio
import json
import uuid
from pathlib import Path

import pytest

from plugyard.bootstrap.carrying import carry_objects
from plugyard.bootstrap.keys import CannotStart, Keys
from plugyard.bootstrap.objects import object_store
from plugyard.cli import objects as command
from plugyard.infrastructure.objects import FolderObjects
from plugyard.settings import Settings
from tests.integration.s3.conftest import package_key
from tests.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

FILE = "files/tenant/plugin/a b/ü.txt"


@pytest.fixture
def settings(s3: Seaweed, tmp_path: Path) -> Settings:
    """A data folder, and a prefix of a bucket for it."""
    return Settings(
        data=tmp_path,
        objects_url=f"s3://{BUCKET}/{uuid.uuid4().hex}",
        objects_endpoint=s3.endpoint,
        objects_region="us-east-1",
        objects_access_key_id=ACCESS_KEY,
        objects_secret_access_key=SECRET_KEY,
    )


async def filled(settings: Settings) -> dict[str, bytes]:
    """Objects of each kind in the folder, one of them of many parts."""
    package, large = b"a package", bytes(range(256)) * 50_000
    found = {package_key(one): one for one in (package, large)}
    found[package_key(package).replace("packages", "bundles") + ".json"] = json.dumps({"a": "b" * 5_000}).encode()
    found[FILE] = b"a plugin's own"
    folder = FolderObjects(settings.data / "objects")
    for key, data in found.items():
        await folder.put(key, data)
    return found


async def test_everything_arrives_and_what_is_there_is_left(settings: Settings) -> None:
    held, done = await filled(settings), []
    first = await carry_objects(settings, done.append)
    assert (first.objects, first.copied, first.failed) == (4, 4, {})
    assert first.bytes == sum(done) == sum(map(len, held.values()))
    await FolderObjects(settings.data / "objects").replace(FILE, b"newer")
    second = await carry_objects(settings)
    assert (second.objects, second.copied, second.failed) == (4, 1, {})
    # As a replica reads it, which has the pepper of the folder.
    pepper = bytes.fromhex(Keys.of(settings.data, None).pepper)
    bucket = object_store(settings, pepper)
    assert {key: await bucket.objects.get(key) for key in held} == {**held, FILE: b"newer"}
    await bucket.close()


async def test_what_is_damaged_is_named_and_holds_up_no_other(settings: Settings) -> None:
    held = await filled(settings)
    broken = next(key for key in held if key.startswith("packages/"))
    (settings.data / "objects" / broken).write_bytes(b"other bytes")
    done = await carry_objects(settings)
    assert (done.objects, done.copied, set(done.failed)) == (4, 3, {broken})


async def test_without_a_bucket_or_a_folder_nothing_is_copied(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no data folder"):
        await carry_objects(settings)
    (tmp_path / "objects").mkdir()
    with pytest.raises(CannotStart, match="--objects-url"):
        await carry_objects(Settings(data=tmp_path))
    assert not (tmp_path / "keys.json").exists()


async def test_the_command_says_what_it_did_and_what_comes_next(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    await filled(settings)
    await asyncio.to_thread(command.copy, settings=settings)
    said = capsys.readouterr().out
    assert "4 objects of 12.8 MB: 4 copied, 0 failed" in said
    assert "pepper" in said
    await asyncio.to_thread(command.copy, as_json=True, settings=settings)
    assert json.loads(capsys.readouterr().out)["copied"] == 1
