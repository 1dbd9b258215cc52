"""What a service of the broker is: something that answers a plugin's calls, within a scope that the broker decides.

``registry`` finds the service and judges the grant before any of this is called; a service enforces what its own grant
narrows (hosts, topics) and its own caps.
"""

from dataclasses import dataclass
from typing import Any, Protocol

from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.domain.rights import Right

# How many names that no grant spells out one execution may leave.
_MOST_NAMES = 16


class Uses:
    """The rights that one execution used, each once. A call that was denied is not noted."""

    __slots__ = ("_names", "rights")

    def __init__(self) -> None:
        self.rights: set[Right] = set()
        self._names = 0

    def note(self, service: Word, entry: str = "", name: str = "") -> None:
        """The service was used: by the entry of the grant that allowed it, and by the name that was asked for."""
        self.rights.add(Right(service))
        if entry:
            self.rights.add(Right(service, entry))
        if name and name != entry and self._names < _MOST_NAMES and Right(service, name) not in self.rights:
            self._names += 1
            self.rights.add(Right(service, name))


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose call it is, from the broker's own record. ``deadline`` is on the event loop's clock, in seconds.

    ``hops`` is how many events lie between this execution and the caller who set it off.
    """

    tenant_id: str
    plugin_id: str
    execution_id: str
    grant: Permission
    deadline: float
    hops: int = 0
    uses: Uses | None = None  # where a service that is narrowed notes what it allowed


class ServiceFault(Exception):
    """The call failed; the plugin meets an error with this code and message. Nothing else of the cause leaves."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


class Denied(ServiceFault):
    """The call goes beyond the grant: a ``PermissionError`` in the plugin, and a violation on record."""

    def __init__(self, message: str) -> None:
        super().__init__("permission_denied", message)


class Service(Protocol):
    """One service. ``call`` gets the decoded arguments, which nobody has checked; raises ``ServiceFault``."""

    methods: frozenset[str]

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Answer one call with a value that JSON can hold. It may be cancelled at any time: the execution has ended."""
        ...

    async def ended(self, execution_id: str) -> None:
        """The execution has ended, however it did: give back what it held, roll back what it left open."""
        ...

    async def close(self) -> None:
        """The service ends."""
        ...
