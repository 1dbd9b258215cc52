"""Prepared bundles: what a package's code becomes once, so that no start of an environment has to do it again.

Used by the executor. Transforming TypeScript inside the guest takes far longer than everything else in a cold start,
and it is the same every time. It runs in a throw-away environment, behind both walls, and none of the package's code
runs with it; its result serves the digest that it was made from and nothing else, in memory and on disk.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from plugyard.application.together import Together
from plugyard.domain.errors import Overloaded
from plugyard.sandbox import wire
from plugyard.sandbox.outside.broker import Allowance, Ended
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import Pool
from plugyard.sandbox.outside.sealed import SealedFolder

_MEMORY_BYTES = 512 * 1024 * 1024
_TIMEOUT_S = 20.0
_KEPT_BYTES = 128 * 1024 * 1024


Fetch = Callable[[], Awaitable[bytes]]


class PreparedFolder(SealedFolder):
    """A folder of sealed prepared bundles, for the next start of the service.

    The name of a file says which package it was made of, and by which guest: another guest prepares anew.
    """

    def __init__(self, folder: Path, secret: bytes, guests: Guests, max_bytes: int = 256 * 1024 * 1024) -> None:
        super().__init__(folder, secret, b"plugyard: prepared bundles", max_bytes)
        # An artefact is named by everything that went into it.
        self._suffixes = {runtime: f"-{path.stem}.json" for runtime, path in guests.artefacts.items()}

    def name(self, runtime: str, digest: str) -> str:
        """The name of the file that holds the prepared bundle of this package."""
        return f"{digest}{self._suffixes[runtime]}"

    def clear_of_other_guests(self) -> None:
        """Delete what guests made that are no longer here."""
        self.clear(tuple(self._suffixes.values()))


class Preparation:
    """Keeps prepared bundles in memory and in a folder. Equal requests share one preparation.

    In memory the least recently used go first.
    """

    def __init__(self, pool: Pool, folder: PreparedFolder | None = None) -> None:
        self._pool = pool
        self._folder = folder
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._preparations: Together[tuple[str, str], bytes] = Together()

    def kept(self, runtime: str, digest: str) -> bytes | None:
        """The prepared bundle, if there is one already."""
        bundle = self._kept.get((runtime, digest))
        if bundle is not None:
            self._kept.move_to_end((runtime, digest))
        return bundle

    async def start(self) -> None:
        """Clear up what an earlier service left that is of no use to this one."""
        if self._folder is not None:
            await asyncio.to_thread(self._folder.clear_of_other_guests)

    async def prepare(self, runtime: str, digest: str, fetch: Fetch) -> bytes:
        """The prepared bundle; the bundle itself where it cannot be prepared. Raises SandboxUnavailable.

        `fetch` gives the bundle, and is asked for it only where no prepared one is on disk.
        """
        return await self._preparations.share((runtime, digest), partial(self._make, runtime, digest, fetch))

    async def close(self) -> None:
        """End what is under way."""
        await self._preparations.close()

    async def _make(self, runtime: str, digest: str, fetch: Fetch) -> bytes:
        folder = self._folder
        name = folder.name(runtime, digest) if folder else ""
        found = await asyncio.to_thread(folder.read, name) if folder else None
        if found is not None:
            self._keep((runtime, digest), found)
            return found
        bundle = await fetch()
        prepared = await self._in_environment(runtime, digest, bundle)
        if prepared is None:
            return bundle
        if not prepared or len(prepared) > wire.MAX_BUNDLE_BYTES:
            # Kept as it is, so that no later start tries in vain again.
            prepared = bundle
        elif folder:
            await asyncio.to_thread(folder.write, name, prepared)
        self._keep((runtime, digest), prepared)
        return prepared

    async def _in_environment(self, runtime: str, digest: str, bundle: bytes) -> bytes | None:
        """The bundle as a guest prepared it, nothing where none could, and None where it was not even tried."""
        # The result holds every file and its compiled form, which is about as long again.
        allowance = Allowance(_TIMEOUT_S, _TIMEOUT_S, min(wire.MAX_FRAME_BYTES, 8 * len(bundle) + 1024 * 1024))
        try:
            environment, _ = await self._pool.acquire(("", "", digest, 0), runtime, True)
        except Overloaded:
            return None
        try:
            return await environment.prepare(_MEMORY_BYTES, bundle, allowance)
        except (Ended, wire.WireError):
            return b""
        finally:
            self._pool.discard(environment)

    def _keep(self, name: tuple[str, str], bundle: bytes) -> None:
        self._bytes += len(bundle) - len(self._kept.pop(name, b""))
        self._kept[name] = bundle
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
