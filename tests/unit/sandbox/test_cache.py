"""The cache: values end in time, plugins do not meet, and quotas hold whatever is asked."""

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.sandbox.services.base import Scope, ServiceFault
from plugyard.sandbox.services.cache import CacheService

GRANT = Permission(Word.CACHE)


class Plugin:
    """A plugin that uses a cache, and the clock that the cache goes by."""

    def __init__(
        self, cache: CacheService | None = None, tenant: str = "acme", plugin: str = "p", **quota: int
    ) -> None:
        self.now = 0.0
        self.cache = cache or CacheService(clock=lambda: self.now, **quota)
        self.scope = Scope(tenant, plugin, "execution", GRANT, 0)

    async def call(self, method: str, **arguments: Any) -> Any:
        value = await self.cache.call(self.scope, method, arguments)
        return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else value


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=5))
def test_a_value_comes_back_as_it_went_in(value: Any) -> None:
    async def there_and_back() -> Any:
        plugin = Plugin()
        await plugin.call("set", key="k", value=value)
        return await plugin.call("get", key="k")

    assert asyncio.run(there_and_back()) == value


async def test_what_is_not_there_is_none_and_deleting_says_whether_it_was() -> None:
    plugin = Plugin()
    assert await plugin.call("get", key="k") is None
    assert await plugin.call("delete", key="k") is False
    await plugin.call("set", key="k", value=None)
    assert await plugin.call("delete", key="k") is True
    assert plugin.cache.bytes == 0


async def test_a_value_ends_with_its_time() -> None:
    plugin = Plugin()
    await plugin.call("set", key="k", value=1, ttlSeconds=10)
    plugin.now = 9.9
    assert await plugin.call("get", key="k") == 1
    plugin.now = 10
    assert await plugin.call("get", key="k") is None
    assert plugin.cache.bytes == 0


async def test_a_counter_counts_and_keeps_the_end_that_it_was_made_with() -> None:
    plugin = Plugin()
    assert await plugin.call("increment", key="n", by=5, ttlSeconds=10) == 5
    plugin.now = 5
    assert await plugin.call("increment", key="n", ttlSeconds=100) == 6
    plugin.now = 10
    assert await plugin.call("increment", key="n", by=-1) == -1


async def test_tenants_and_plugins_do_not_meet() -> None:
    mine = Plugin()
    others = [Plugin(mine.cache, "acme", "q"), Plugin(mine.cache, "globex", "p"), Plugin(mine.cache, "acm", "ep")]
    await mine.call("set", key="k", value="mine")
    for other in others:
        assert await other.call("get", key="k") is None
        await other.call("set", key="k", value="other")
    assert await mine.call("get", key="k") == "mine"


async def test_what_was_used_least_recently_makes_room() -> None:
    plugin = Plugin(plugin_entries=3)
    for key in "abc":
        await plugin.call("set", key=key, value=key)
    await plugin.call("get", key="a")
    await plugin.call("set", key="d", value="d")
    assert [await plugin.call("get", key=key) for key in "abcd"] == ["a", None, "c", "d"]


async def test_bytes_are_bounded_for_each_plugin_and_for_all() -> None:
    plugin = Plugin(plugin_bytes=2_000, total_bytes=5_000)
    every = [Plugin(plugin.cache, plugin=str(number)) for number in range(10)]
    for number in range(100):
        for one in every:
            await one.call("set", key=str(number), value="x" * 100)
            assert plugin.cache.bytes <= 5_000
    assert await every[-1].call("get", key="99") == "x" * 100


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
async def test_what_makes_no_sense_is_a_fault(method: str, arguments: dict[str, Any], code: str) -> None:
    plugin = Plugin()
    await plugin.call("set", key="text", value="a")
    with pytest.raises(ServiceFault) as fault:
        await plugin.call(method, **arguments)
    assert fault.value.code == code
