"""Reads that may take the store long: so many of a tenant at a time, so that one leaves connections to the others.

``observe``, ``analytics`` and ``history`` take a turn for each; all that is found by a key goes without.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from plugyard.domain.errors import Overloaded

MOST_WAITING = 100
"""How many of a tenant wait for their turn. Its followed logs alone, of which there are 50, may all come at once."""


@dataclass(slots=True)
class _OfTenant:
    places: asyncio.Semaphore
    here: int = field(default=0)


class Turns:
    """``most`` of each tenant at a time, on one event loop; the others wait, each in its order."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tenants: dict[str, _OfTenant] = {}

    @asynccontextmanager
    async def one(self, tenant_id: str) -> AsyncIterator[None]:
        """A turn, until the block ends. Raises ``Overloaded`` where too many wait for theirs."""
        own = self._tenants.get(tenant_id)
        if own is None:
            own = self._tenants[tenant_id] = _OfTenant(asyncio.Semaphore(self._most))
        if own.here >= self._most + MOST_WAITING:
            raise Overloaded(f"{MOST_WAITING} long reads of the tenant wait already; let them end first.")
        own.here += 1
        try:
            async with own.places:
                yield
        finally:
            own.here -= 1
            if not own.here:
                del self._tenants[tenant_id]
