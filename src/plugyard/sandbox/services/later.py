"""A service whose libraries load after the start. ``bootstrap`` wraps the ``http`` service in one.

The libraries of requests to the outside take a good part of a second to load, which neither a start nor a plugin that
asks nothing of them should wait for. ``load`` begins when the service is ready; a call that comes earlier waits for it.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from plugyard.sandbox.services.base import Scope, Service


class Later(Service):
    """Makes the service in a thread, once, and passes everything on to it."""

    def __init__(self, methods: frozenset[str], make: Callable[[], Service]) -> None:
        self.methods = methods
        self._make = make
        self._making: asyncio.Task[Service] | None = None

    def load(self) -> asyncio.Task[Service]:
        """Begin to load it, unless that has begun."""
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(self._make))
        return self._making

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Answer one call, once the service is there."""
        return await (await self._made()).call(scope, method, arguments)

    async def ended(self, execution_id: str) -> None:
        """Whoever has called knows the service, so it is there or comes."""
        await (await self._made()).ended(execution_id)

    async def close(self) -> None:
        """End it where it was made."""
        if self._making is not None:
            await (await self._made()).close()

    async def _made(self) -> Service:
        # A call that is cancelled must not take the loading away from the others.
        return await asyncio.shield(self.load())
