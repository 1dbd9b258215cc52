"""`application.ports.Objects` in a folder, through obstore. Made by `plugyard.bootstrap` for the embedded service.

Keys are chosen by the application, `packages/sha256/ab/abcd...` by what they hold, so two writers of one key write the
same bytes and the order between them does not matter.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from plugyard.application.ports import SignedUrl, UrlMethod
from plugyard.domain.errors import NotFound, StoreUnavailable

if TYPE_CHECKING:
    from obstore import ObjectMeta

_CHUNK_BYTES = 4 * 1024 * 1024
_PIECE_BYTES = 256 * 1024
_AT_ONCE = 2
"""Chunks of one file that are written at the same time; with the line above, what an upload holds in memory."""


class FolderObjects:
    """Objects as files below one folder, which is made when it is missing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._store = LocalStore(self._folder, mkdir=True)

    async def put_file(self, key: str, path: Path) -> bool:
        """Stores a file in pieces, never whole in memory; answers whether it was new."""
        size = await asyncio.to_thread(os.path.getsize, path)
        if await self._size(key) == size and await self._renew(key):
            return False
        with _translated():
            await obstore.put_async(
                self._store, key, path, use_multipart=True, chunk_size=_CHUNK_BYTES, max_concurrency=_AT_ONCE
            )
        await self._keep(key)
        return True

    async def put(self, key: str, data: bytes) -> bool:
        """Stores bytes; answers whether they were new."""
        if await self._size(key) == len(data) and await self._renew(key):
            return False
        with _translated():
            await obstore.put_async(self._store, key, data, use_multipart=False)
        await self._keep(key)
        return True

    async def replace(self, key: str, data: bytes) -> None:
        """Stores bytes in the place of what was there. For keys that do not say what they hold."""
        with _translated():
            await obstore.put_async(self._store, key, data, use_multipart=False)
        await self._keep(key)

    async def get(self, key: str) -> bytes:
        """The bytes under a key; raises `NotFound`."""
        with _translated():
            answer = await obstore.get_async(self._store, key)
            return bytes(await answer.bytes_async())

    async def pieces(self, key: str) -> AsyncIterator[bytes]:
        """The bytes under a key, some at a time; raises `NotFound`."""
        with _translated():
            answer = await obstore.get_async(self._store, key)
            async for piece in answer.stream(min_chunk_size=_PIECE_BYTES):
                yield bytes(piece)

    async def delete(self, key: str) -> None:
        """Removes a key; nothing there is no error."""
        with _translated():
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError:
                return

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, datetime]]:
        """The keys that begin with `prefix`, with their last change, in no order."""
        async for found in self._found(prefix):
            yield found["path"], found["last_modified"]

    async def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """The keys that begin with `prefix`, with their size in bytes, in no order."""
        async for found in self._found(prefix):
            yield found["path"], found["size"]

    async def copy(self, source: str, target: str) -> None:
        """Puts what is under one key under another as well; raises `NotFound`."""
        with _translated():
            await obstore.copy_async(self._store, source, target)
        await self._keep(target)

    async def move(self, source: str, target: str) -> None:
        """Puts what is under one key under another instead; raises `NotFound`."""
        await self.copy(source, target)
        if source != target:
            await self.delete(source)

    async def signed_url(self, key: str, method: UrlMethod, expires: timedelta) -> SignedUrl | None:
        """A folder has no address that others could go to."""
        return None

    async def _found(self, prefix: str) -> AsyncIterator[ObjectMeta]:
        # obstore takes whole segments of a path, a prefix may end within one.
        segments = prefix.rpartition("/")[0]
        with _translated():
            async for batch in obstore.list(self._store, prefix=segments or None):
                for found in batch:
                    if found["path"].startswith(prefix):
                        yield found

    async def _size(self, key: str) -> int | None:
        """The size of what is stored under a key. After a loss of power it may be less than what was written."""
        with _translated():
            try:
                return int((await obstore.head_async(self._store, key))["size"])
            except FileNotFoundError:
                return None

    async def _renew(self, key: str) -> bool:
        """Dates what is there as if it were written now; False where it has just gone.

        The sweep of orphans spares what is young: an upload that finds its object there must not rely on an old date.
        """
        with _translated():
            try:
                await asyncio.to_thread(os.utime, self._folder / key)
            except FileNotFoundError:
                return False
        return True

    async def _keep(self, key: str) -> None:
        """Makes a stored file outlive a loss of power. obstore renames into place and leaves the rest to the system."""
        with _translated():
            await asyncio.to_thread(_sync, self._folder / key, self._folder)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound from error
    except (BaseError, OSError) as error:
        raise StoreUnavailable("The object store is away; nothing was changed.") from error


def _sync(file: Path, root: Path) -> None:
    """Writes a file and the folders that lead to it through to the disk, up to the root of the store."""
    for path in (file, *file.parents):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if path == root:
            return
