"""`application.ports.Objects` before another one that is far away: packages and bundles, once read, stay on the disk.

`bootstrap` puts it before `s3`. Both kinds are named by a digest and never change, so what is kept is never stale; all
other keys go straight through. While the store behind is away, what is kept is still served.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import structlog

from plugyard.application.housekeeping import PREFIXES
from plugyard.application.ports import Objects, SignedUrl, UrlMethod
from plugyard.application.together import Together
from plugyard.infrastructure.cachefolder import CacheFolder, KeptFile
from plugyard.infrastructure.proofs import is_sealed

_PIECE_BYTES = 256 * 1024
log = structlog.get_logger("plugyard")


class CachedObjects:
    """Reads of one key at the same time ask the store behind once. `hits` and `misses` count what readers met.

    The store behind proves what it answers (`s3.forms.proves`); a package that is not the one of its key is not kept.
    """

    def __init__(self, behind: Objects, folder: CacheFolder) -> None:
        self._behind = behind
        self._folder = folder
        # The bytes, or None where they were only written to the disk.
        self._fetches: Together[str, bytes | None] = Together()
        self.hits = 0
        self.misses = 0

    async def get(self, key: str) -> bytes:
        """The bytes under a key; raises `NotFound`."""
        if not _is_kept(key):
            return await self._behind.get(key)
        while True:
            data = await self._fetches.share(key, partial(self._whole, key))
            if data is not None:
                return data
            # Somebody read it in pieces meanwhile; it lies on the disk now, or can be asked for.

    async def pieces(self, key: str) -> AsyncIterator[bytes]:
        """The bytes under a key, some at a time; raises `NotFound`."""
        if _is_kept(key):
            data = await self._fetches.share(key, partial(self._to_disk, key))
            if data is not None:
                for start in range(0, len(data), _PIECE_BYTES):
                    yield data[start : start + _PIECE_BYTES]
                return
        given = 0
        kept = await asyncio.to_thread(self._folder.opened, key) if _is_kept(key) else None
        if kept is not None:
            with kept:
                while piece := await _next_of(kept):
                    yield piece
                    given += len(piece)
            if not kept.left:
                return
        # Where the disk broke in the middle, the store goes on from there.
        async for piece in self._behind.pieces(key):
            if given < len(piece):
                yield piece[given:]
            given = max(given - len(piece), 0)

    async def put_file(self, key: str, path: Path) -> bool:
        """Stores a file; answers whether it was new. It is kept here when somebody reads it."""
        return await self._behind.put_file(key, path)

    async def put(self, key: str, data: bytes) -> bool:
        """Stores bytes; answers whether they were new. A bundle is kept, for it is executed next."""
        new = await self._behind.put(key, data)
        if is_sealed(key):
            await asyncio.to_thread(self._folder.keep, key, data)
        return new

    async def replace(self, key: str, data: bytes) -> None:
        """Stores bytes in the place of what was there."""
        await self._behind.replace(key, data)
        await self._forget(key)

    async def delete(self, key: str) -> None:
        """Removes a key; nothing there is no error."""
        await self._behind.delete(key)
        await self._forget(key)

    async def copy(self, source: str, target: str) -> None:
        """Puts what is under one key under another as well; raises `NotFound`."""
        await self._behind.copy(source, target)
        await self._forget(target)

    async def move(self, source: str, target: str) -> None:
        """Puts what is under one key under another instead; raises `NotFound`."""
        await self._behind.move(source, target)
        await self._forget(source)
        await self._forget(target)

    def list(self, prefix: str) -> AsyncIterator[tuple[str, datetime]]:
        """What the store behind lists."""
        return self._behind.list(prefix)

    def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """What the store behind lists."""
        return self._behind.sizes(prefix)

    async def signed_url(self, key: str, method: UrlMethod, expires: timedelta) -> SignedUrl | None:
        """The way to the store behind."""
        return await self._behind.signed_url(key, method, expires)

    async def close(self) -> None:
        """End what is under way."""
        await self._fetches.close()

    async def _whole(self, key: str) -> bytes:
        data = await asyncio.to_thread(self._folder.read, key)
        if data is not None:
            self.hits += 1
            return data
        self.misses += 1
        data = await self._behind.get(key)
        if await asyncio.to_thread(self._folder.keep, key, data):
            await self._unless_forgotten(key)
        return data

    async def _to_disk(self, key: str) -> bytes | None:
        """Bring an object to the disk if it is not there; where that cannot be, readers ask the store behind."""
        if self._folder.has(key):
            self.hits += 1
            return None
        self.misses += 1
        half = await asyncio.to_thread(self._folder.half, key)
        if half is None:
            return None
        finished = False
        try:
            async with aclosing(self._behind.pieces(key)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    if not await asyncio.to_thread(half.write, piece):
                        finished = True  # and gone already
                        return None
            finished = True
            if await asyncio.to_thread(half.finish):
                await self._unless_forgotten(key)
        finally:
            if not finished:
                half.abandon()
        return None

    async def _forget(self, key: str) -> None:
        if _is_kept(key):
            self._fetches.forget(lambda name: name == key)
            await asyncio.to_thread(self._folder.drop, key)

    async def _unless_forgotten(self, key: str) -> None:
        """A key that was deleted while it was fetched does not stay."""
        if not self._fetches.stands(key):
            await asyncio.to_thread(self._folder.drop, key)


def _is_kept(key: str) -> bool:
    return key.startswith(PREFIXES)


async def _next_of(kept: KeptFile) -> bytes:
    """The next piece; empty at the end, and where the disk breaks."""
    try:
        return await asyncio.to_thread(kept.next)
    except OSError as error:
        log.warning("a file of the cache broke while it was read; the rest is fetched", error=str(error))
        return b""
