"""Plugins' databases in memory: which there are, and nothing in them."""

from collections.abc import Sequence

from plugyard.domain.errors import StoreUnavailable


class MemoryPluginDatabases:
    """Remembers what was provided and not dropped."""

    def __init__(self) -> None:
        self.places: dict[tuple[str, str], None] = {}
        self.available = True

    async def provide(self, tenant_id: str, plugin_id: str) -> None:
        """There is one for this plugin from now on."""
        self._ask()
        self.places[tenant_id, plugin_id] = None

    async def drop(self, tenant_id: str, plugin_id: str) -> None:
        """There is none any more."""
        self._ask()
        self.places.pop((tenant_id, plugin_id), None)

    async def held(self) -> Sequence[tuple[str, str]]:
        """All there are."""
        self._ask()
        return list(self.places)

    def _ask(self) -> None:
        if not self.available:
            raise StoreUnavailable()
