"""Uses of rights, gathered in memory and written together: no execution waits for it, and a kill loses the last batch.

``execute.py`` notes what an execution used; the service calls ``write_uses`` every minute and when it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from plugyard.application.ports import UsedBy
from plugyard.domain.errors import PlugyardError
from plugyard.domain.plugin import Plugin
from plugyard.domain.rights import Right, rights_of

if TYPE_CHECKING:
    from plugyard.application.platform import Platform

# What one plugin may use by different names until the next batch; the rights that its grant names count anyway.
MOST_GATHERED = 1_000


class UseBook:
    """When each plugin last used what, since the last batch was written."""

    def __init__(self) -> None:
        self._noted: dict[tuple[str, str], dict[Right, datetime]] = {}

    def note(self, plugin: Plugin, used: Iterable[Right], at: datetime) -> None:
        """An execution of the plugin has used these."""
        noted = self._noted.setdefault((plugin.tenant_id, plugin.id), {})
        if len(noted) < MOST_GATHERED:
            noted.update(dict.fromkeys(used, at))
            return
        named = set(rights_of(plugin.grants))
        noted.update((right, at) for right in used if right in noted or right in named)

    def take(self) -> dict[UsedBy, datetime]:
        """All that was noted; the book is empty afterwards."""
        noted, self._noted = self._noted, {}
        return {UsedBy(*whose, right): at for whose, rights in noted.items() for right, at in rights.items()}

    def put_back(self, taken: Mapping[UsedBy, datetime]) -> None:
        """What could not be written waits for the next batch, behind what was noted meanwhile."""
        for one, at in taken.items():
            noted = self._noted.setdefault((one.tenant_id, one.plugin_id), {})
            if len(noted) < MOST_GATHERED:
                noted.setdefault(one.right, at)


async def write_uses(platform: Platform) -> int:
    """Write what was noted since the last time; how many rights that were. Raises ``StoreUnavailable``."""
    taken = platform.uses.take()
    if not taken:
        return 0
    try:
        await platform.store.touch_rights(taken)
    except PlugyardError:
        platform.uses.put_back(taken)
        raise
    return len(taken)
