"""Prepared bundles: what a package's code becomes once, so that no start of an environment has to do it again.

Used by the executor. Transforming TypeScript inside the guest takes far longer than everything else in a cold start,
and it is the same every time. It runs in a throw-away environment, behind both walls, and none of the package's code
runs with it; its result serves the digest that it was made from and nothing else.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from plugyard.domain.errors import Overloaded
from plugyard.sandbox import wire
from plugyard.sandbox.outside.broker import Allowance, Ended
from plugyard.sandbox.outside.pool import Pool

_MEMORY_BYTES = 512 * 1024 * 1024
_TIMEOUT_S = 20.0
_KEPT_BYTES = 128 * 1024 * 1024


class Preparation:
    """Keeps prepared bundles in memory, the least recently used go first. Equal requests share one preparation."""

    def __init__(self, pool: Pool, modules_denied: Sequence[str] = ()) -> None:
        self._pool = pool
        # A bundle is the JSON of an object with fields, so what every environment must know can go before them.
        self._head = b'{"modulesDenied":' + msgspec.json.encode(list(modules_denied)) + b"," if modules_denied else b"{"
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._bytes = 0
        self._under_way: dict[tuple[str, str], asyncio.Task[bytes]] = {}

    def kept(self, runtime: str, digest: str) -> bytes | None:
        """The prepared bundle, if there is one already."""
        bundle = self._kept.get((runtime, digest))
        if bundle is not None:
            self._kept.move_to_end((runtime, digest))
        return bundle

    async def prepare(self, runtime: str, digest: str, bundle: bytes) -> bytes:
        """The prepared bundle; the bundle itself where it cannot be prepared. Raises SandboxUnavailable."""
        name = (runtime, digest)
        task = self._under_way.get(name)
        if task is None:
            task = asyncio.create_task(self._make(runtime, digest, bundle))
            self._under_way[name] = task
            task.add_done_callback(lambda _: self._under_way.pop(name, None))
        # One caller that gives up must not take the others' preparation with it.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End what is under way."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _make(self, runtime: str, digest: str, bundle: bytes) -> bytes:
        bundle = self._head + bundle[1:]
        # The result holds every file and its compiled form, which is about as long again.
        allowance = Allowance(_TIMEOUT_S, _TIMEOUT_S, min(wire.MAX_FRAME_BYTES, 8 * len(bundle) + 1024 * 1024))
        try:
            environment, _ = await self._pool.acquire(("", "", digest, 0), runtime, True)
        except Overloaded:
            return bundle
        try:
            prepared = await environment.prepare(_MEMORY_BYTES, bundle, allowance)
        except (Ended, wire.WireError):
            prepared = b""
        finally:
            self._pool.discard(environment)
        if not prepared or len(prepared) > wire.MAX_BUNDLE_BYTES:
            # Kept as it is, so that no later start tries in vain again.
            prepared = bundle
        self._keep((runtime, digest), prepared)
        return prepared

    def _keep(self, name: tuple[str, str], bundle: bytes) -> None:
        self._bytes += len(bundle) - len(self._kept.pop(name, b""))
        self._kept[name] = bundle
        while self._bytes > _KEPT_BYTES and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= len(dropped)
