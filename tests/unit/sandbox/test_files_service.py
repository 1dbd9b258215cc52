"""Files: a folder of the plugin's own, names that lead nowhere else, and a quota."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.sandbox.services.base import Scope, ServiceFault
from plugyard.sandbox.services.files import FilesService, key_of, path_of
from tests.memory.objects import MemoryObjects


class Plugin:
    """A plugin with files."""

    def __init__(self, objects: MemoryObjects | None = None, plugin: str = "p", **quota: int) -> None:
        self.objects = objects or MemoryObjects(lambda: datetime.now(UTC))
        self.service = FilesService(self.objects, **quota)
        self.scope = Scope("acme", plugin, "execution", Permission(Word.FILESYSTEM), 0)

    async def call(self, method: str, **arguments: Any) -> Any:
        return await self.service.call(self.scope, method, arguments)


async def test_a_file_is_written_read_listed_replaced_and_deleted() -> None:
    plugin = Plugin()
    await plugin.call("write", path="reports/may.csv", content="a,b")
    await plugin.call("write", path="reports/may.csv", content="\u00fc,\u00f6")
    await plugin.call("write", path="reports", content="a file beside the folder")
    assert await plugin.call("read", path="reports/may.csv") == "\u00fc,\u00f6"
    assert await plugin.call("list") == ["reports", "reports/may.csv"]
    assert await plugin.call("list", prefix="reports/m") == ["reports/may.csv"]
    assert await plugin.call("delete", path="reports/may.csv") is True
    assert await plugin.call("delete", path="reports/may.csv") is False
    with pytest.raises(ServiceFault) as fault:
        await plugin.call("read", path="reports/may.csv")
    assert fault.value.code == "file_not_found"


async def test_bytes_go_as_base64() -> None:
    plugin = Plugin()
    await plugin.call("write", path="a.bin", content="/wA=", encoding="base64")
    assert await plugin.call("read", path="a.bin", encoding="base64") == "/wA="
    with pytest.raises(ServiceFault) as fault:
        await plugin.call("read", path="a.bin")
    assert fault.value.code == "not_text"
    with pytest.raises(ServiceFault):
        await plugin.call("write", path="a.bin", content="not base64!", encoding="base64")


async def test_another_plugin_sees_none_of_it() -> None:
    mine = Plugin()
    other = Plugin(mine.objects, "q")
    await mine.call("write", path="a", content="mine")
    assert await other.call("list") == []
    with pytest.raises(ServiceFault):
        await other.call("read", path="a")
    assert await other.call("delete", path="a") is False
    assert await mine.call("read", path="a") == "mine"


BAD_PATHS = [
    "",
    "/",
    "/etc/passwd",
    "..",
    "../p/a",
    "a/../../b",
    "a//b",
    "a/",
    "./a",
    "a/./b",
    "a\\b",
    "c:\\x",
    "a\0b",
    "a\nb",
    "a\u202eb",
    "\ud800",
    "x" * 81,
    "x" * 513,
    "/".join("a" * 17),
    None,
    7,
]


@pytest.mark.parametrize("path", BAD_PATHS)
@pytest.mark.parametrize("method", ["read", "write", "delete"])
async def test_a_path_that_is_not_plain_and_relative_is_a_fault(method: str, path: Any) -> None:
    plugin = Plugin()
    with pytest.raises(ServiceFault) as fault:
        await plugin.call(method, path=path, content="x")
    assert fault.value.code in ("invalid_path", "invalid_arguments")
    assert plugin.objects.held == {}


@given(st.text(max_size=60), st.text(max_size=60))
def test_every_key_is_plain_stands_for_one_path_and_stays_below_the_root(one: str, two: str) -> None:
    try:
        key = key_of(f"{one}/{two}")
    except ServiceFault:
        return
    assert key.isascii()
    assert not any(part in ("", ".", "..") for part in key.split("/"))
    assert key_of(path_of(key)) == key
    assert all(len(part) <= 255 for part in key.split("/"))


async def test_the_quota_counts_bytes_and_files_and_gives_back_what_is_deleted() -> None:
    plugin = Plugin(plugin_bytes=100, plugin_files=3)
    await plugin.call("write", path="a", content="x" * 60)
    with pytest.raises(ServiceFault) as fault:
        await plugin.call("write", path="b", content="x" * 41)
    assert fault.value.code == "quota_exceeded"
    await plugin.call("write", path="a", content="x" * 100)
    await plugin.call("delete", path="a")
    for name in "abc":
        await plugin.call("write", path=name, content="")
    with pytest.raises(ServiceFault):
        await plugin.call("write", path="d", content="")
    await plugin.call("write", path="c", content="again")


async def test_writes_that_come_together_do_not_slip_past_the_quota() -> None:
    plugin = Plugin(plugin_bytes=100)
    writes = [plugin.call("write", path=str(number), content="x" * 30) for number in range(10)]
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [isinstance(one, ServiceFault) for one in results].count(False) == 3


async def test_a_file_is_capped() -> None:
    with pytest.raises(ServiceFault) as fault:
        await Plugin().call("write", path="a", content="x" * (2 * 1024 * 1024 + 1))
    assert fault.value.code == "file_too_large"


async def test_a_store_that_is_away_is_told() -> None:
    plugin = Plugin()
    plugin.objects.available = False
    with pytest.raises(ServiceFault) as fault:
        await plugin.call("write", path="a", content="x")
    assert fault.value.code == "service_unavailable"
