"""Which service a command speaks to, and as whom: the options that all commands share which call one."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from cyclopts import Parameter

from plugyard.settings import DEFAULT_DATA

if TYPE_CHECKING:
    from plugyard.cli.client import Client


@Parameter(name="*")
@dataclass(frozen=True)
class Reach:
    """A service that runs on this machine, or one that is named with a key for it."""

    url: str | None = None
    """The service; by default the one that runs on the data folder."""
    key: str | None = field(default=None, repr=False)
    """API key; by default the admin's or operator's in the data folder, as the command wants one."""
    data: Path = DEFAULT_DATA
    """The data folder of a service on this machine."""

    def client(self, *, whose: str = "admin", tenant: str | None = None) -> "Client":
        """Speaks to it with the key, or with the one kept there of ``whose``: ``admin`` or ``operator``."""
        from plugyard.cli.client import Client

        return Client.find(self.url, self.key, self.data, whose=whose, tenant=tenant)


HERE = Reach()
