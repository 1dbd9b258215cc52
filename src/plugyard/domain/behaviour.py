"""What a package did when its examples were run where nothing is real: what it asked for, and what that cost.

``application/rehearse.py`` makes a ``Behaviour`` of what the sandbox tells; it is kept with the report on the package.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from plugyard.domain.covering import DEFAULT_PORTS, host_allows
from plugyard.domain.permissions import Permission, Service


@dataclass(frozen=True, slots=True)
class HostTried:
    """A host that a request named; ``scheme`` decides which port is the usual one.

    ``inside`` says that it is an address, or a name, of a private network, of the machine itself, or of where clouds
    answer for the machine.
    """

    name: str
    port: int
    scheme: str
    inside: bool = False

    @property
    def shown(self) -> str:
        """As a grant would name it: with its port where that is not the scheme's own."""
        return self.name if self.usual else f"{self.name}:{self.port}"

    @property
    def usual(self) -> bool:
        """Whether the port is the scheme's own."""
        return self.port == DEFAULT_PORTS[self.scheme]


@dataclass(frozen=True, slots=True)
class ServiceUse:
    """A call of a service, and how often it was made; ``host`` for requests to the outside.

    ``target`` is the method, scheme, host and path of a request without its query, or the topic of an event; of the
    other services nothing is kept. ``refused`` is the code of the error that answered it, empty where none did.
    """

    service: str
    method: str
    target: str = ""
    refused: str = ""
    count: int = 1
    host: HostTried | None = None


@dataclass(frozen=True, slots=True)
class RehearsedExample:
    """What came of one example. ``status`` is ``None`` where it was not run, and ``skipped`` says why.

    ``more_uses`` counts the calls that are not listed in ``uses``. Milliseconds and bytes.
    """

    function: str
    place: int
    status: str | None
    code: str | None = None
    message: str | None = None
    skipped: str | None = None
    wall_ms: float = 0.0
    cpu_ms: float = 0.0
    peak_memory_bytes: int = 0
    service_calls: int = 0
    permissions: tuple[str, ...] = ()
    uses: tuple[ServiceUse, ...] = ()
    more_uses: int = 0


@dataclass(frozen=True, slots=True)
class HostSeen:
    """A host that was tried in any example. ``declared`` is ``None`` where the manifest leaves hosts to the admin."""

    host: str
    declared: bool | None
    inside: bool


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the examples of a package did, all together."""

    examples: tuple[RehearsedExample, ...]
    used: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    undeclared: tuple[str, ...] = ()
    hosts: tuple[HostSeen, ...] = ()
    took_ms: float = field(default=0.0, compare=False)


def hosts_seen(tried: Iterable[HostTried], asked: Iterable[Permission]) -> tuple[HostSeen, ...]:
    """Each host once, by what the manifest says of it; those that nobody should try come first."""
    network = next((one for one in asked if one.service is Service.NETWORK), None)
    seen = {}
    for host in tried:
        declared: bool | None
        if network is not None and not network.hosts:
            declared = None
        else:
            entries = network.hosts if network is not None else ()
            declared = any(host_allows(entry, host.name, host.port, usual=host.usual) for entry in entries)
        seen[host.shown] = HostSeen(host.shown, declared, host.inside)
    return tuple(sorted(seen.values(), key=lambda one: (not one.inside, one.declared is not False, one.host)))
