"""The service ``cache``: short-lived values of one plugin of one tenant, in this process. ``bootstrap`` makes it.

A plugin has so many entries and bytes; what it has not used for longest makes room. All plugins together have a budget
as well, and there the plugin makes room that has not used its cache for longest.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from plugyard.sandbox.services.base import Scope, ServiceFault

MAX_KEY_BYTES = 512
MAX_VALUE_BYTES = 256 * 1024
MAX_TTL_S = 30 * 24 * 3600
MAX_INTEGER = 2**53 - 1
# What an entry costs beside its key and its value.
_OVERHEAD_BYTES = 128

_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class _Entry:
    """A value as JSON; ``ends`` is on the service's clock."""

    value: bytes
    ends: float | None
    size: int


class _Shelf:
    """One plugin's entries, the least recently used first."""

    __slots__ = ("bytes", "entries")

    def __init__(self) -> None:
        self.entries: OrderedDict[str, _Entry] = OrderedDict()
        self.bytes = 0


class CacheService:
    """See ``services.base.Service``. ``clock`` counts seconds, and tests decide them."""

    methods = frozenset({"get", "set", "delete", "increment"})

    def __init__(
        self,
        *,
        plugin_bytes: int = 8 * 1024 * 1024,
        plugin_entries: int = 10_000,
        total_bytes: int = 256 * 1024 * 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._plugin_bytes = plugin_bytes
        self._plugin_entries = plugin_entries
        self._total_bytes = total_bytes
        self._clock = clock
        self._shelves: OrderedDict[tuple[str, str], _Shelf] = OrderedDict()
        self.bytes = 0

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Do what is asked; nothing here waits, so every method is one step."""
        place = (scope.tenant_id, scope.plugin_id)
        key = key_of(arguments)
        if method == "get":
            entry = self._find(place, key)
            # It was JSON when it came in.
            return None if entry is None else msgspec.Raw(entry.value)
        if method == "set":
            self._put(place, key, value_of(arguments), self._end(arguments))
            return None
        if method == "delete":
            found = self._find(place, key) is not None
            self._remove(place, key)
            return found
        return self._increment(place, key, arguments)

    async def ended(self, execution_id: str) -> None:
        """Nothing is held for an execution."""

    async def forget_tenant(self, tenant_id: str) -> None:
        """Forget what the plugins of a tenant kept."""
        for place in [place for place in self._shelves if place[0] == tenant_id]:
            self.bytes -= self._shelves.pop(place).bytes

    async def close(self) -> None:
        """Forget everything."""
        self._shelves.clear()
        self.bytes = 0

    def _increment(self, place: tuple[str, str], key: str, arguments: dict[str, Any]) -> int:
        by = step_of(arguments)
        ends = self._end(arguments)
        entry = self._find(place, key)
        value = 0
        if entry is not None:
            # A counter keeps the end that it was made with.
            ends = entry.ends
            try:
                value = msgspec.json.decode(entry.value, type=int)
            except msgspec.ValidationError:
                raise fault_of_counter("not_a_number") from None
        if max(abs(value), abs(value + by)) > MAX_INTEGER:
            raise fault_of_counter("out_of_range")
        self._put(place, key, _encode(value + by), ends)
        return value + by

    def _end(self, arguments: dict[str, Any]) -> float | None:
        ttl = ttl_of(arguments)
        return None if ttl is None else self._clock() + ttl

    def _find(self, place: tuple[str, str], key: str) -> _Entry | None:
        shelf = self._shelves.get(place)
        entry = shelf.entries.get(key) if shelf is not None else None
        if shelf is None or entry is None:
            return None
        if entry.ends is not None and entry.ends <= self._clock():
            self._remove(place, key)
            return None
        shelf.entries.move_to_end(key)
        self._shelves.move_to_end(place)
        return entry

    def _put(self, place: tuple[str, str], key: str, value: bytes, ends: float | None) -> None:
        size = len(key.encode("utf-8", "surrogatepass")) + len(value) + _OVERHEAD_BYTES
        self._remove(place, key)
        shelf = self._shelves.setdefault(place, _Shelf())
        shelf.entries[key] = _Entry(value, ends, size)
        shelf.bytes += size
        self.bytes += size
        self._shelves.move_to_end(place)
        while shelf.bytes > self._plugin_bytes or len(shelf.entries) > self._plugin_entries:
            self._remove(place, next(iter(shelf.entries)))
        while self.bytes > self._total_bytes:
            oldest = next(iter(self._shelves))
            self._remove(oldest, next(iter(self._shelves[oldest].entries)))

    def _remove(self, place: tuple[str, str], key: str) -> None:
        shelf = self._shelves.get(place)
        entry = shelf.entries.pop(key, None) if shelf is not None else None
        if shelf is None or entry is None:
            return
        shelf.bytes -= entry.size
        self.bytes -= entry.size
        if not shelf.entries:
            del self._shelves[place]


def key_of(arguments: dict[str, Any]) -> str:
    """The key of a call; raises ``ServiceFault``, as those below."""
    key = arguments.get("key")
    if not isinstance(key, str) or not key or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise ServiceFault("invalid_arguments", f"key must be a text of 1 to {MAX_KEY_BYTES} bytes")
    return key


def ttl_of(arguments: dict[str, Any]) -> float | None:
    """After how many seconds the value ends, or ``None``."""
    ttl = arguments.get("ttlSeconds")
    if ttl is None:
        return None
    if not isinstance(ttl, int | float) or isinstance(ttl, bool) or not 0 < ttl <= MAX_TTL_S:
        raise ServiceFault("invalid_arguments", f"ttlSeconds must be above 0 and at most {MAX_TTL_S}")
    return ttl


def step_of(arguments: dict[str, Any]) -> int:
    """What a counter is to be increased by."""
    by = arguments.get("by", 1)
    if not isinstance(by, int) or isinstance(by, bool):
        raise ServiceFault("invalid_arguments", "by must be a whole number")
    return by


_COUNTER_FAULTS = {
    "not_a_number": "the value under this key is no whole number",
    "out_of_range": f"a counter stays within {MAX_INTEGER} of zero",
}


def fault_of_counter(code: str) -> ServiceFault:
    """Why a counter could not be increased."""
    return ServiceFault(code, _COUNTER_FAULTS[code])


def value_of(arguments: dict[str, Any]) -> bytes:
    """The value of a call as JSON."""
    if "value" not in arguments:
        raise ServiceFault("invalid_arguments", "there is no value to keep; null would be one")
    value = _encode(arguments["value"])
    if len(value) > MAX_VALUE_BYTES:
        raise ServiceFault("value_too_large", f"a value may have {MAX_VALUE_BYTES} bytes as JSON")
    return value
