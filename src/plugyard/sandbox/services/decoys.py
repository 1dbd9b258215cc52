"""What stands in for the services while the examples of a package are rehearsed: it answers plausibly, keeps nothing.

``outside/rehearsal`` makes new ones for each example. No decoy holds anything of the service: no connection, no store,
no cache but its own. Each call is written down by what it asks for, and never by what it sends.
"""

import secrets
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import format_datetime
from ipaddress import IPv4Address, ip_address
from typing import Any

from plugyard.domain.behaviour import HostTried, ServiceUse
from plugyard.domain.errors import NotFound
from plugyard.domain.events import MAX_TOPIC, TOPIC
from plugyard.sandbox.services.base import Denied, Scope, Service, ServiceFault
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.database_statements import ALLOWED, refused
from plugyard.sandbox.services.egress import request
from plugyard.sandbox.services.egress.addresses import is_public
from plugyard.sandbox.services.egress.target import Target
from plugyard.sandbox.services.events import EventsService
from plugyard.sandbox.services.files import FilesService
from plugyard.sandbox.services.registry import Services

MEGABYTE = 1 << 20
_MOST_PATH = 200
_MOST_ADDRESS = 64
# Names that lead inside wherever they are asked for: RFC 6761 (localhost), RFC 6762 (local), RFC 8375 (home.arpa), the
# zone that is reserved for private use (internal), and the names under which clouds answer for the machine.
_INSIDE = ("localhost", "local", "internal", "home.arpa", "intranet", "lan")
_METADATA = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})


class Record:
    """The calls of one example, each kind once with its number.

    It has no cap of its own: the calls of an execution are limited, and whoever makes more of them is ended.
    """

    def __init__(self) -> None:
        self._uses: dict[tuple[str, str, str, str], tuple[int, HostTried | None]] = {}

    def add(self, service: str, method: str, target: str, code: str, host: HostTried | None = None) -> None:
        """Count a call; ``code`` is the error that answered it, or empty."""
        key = (service, method, target, code)
        self._uses[key] = (self._uses.get(key, (0, None))[0] + 1, host)

    @property
    def uses(self) -> tuple[ServiceUse, ...]:
        """Everything that was asked, in the order in which it was first asked."""
        return tuple(ServiceUse(*key, count, host) for key, (count, host) in self._uses.items())


class _Recorded(Service):
    """Passes calls on to a decoy and writes each down with how it was answered."""

    def __init__(self, name: str, decoy: Service, record: Record) -> None:
        self.methods = decoy.methods
        self._name, self._decoy, self._record = name, decoy, record

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """See ``base.Service``."""
        target, host = _asked(self._name, arguments)
        code = "cut_off"
        try:
            value = await self._decoy.call(scope, method, arguments)
        except ServiceFault as fault:
            code = fault.code
            raise
        else:
            code = ""
            return value
        finally:
            self._record.add(self._name, method, target, code, host)

    async def ended(self, execution_id: str) -> None:
        """See ``base.Service``."""
        await self._decoy.ended(execution_id)

    async def close(self) -> None:
        """See ``base.Service``."""
        await self._decoy.close()


