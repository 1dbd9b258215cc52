"""An object store in memory."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

from plugyard.application.ports import Clock, SignedUrl, UrlMethod
from plugyard.domain.errors import NotFound, StoreUnavailable


class MemoryObjects:
    """Objects by their key, with the time of their last change."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.held: dict[str, tuple[bytes, datetime]] = {}
        self.available = True

    async def put_file(self, key: str, path: Path) -> bool:
        """Keep a file's bytes; whether they were new."""
        return await self.put(key, await asyncio.to_thread(path.read_bytes))

    async def put(self, key: str, data: bytes) -> bool:
        """Keep the bytes; whether they were new."""
        if not self.available:
            raise StoreUnavailable()
        new = key not in self.held
        self.held[key] = (data, self._clock())
        return new

    async def replace(self, key: str, data: bytes) -> None:
        """Keep the bytes in the place of what was there."""
        if not self.available:
            raise StoreUnavailable()
        self.held[key] = (data, self._clock())

    async def get(self, key: str) -> bytes:
        """The bytes under a key; raises ``NotFound``."""
        if key not in self.held:
            raise NotFound()
        return self.held[key][0]

    async def pieces(self, key: str) -> AsyncIterator[bytes]:
        """The same, a few bytes at a time."""
        data = await self.get(key)
        for start in range(0, len(data), 1_000):
            yield data[start : start + 1_000]

    async def delete(self, key: str) -> None:
        """Forget the key; nothing there is no error."""
        self.held.pop(key, None)

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, datetime]]:
        """Keys that begin so, with the time of their last change."""
        for key, (_, changed) in sorted(self.held.items()):
            if key.startswith(prefix):
                yield key, changed

    async def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Keys that begin so, with their size."""
        for key, (data, _) in sorted(self.held.items()):
            if key.startswith(prefix):
                yield key, len(data)

    async def copy(self, source: str, target: str) -> None:
        """Keep the bytes of one key under another as well; raises ``NotFound``."""
        self.held[target] = (await self.get(source), self._clock())

    async def move(self, source: str, target: str) -> None:
        """The same, and forget the source."""
        await self.copy(source, target)
        if source != target:
            await self.delete(source)

    async def signed_url(self, key: str, method: UrlMethod, expires: timedelta) -> SignedUrl | None:
        """Memory has no address."""
        return None
