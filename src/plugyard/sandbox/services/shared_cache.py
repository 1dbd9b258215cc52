"""The service ``cache`` where replicas share a server for it. ``bootstrap`` makes it in the place of ``CacheService``.

It asks and answers as that does, and the same bounds hold. While the server is away it behaves as a cache that has
forgotten everything: nothing is found, nothing is kept, a counter begins anew at each call, and no call fails.
"""

from typing import Any, Protocol

import msgspec

from plugyard.sandbox.services.base import Scope
from plugyard.sandbox.services.cache import MAX_INTEGER, fault_of_counter, key_of, step_of, ttl_of, value_of


class Shelves(Protocol):
    """Where plugins' values lie: bytes under bytes, for each plugin of a tenant apart."""

    async def get(self, tenant_id: str, plugin_id: str, key: bytes) -> bytes | None: ...
    async def put(self, tenant_id: str, plugin_id: str, key: bytes, value: bytes, ttl_s: float | None) -> None: ...
    async def delete(self, tenant_id: str, plugin_id: str, key: bytes) -> bool: ...
    async def count(
        self, tenant_id: str, plugin_id: str, key: bytes, by: int, ttl_s: float | None, most: int
    ) -> int | str: ...  # a text is the code of what was wrong
    async def forget_tenant(self, tenant_id: str) -> None: ...  # raises Unavailable


class SharedCacheService:
    """See ``services.base.Service``."""

    methods = frozenset({"get", "set", "delete", "increment"})

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Ask the shelves; a call is one round trip."""
        place = scope.tenant_id, scope.plugin_id
        key = key_of(arguments).encode("utf-8", "surrogatepass")
        if method == "get":
            value = await self._shelves.get(*place, key)
            # It was JSON when it came in.
            return None if value is None else msgspec.Raw(value)
        if method == "set":
            value, ttl_s = value_of(arguments), ttl_of(arguments)
            return await self._shelves.put(*place, key, value, ttl_s)
        if method == "delete":
            return await self._shelves.delete(*place, key)
        by = step_of(arguments)
        counted = await self._shelves.count(*place, key, by, ttl_of(arguments), MAX_INTEGER)
        if isinstance(counted, str):
            raise fault_of_counter(counted)
        return counted

    async def ended(self, execution_id: str) -> None:
        """Nothing is held for an execution."""

    async def forget_tenant(self, tenant_id: str) -> None:
        """Forget what the plugins of a tenant kept; raises ``Unavailable`` while that cannot be done."""
        await self._shelves.forget_tenant(tenant_id)

    async def close(self) -> None:
        """What is kept stays where it is."""
