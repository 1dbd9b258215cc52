"""The service ``cache``: in this process, and on Valkey; what a plugin sees is the same."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.infrastructure.valkey.address import Address
from plugyard.infrastructure.valkey.cache import ValkeyShelves
from plugyard.infrastructure.valkey.link import Link
from plugyard.sandbox.services.base import Scope, Service, ServiceFault
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.shared_cache import SharedCacheService
from tests.valkeys import Valkey

GRANT = Permission(Word.CACHE)
QUOTAS = {"plugin_bytes": 1 << 20, "plugin_entries": 100, "total_bytes": 4 << 20}


@dataclass
class Caches:
    """Makes caches of one kind; those on Valkey all share one server, as those of replicas."""

    server: Valkey | None
    parts: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def make(self, **quotas: int) -> Service:
        bounds = {**QUOTAS, **quotas}
        if self.server is None:
            return CacheService(**bounds)
        link = Link(Address(self.server.url), connect_s=5, command_s=2)
        shelves = ValkeyShelves(link, **bounds)
        self.parts.push_async_callback(link.close)
        await link.open()
        assert link.up
        return SharedCacheService(shelves)


@pytest.fixture(params=["in process", "valkey"])
async def caches(request: pytest.FixtureRequest) -> AsyncIterator[Caches]:
    """One implementation after the other."""
    made = Caches(None if request.param == "in process" else request.getfixturevalue("valkey"))
    async with made.parts:
        yield made


class Plugin:
    """A plugin that uses a cache."""

    def __init__(self, cache: Service, tenant: str = "acme", plugin: str = "p") -> None:
        self.cache, self.scope = cache, Scope(tenant, plugin, "execution", GRANT, 0)

    async def call(self, method: str, **arguments: Any) -> Any:
        value = await self.cache.call(self.scope, method, arguments)
        return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value

    async def raw(self, key: str) -> bytes:
        return bytes(await self.cache.call(self.scope, "get", {"key": key}))


VALUES: list[Any] = [
    None, True, 0, -1, 2**53, 1.5, 1e300, "", "text", "é\u2028\x00\x7f", "\U0001f600" * 1_000, [], {}, [[[]]],
    {"a": [1, None, {"b": ""}]}, {"": 0}, "x" * (256 * 1024 - 2),
]  # fmt: skip


async def test_values_come_back_as_they_went_in_to_the_byte(caches: Caches) -> None:
    plugin = Plugin(await caches.make())
    for number, value in enumerate(VALUES):
        key = f"k{number}"
        await plugin.call("set", key=key, value=value)
        assert await plugin.call("get", key=key) == value
        assert await plugin.raw(key) == msgspec.json.encode(value)


async def test_keys_are_told_apart_by_every_byte(caches: Caches) -> None:
    plugin = Plugin(await caches.make())
    keys = ["a", "A", "a ", "a:b", "a\x00", "a\x00b", "a\r\nb", "*", "values", "\ud800", "é", "e\u0301", "x" * 512]
    for key in keys:
        await plugin.call("set", key=key, value=key.encode("utf-8", "surrogatepass").hex())
    for key in keys:
        assert await plugin.call("get", key=key) == key.encode("utf-8", "surrogatepass").hex()


async def test_what_is_not_there_is_none_and_deleting_says_whether_it_was(caches: Caches) -> None:
    plugin = Plugin(await caches.make())
    assert await plugin.call("get", key="k") is None
    assert await plugin.call("delete", key="k") is False
    await plugin.call("set", key="k", value=None)
    assert await plugin.call("delete", key="k") is True
    assert await plugin.call("delete", key="k") is False


async def test_a_value_ends_with_its_time_and_a_new_one_has_its_own(caches: Caches) -> None:
    plugin = Plugin(await caches.make())
    await plugin.call("set", key="short", value=1, ttlSeconds=0.3)
    await plugin.call("set", key="long", value=1, ttlSeconds=0.3)
    await plugin.call("set", key="long", value=2)
    assert await plugin.call("get", key="short") == 1
    await asyncio.sleep(0.35)
    assert await plugin.call("get", key="short") is None
    assert await plugin.call("delete", key="short") is False
    assert await plugin.call("get", key="long") == 2


async def test_a_counter_counts_and_keeps_the_end_that_it_was_made_with(caches: Caches) -> None:
    plugin = Plugin(await caches.make())
    assert await plugin.call("increment", key="n", by=5, ttlSeconds=0.4) == 5
    assert await plugin.call("increment", key="n", ttlSeconds=100) == 6
    assert await plugin.call("get", key="n") == 6
    await asyncio.sleep(0.45)
    assert await plugin.call("increment", key="n", by=-1) == -1
    assert await plugin.call("increment", key="n", by=0) == -1


@pytest.mark.parametrize("value", [0, -7, 1.0, 2**53 - 2, "1", "text", True, None, [], {}, 1.5, 2**53, 10**20])
async def test_a_counter_goes_on_from_a_whole_number_and_nothing_else(caches: Caches, value: Any) -> None:
    plugin = Plugin(await caches.make())
    await plugin.call("set", key="k", value=value)
    # The same oracle for both: what the cache in this process says.
    oracle = Plugin(CacheService())
    await oracle.call("set", key="k", value=value)
    for by in (1, -1, 2**60, -(2**60)):
        said = []
        for one in (plugin, oracle):
            try:
                said.append(await one.call("increment", key="k", by=by))
            except ServiceFault as fault:
                said.append((fault.code, fault.message))
        assert said[0] == said[1], by


async def test_many_increments_at_once_lose_none(caches: Caches) -> None:
    plugin = Plugin(await caches.make())
    answers = await asyncio.gather(*(plugin.call("increment", key="n") for _ in range(200)))
    assert sorted(answers) == list(range(1, 201))


async def test_tenants_and_plugins_do_not_meet(caches: Caches) -> None:
    cache = await caches.make()
    mine = Plugin(cache)
    others = [
        Plugin(cache, tenant, plugin)
        for tenant, plugin in (
            ("acme", "q"), ("globex", "p"), ("acm", "ep"), ("acme:p", ""), ("acme", "p:values"), ("4:acme", "p")
        )
    ]  # fmt: skip
    await mine.call("set", key="k", value="mine")
    for other in others:
        assert await other.call("get", key="k") is None
        await other.call("set", key="k", value="other")
        await other.call("delete", key="values")
    assert await mine.call("get", key="k") == "mine"


async def test_what_was_used_least_recently_makes_room(caches: Caches) -> None:
    plugin = Plugin(await caches.make(plugin_entries=3))
    for key in "abc":
        await plugin.call("set", key=key, value=key)
    await plugin.call("get", key="a")
    await plugin.call("set", key="d", value="d")
    assert [await plugin.call("get", key=key) for key in "abcd"] == ["a", None, "c", "d"]


async def test_a_plugin_has_so_many_bytes(caches: Caches) -> None:
    plugin = Plugin(await caches.make(plugin_bytes=2_000))
    for number in range(20):
        await plugin.call("set", key=f"{number:02}", value="x" * 370)  # with its key and what it costs, 502 bytes
    there = [number for number in range(20) if await plugin.call("get", key=f"{number:02}") is not None]
    assert there == [17, 18, 19]
    await plugin.call("set", key="more than all", value="x" * 3_000)
    assert await plugin.call("get", key="more than all") is None


async def test_the_plugin_that_used_its_cache_least_recently_makes_room_for_all(caches: Caches) -> None:
    cache = await caches.make(total_bytes=2_600)
    plugins = [Plugin(cache, plugin=str(number)) for number in range(5)]
    for plugin in plugins:
        await plugin.call("set", key="k", value="x" * 370)  # 501 bytes each
    assert await plugins[0].call("get", key="k") == "x" * 370
    await plugins[4].call("set", key="l", value="x" * 370)
    assert [await plugin.call("get", key="k") is not None for plugin in plugins] == [True, False, True, True, True]


async def test_forgetting_a_tenant_forgets_all_its_plugins_and_no_others(caches: Caches) -> None:
    cache: Any = await caches.make()
    mine, other = [Plugin(cache, "acme", "p"), Plugin(cache, "acme", "q")], Plugin(cache, "acmes", "p")
    for plugin in (*mine, other):
        await plugin.call("set", key="k", value=1)
    await cache.forget_tenant("acme")
    await cache.forget_tenant("nobody")
    assert [await plugin.call("get", key="k") for plugin in (*mine, other)] == [None, None, 1]


BAD: list[tuple[str, dict[str, Any], str]] = [
    ("get", {}, "invalid_arguments"),
    ("get", {"key": ""}, "invalid_arguments"),
    ("get", {"key": 1}, "invalid_arguments"),
    ("get", {"key": "x" * 513}, "invalid_arguments"),
    ("set", {"key": "k"}, "invalid_arguments"),
    ("set", {"key": "k", "value": "x" * 256 * 1024}, "value_too_large"),
    ("set", {"key": "k", "value": 1, "ttlSeconds": 0}, "invalid_arguments"),
    ("set", {"key": "k", "value": 1, "ttlSeconds": "1"}, "invalid_arguments"),
    ("set", {"key": "k", "value": 1, "ttlSeconds": 10**9}, "invalid_arguments"),
    ("increment", {"key": "k", "by": 1.5}, "invalid_arguments"),
    ("increment", {"key": "k", "by": True}, "invalid_arguments"),
    ("increment", {"key": "k", "by": 2**60}, "out_of_range"),
    ("increment", {"key": "text"}, "not_a_number"),
]


@pytest.mark.parametrize(("method", "arguments", "code"), BAD)
async def test_what_makes_no_sense_is_a_fault(
    caches: Caches, method: str, arguments: dict[str, Any], code: str
) -> None:
    plugin = Plugin(await caches.make())
    await plugin.call("set", key="text", value="a")
    with pytest.raises(ServiceFault) as fault:
        await plugin.call(method, **arguments)
    assert fault.value.code == code


# --- what only a shared cache has -------------------------------------------------------------------------------------


async def test_replicas_see_what_each_other_kept(valkey: Valkey) -> None:
    caches = Caches(valkey)
    async with caches.parts:
        one, other = Plugin(await caches.make()), Plugin(await caches.make())
        await one.call("set", key="k", value="kept")
        assert await other.call("get", key="k") == "kept"
        assert await other.call("increment", key="n") == 1
        assert await one.call("increment", key="n") == 2
        assert await other.call("delete", key="k") is True
        assert await one.call("get", key="k") is None


async def test_the_server_holds_nothing_once_everything_is_deleted(valkey: Valkey) -> None:
    caches = Caches(valkey)
    async with caches.parts:
        plugin = Plugin(await caches.make(plugin_bytes=20_000))
        for number in range(300):
            await plugin.call("set", key=str(number % 50), value="x" * (number * 7 % 900), ttlSeconds=1 + number % 3)
        assert 0 < int(valkey.ask("HGET", "plugyard:cache:bytes", "*").split(b"\r\n")[1]) <= 20_000
        for number in range(50):
            await plugin.call("delete", key=str(number))
        assert valkey.ask("HGET", "plugyard:cache:bytes", "*") == b"$1\r\n0\r\n"
        assert valkey.ask("KEYS", "plugyard:cache:4:*") == b"*0\r\n"
        assert valkey.ask("ZCARD", "plugyard:cache:uses") == b":0\r\n"


@pytest.mark.parametrize("part", ["4:acme:p:values", "4:acme:p:uses", "4:acme:p:ends", "bytes", "uses", "counter"])
async def test_a_server_that_evicts_a_part_leaves_a_cache_that_works(valkey: Valkey, part: str) -> None:
    caches = Caches(valkey)
    async with caches.parts:
        plugin = Plugin(await caches.make(plugin_entries=3))
        for key in "abc":
            await plugin.call("set", key=key, value=key, ttlSeconds=60)
        valkey.ask("DEL", f"plugyard:cache:{part}")
        assert await plugin.call("get", key="a") in (None, "a")
        for key in "defg":
            await plugin.call("set", key=key, value=key)
        assert [await plugin.call("get", key=key) for key in "efg"] == ["e", "f", "g"]
        # Entries with their 130 bytes each: the sum is right again.
        assert valkey.ask("HGET", "plugyard:cache:bytes", "*") == b"$3\r\n396\r\n"
