"""`sandbox.services.shared_cache.Shelves` on the server: what plugins keep, the same from every replica.

While the server is away nothing is found and nothing is kept. A plugin that wrote meanwhile finds none of its values
afterwards: one that it had overwritten or deleted would come back otherwise. The same holds for a change that failed or
came too late while the server was there.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from plugyard.domain.errors import Unavailable
from plugyard.infrastructure.valkey.link import PREFIX, Away, Link, Run, Script

_CACHE = Script("cache")
_NAMES = f"{PREFIX}cache:"
_OF_ALL = f"{_NAMES}uses", f"{_NAMES}bytes", f"{_NAMES}counter"


class ValkeyShelves:
    """A plugin has so many bytes and entries, all together have ``total_bytes``."""

    def __init__(self, link: Link, *, plugin_bytes: int, plugin_entries: int, total_bytes: int) -> None:
        self._bounds = plugin_bytes, plugin_entries, total_bytes
        self._lane = link.lane(_CACHE)
        self._missed: set[str] = set()
        link.before_return(self._returned)

    async def get(self, tenant_id: str, plugin_id: str, key: bytes) -> bytes | None:
        """The value, if it is there still."""
        try:
            found: bytes | None = await self._step(_place(tenant_id, plugin_id), "get", key)
        except Away:
            return None
        return found

    async def put(self, tenant_id: str, plugin_id: str, key: bytes, value: bytes, ttl_s: float | None) -> None:
        """Keep a value."""
        await self._change(_place(tenant_id, plugin_id), "set", key, *self._bounds, _microseconds(ttl_s), value)

    async def delete(self, tenant_id: str, plugin_id: str, key: bytes) -> bool:
        """Forget a value; whether there was one."""
        return bool(await self._change(_place(tenant_id, plugin_id), "delete", key))

    async def count(
        self, tenant_id: str, plugin_id: str, key: bytes, by: int, ttl_s: float | None, most: int
    ) -> int | str:
        """Add to a whole number, which begins with 0 and stays within ``most`` of it; the sum, or what was wrong."""
        # Beyond twice the range every sum is out of it, and the server's numbers stay exact.
        step = max(-2 * most, min(by, 2 * most))
        arguments = *self._bounds, _microseconds(ttl_s), step, most
        answer = await self._change(_place(tenant_id, plugin_id), "increment", key, *arguments)
        if answer is None:
            return by if abs(by) <= most else "out_of_range"
        return int(answer[1]) if answer[0] == b"counted" else str(answer[0].decode())

    async def forget_tenant(self, tenant_id: str) -> None:
        """Forget what the plugins of a tenant kept; raises ``Unavailable`` while the server is away."""
        try:
            places = await self._lane.send("HKEYS", _OF_ALL[1])
            for place in (one.decode() for one in places):
                if place.startswith(_place(tenant_id, "")):
                    await self._step(place, "drop", b"")
        except Away:
            raise Unavailable("The shared cache is away; what plugins keep there is forgotten later.") from None

    async def _change(self, place: str, *arguments: Any) -> Any:
        try:
            return await self._step(place, *arguments)
        except BaseException as error:
            # Whether the server has done it is not known, nor what it holds when it comes back.
            self._missed.add(place)
            if isinstance(error, Away):
                return None
            raise

    def _step(self, place: str, done: str, key: bytes, *arguments: Any) -> Any:
        if place in self._missed:
            # Answers come in order, so what follows finds it dropped.
            dropped = self._lane.run(_CACHE, _keys(place), _NAMES, place, "drop", b"")
            self._missed.discard(place)
            dropped.add_done_callback(partial(self._dropped, place))
        return self._lane.run(_CACHE, _keys(place), _NAMES, place, done, key, *arguments)

    def _dropped(self, place: str, answer: asyncio.Future[Any]) -> None:
        if answer.cancelled() or answer.exception() is not None:
            self._missed.add(place)

    async def _returned(self, run: Run) -> None:
        while self._missed:
            place = next(iter(self._missed))
            keys = _keys(place)
            await run("EVAL", _CACHE.source, len(keys), *keys, _NAMES, place, "drop", b"")
            self._missed.discard(place)


def _place(tenant_id: str, plugin_id: str) -> str:
    # With its length before it no tenant's name can be read as another's with a part of a plugin's.
    return f"{len(tenant_id)}:{tenant_id}:{plugin_id}"


def _keys(place: str) -> list[str]:
    return [f"{_NAMES}{place}:{part}" for part in ("values", "uses", "ends")] + list(_OF_ALL)


def _microseconds(ttl_s: float | None) -> int | str:
    return "" if ttl_s is None else max(1, round(ttl_s * 1_000_000))
