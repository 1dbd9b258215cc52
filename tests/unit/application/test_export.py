"""An export holds everything of a tenant and nothing of another, can be read back, and shows no secret."""

import hashlib
import io
import json
import tracemalloc
import zipfile
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from plugyard.application.configure import configure
from plugyard.application.export import export_own_tenant, export_tenant
from plugyard.application.keys import create_key
from plugyard.application.marketplace import install_listing, publish, rate
from plugyard.application.tenants import suspend
from plugyard.application.uninstall import uninstall
from plugyard.domain.errors import Forbidden, NotFound
from plugyard.domain.execution import LogLine
from plugyard.domain.identity import Caller, Role
from tests.memory.sandbox import succeeded
from tests.memory.world import World, as_role, manifest

OPERATOR = as_role(Role.OPERATOR, None)
SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string"}, "token": {"type": "string", "writeOnly": True}},
}


async def read(pieces: AsyncGenerator[bytes, None]) -> zipfile.ZipFile:
    """The archive, with every promise of its manifest checked."""
    archive = zipfile.ZipFile(io.BytesIO(b"".join([piece async for piece in pieces])))
    assert archive.testzip() is None
    document = json.loads(archive.read("manifest.json"))
    files = {one["path"]: one for one in document["files"]}
    assert set(archive.namelist()) == {*files, "manifest.json"}
    for path, one in files.items():
        data = archive.read(path)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (one["bytes"], one["sha256"])
    for name, count in document["records"].items():
        assert len(archive.read(f"{name}.jsonl").splitlines()) == count
    return archive


def lines(archive: zipfile.ZipFile, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read(f"{name}.jsonl").splitlines()]


async def a_busy_tenant(world: World, admin: Caller) -> tuple[Any, Any]:
    """A tenant with something of each kind, beside another one that is busy too."""
    other = await world.caller("other")
    theirs = await world.active(other, manifest("theirs"), code="theirs alone")
    listing = await publish(world.platform, other, theirs.plugin.id, None)
    await world.execute(other, theirs)
    mine = await world.active(admin, manifest(configuration=SCHEMA))
    await configure(world.platform, admin, mine.plugin.id, {"region": "north", "token": "swordfish"})
    logged = LogLine(world.clock(), "info", "hello", {"n": 1})
    world.executor.answer("greet", succeeded(b"1", logs=(logged,)))
    for _ in range(3):
        await world.execute(admin, mine)
    await install_listing(world.platform, admin, listing.id, None, activate=False)
    await rate(world.platform, admin, listing.id, 4, "good")
    gone = await world.active(admin, manifest("gone"), code="gone")
    await uninstall(world.platform, admin, gone.plugin.id)
    await create_key(world.platform, admin, "for export", Role.VIEWER, None)
    await world.objects.put(f"files/{admin.tenant_id}/{mine.plugin.id}/notes.txt", b"a file " * 1_000)
    await world.objects.put(f"files/{other.tenant_id}/{theirs.plugin.id}/secret.txt", b"of another")
    return mine, theirs


async def test_everything_of_the_tenant_comes_back(world: World, admin: Caller) -> None:
    mine, _ = await a_busy_tenant(world, admin)
    archive = await read(await export_own_tenant(world.platform, admin))
    assert [one["id"] for one in lines(archive, "tenant")] == [admin.tenant_id]
    plugins = {one["name"]: one for one in lines(archive, "plugins")}
    assert {name: one["state"] for name, one in plugins.items()} == {
        "greeter": "active",
        "theirs": "installed",
        "gone": "uninstalled",
    }
    assert plugins["greeter"]["configuration"] == {"region": "north"}
    assert plugins["greeter"]["secrets"] == ["token"]
    versions = {one["pluginId"]: one for one in lines(archive, "versions")}
    assert versions[mine.plugin.id]["manifest"]["metadata"]["name"] == "greeter"
    assert len(lines(archive, "executions")) == 3
    assert [one["line"]["message"] for one in lines(archive, "logs")] == ["hello"] * 3
    assert [one["stars"] for one in lines(archive, "ratings")] == [4]
    assert [one["name"] for one in lines(archive, "keys")] == ["for export"]
    assert "plugin.configured" in {one["action"] for one in lines(archive, "audit")}
    for version in versions.values():
        data = archive.read(f"packages/{version['digest']}")
        assert hashlib.sha256(data).hexdigest() == version["digest"]
    assert archive.read(f"files/{mine.plugin.id}/notes.txt") == b"a file " * 1_000


async def test_no_secret_and_nothing_of_another_tenant_is_in_it(world: World, admin: Caller) -> None:
    _, theirs = await a_busy_tenant(world, admin)
    archive = await read(await export_own_tenant(world.platform, admin))
    everything = b"".join(archive.read(name) for name in archive.namelist())
    assert b"swordfish" not in everything
    assert b"of another" not in everything
    assert theirs.plugin.tenant_id.encode() not in everything
    for hashed in world.store.tables.key_hashes:
        assert hashed.hex().encode() not in everything
    assert "tenant.exported" in world.actions


async def test_an_archive_is_sent_in_pieces_and_many_records_in_many_pages(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugyard.application.export._PAGE", 2)
    monkeypatch.setattr("plugyard.application.export._BATCH_BYTES", 300)
    view = await world.active(admin)
    for _ in range(7):
        await world.execute(admin, view)
    pieces = [piece async for piece in await export_own_tenant(world.platform, admin)]
    assert len([piece for piece in pieces if piece]) > 10
    archive = zipfile.ZipFile(io.BytesIO(b"".join(pieces)))
    assert len({one["id"] for one in lines(archive, "executions")}) == 7


async def test_a_package_that_went_meanwhile_is_named_and_breaks_nothing(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    pieces = await export_own_tenant(world.platform, admin)
    for key in [key for key in world.objects.held if key.startswith("packages/")]:
        await world.objects.delete(key)
    archive = await read(pieces)
    assert json.loads(archive.read("manifest.json"))["missing"] == [f"packages/{view.version.digest}"]


async def test_only_an_operator_s_export_of_a_suspended_tenant_confirms(world: World, admin: Caller) -> None:
    assert admin.tenant_id is not None

    async def confirmation(pieces: AsyncGenerator[bytes, None]) -> Any:
        return json.loads((await read(pieces)).read("manifest.json"))["confirmation"]

    assert await confirmation(await export_tenant(world.platform, OPERATOR, admin.tenant_id)) is None
    await suspend(world.platform, OPERATOR, admin.tenant_id, "leaving")
    assert await confirmation(await export_own_tenant(world.platform, admin)) is None
    assert await confirmation(await export_tenant(world.platform, OPERATOR, admin.tenant_id))


async def test_exports_are_for_admins_and_operators(world: World, admin: Caller) -> None:
    assert admin.tenant_id is not None
    with pytest.raises(Forbidden):
        await export_own_tenant(world.platform, as_role(Role.DEVELOPER, admin.tenant_id))
    with pytest.raises(Forbidden):
        await export_tenant(world.platform, admin, admin.tenant_id)
    with pytest.raises(NotFound):
        await export_tenant(world.platform, OPERATOR, "gone")


async def test_an_archive_of_any_size_is_never_whole_in_memory(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.active(admin)
    piece = bytes(1 << 20)

    async def large(key: str) -> AsyncGenerator[bytes, None]:
        for _ in range(100):
            yield piece

    monkeypatch.setattr(world.objects, "pieces", large)
    pieces = await export_own_tenant(world.platform, admin)
    tracemalloc.start()
    try:
        size = sum([len(one) async for one in pieces])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > 100 << 20
    assert peak < 8 << 20