class _Http(Service):
    """Reads requests as strictly as the true service, sends none, and answers each with an empty JSON object."""

    methods = frozenset({"request"})

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Answer a request that could have been sent. Raises ``ServiceFault`` for one that could not."""
        asked = request.read(arguments, 4 * MEGABYTE)
        if scope.uses is not None:
            scope.uses.note(scope.grant.service, "", _tried(asked.target).shown)
        body = "" if asked.method == "HEAD" else "{}"
        return {
            "status": 200,
            "statusText": "OK",
            "url": asked.target.url,
            "redirected": False,
            "headers": {
                "content-type": "application/json; charset=utf-8",
                "date": format_datetime(datetime.now(UTC), usegmt=True),
                "etag": f'"{secrets.token_hex(8)}"',
            },
            "body": body,
        }

    async def ended(self, execution_id: str) -> None:
        """Nothing is held."""

    async def close(self) -> None:
        """Nothing is held."""


class _Database(Service):
    """An empty database that believes every statement of a kind that plugins may send."""

    methods = frozenset({"query", "execute", "transaction", "begin", "commit", "rollback"})

    def __init__(self) -> None:
        self._open: set[str] = set()

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """No rows, none touched; transactions begin and end. Raises ``ServiceFault``."""
        if method == "begin":
            name = secrets.token_hex(8)
            self._open.add(name)
            return {"transaction": name}
        if method == "transaction":
            statements = arguments.get("statements")
            if not isinstance(statements, list):
                raise ServiceFault("invalid_arguments", "statements must be a list")
            for one in statements:
                _judge(one)
            return [[] for _ in statements]
        given = arguments.get("transaction")
        if (given is not None or method in ("commit", "rollback")) and given not in self._open:
            raise ServiceFault("no_transaction", "there is no such transaction, or it has ended")
        if method in ("commit", "rollback"):
            self._open.discard(str(given))
            return None
        _judge(arguments)
        return [] if method == "query" else 0

    async def ended(self, execution_id: str) -> None:
        """What is open is forgotten with the decoy."""
        self._open.clear()

    async def close(self) -> None:
        """Nothing is held."""


class _Folder:
    """Files in memory, for as long as one example runs (see ``files.FileStore``)."""

    def __init__(self) -> None:
        self._held: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes:
        """The bytes under a key; raises ``NotFound``."""
        if key not in self._held:
            raise NotFound("There is no such object.")
        return self._held[key]

    async def replace(self, key: str, data: bytes) -> None:
        """Keep the bytes."""
        self._held[key] = data

    async def delete(self, key: str) -> None:
        """Forget them; nothing there is no error."""
        self._held.pop(key, None)

    async def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """Key and bytes of what lies below a prefix."""
        for key, data in list(self._held.items()):
            if key.startswith(prefix):
                yield key, len(data)


def decoys(record: Record) -> Services:
    """A stand-in for every service that plugins know; what is asked of them goes into the record."""
    services = Services()
    stands_in: dict[str, Service] = {
        "http": _Http(),
        "database": _Database(),
        "cache": CacheService(plugin_bytes=4 * MEGABYTE, plugin_entries=1_000, total_bytes=4 * MEGABYTE),
        "events": EventsService(_nowhere),
        "files": FilesService(_Folder(), plugin_bytes=8 * MEGABYTE, plugin_files=200),
    }
    for name, decoy in stands_in.items():
        services.offer(name, _Recorded(name, decoy, record))
    return services


async def _nowhere(scope: Scope, topic: str, payload: Any, hops: int) -> None:
    """An event that nobody hears."""


def _judge(statement: Any) -> None:
    sql = statement.get("sql") if isinstance(statement, dict) else None
    if not isinstance(sql, str) or not sql.strip():
        raise ServiceFault("invalid_arguments", "sql must be a text")
    words = refused(sql)
    if words is not None:
        raise Denied(f"the database takes no statement that begins with {words[:60]}. It takes {ALLOWED}.")


def _asked(service: str, arguments: dict[str, Any]) -> tuple[str, HostTried | None]:
    """What a call is about, in the few words that are kept of it: no query, no header, no body, no key, no table."""
    if service == "events":
        topic = arguments.get("topic")
        return (topic if isinstance(topic, str) and TOPIC.fullmatch(topic) and len(topic) <= MAX_TOPIC else "?"), None
    if service != "http":
        return "", None
    try:
        asked = request.read(arguments, 4 * MEGABYTE)
    except ServiceFault:
        return "?", None
    target = asked.target
    tried = _tried(target)
    return f"{asked.method} {target.scheme}://{tried.shown}{target.path[:_MOST_PATH]}", tried


def _tried(target: Target) -> HostTried:
    if not target.is_address:
        return HostTried(target.host, target.port, target.scheme, _leads_inside(target.host))
    readable = target.host.isascii() and len(target.host) <= _MOST_ADDRESS
    return HostTried(target.host if readable else "[?]", target.port, target.scheme, _is_inside(target.host))


def _leads_inside(name: str) -> bool:
    last_two = ".".join(name.split(".")[-2:])
    return "." not in name or name.rpartition(".")[2] in _INSIDE or last_two in _INSIDE or name in _METADATA


def _is_inside(text: str) -> bool:
    """Whether an address, in any way that a system reads one (inet_aton(3)), belongs to no public network."""
    try:
        address = ip_address(text.strip("[]"))
    except ValueError:
        try:
            address = IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return True
    return not is_public(address)
