"""What a Plugyard plugin written in Python receives.

The module exists for editors and type checkers, and for an author's own tests. A plugin imports it under
``typing.TYPE_CHECKING``, so that nothing of it is needed where the plugin runs::

    from __future__ import annotations
    from typing import TYPE_CHECKING, Any

    if TYPE_CHECKING:
        from plugyard_sdk import Context

    async def handle_request(input: dict[str, Any], context: Context) -> dict[str, Any]: ...

A service that the manifest does not ask for, or that the tenant did not grant, raises ``PermissionError``; one that the
server does not offer raises an error whose ``code`` is ``service_unavailable``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, Unpack, overload

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
"""Everything that can be written as JSON. Inputs and outputs are such values; NaN and infinity are not."""

Row: TypeAlias = dict[str, Any]

Bytes: TypeAlias = bytes


class Logger(Protocol):
    """Structured log lines, kept with the execution. Needs no permission. Rate and size are capped.

    Each method may be awaited or simply called.
    """

    def debug(self, message: str, **fields: object) -> Awaitable[None]: ...
    def info(self, message: str, **fields: object) -> Awaitable[None]: ...
    def warn(self, message: str, **fields: object) -> Awaitable[None]: ...
    def error(self, message: str, **fields: object) -> Awaitable[None]: ...


class Statement(TypedDict):
    """One statement of a transaction."""

    sql: str
    parameters: Sequence[Any]


class Transaction(Protocol):
    """The statements of one transaction, on one connection."""

    async def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]: ...
    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int: ...


class Database(Protocol):
    """A PostgreSQL schema of the plugin's own for each tenant. Permission: ``database``."""

    async def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Run a statement with ``$1``, ``$2`` ... as its parameters and return its rows."""
        ...

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run a statement and return how many rows it touched."""
        ...

    @overload
    def transaction(self) -> AbstractAsyncContextManager[Transaction]: ...
    @overload
    def transaction(self, statements: Sequence[Statement]) -> Awaitable[list[list[Row]]]: ...
    def transaction(self, statements: Sequence[Statement] | None = None) -> Any:
        """``async with database.transaction() as tx``: what the block does holds together when it ends, and not at all
        when it raises. With statements: run them all, or none, and return the rows of each."""
        ...


class Cache(Protocol):
    """Short-lived values of this plugin and tenant. Permission: ``cache``."""

    async def get(self, key: str) -> Any:
        """Return the value, or None when there is no such key, or no longer."""
        ...

    async def set(self, key: str, value: Any, *, ttl_seconds: float | None = None) -> None: ...

    async def delete(self, key: str) -> bool:
        """Return whether there was such a key."""
        ...

    async def increment(self, key: str, by: int = 1, *, ttl_seconds: float | None = None) -> int:
        """Add ``by`` in one step and return the new value."""
        ...


class HttpResponse(Protocol):
    """An answer, complete: its body was read within the size cap."""

    @property
    def status(self) -> int: ...
    @property
    def ok(self) -> bool:
        """Whether the status is 200 to 299."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """Names in lower case."""
        ...

    @property
    def url(self) -> str:
        """Where the answer came from, after redirects."""
        ...

    def text(self) -> str: ...
    def json(self) -> Any: ...
    def bytes(self) -> Bytes: ...


QueryValue: TypeAlias = str | int | float | bool


class HttpOptions(TypedDict, total=False):
    """Options of a request: give either ``body``, sent as it is, or ``json``, sent with its content type.

    ``timeout_ms`` is for the whole request with its redirects. ``redirect``: ``follow`` (the default) judges each hop
    against the grant, ``manual`` answers with the redirect, ``error`` fails.
    """

    headers: Mapping[str, str]
    query: Mapping[str, QueryValue | list[QueryValue]]
    body: str | bytes
    json: Any
    timeout_ms: float
    redirect: Literal["follow", "manual", "error"]


class Http(Protocol):
    """Requests to the hosts that were granted, and no others. Permission: ``network``.

    Options are given by name, ``http.post(url, json={...})``, or as one mapping; names win.
    """

    async def request(
        self, method: str, url: str, options: HttpOptions | None = None, **named: Unpack[HttpOptions]
    ) -> HttpResponse: ...
    async def get(self, url: str, options: HttpOptions | None = None, **named: Unpack[HttpOptions]) -> HttpResponse: ...
    async def post(
        self, url: str, options: HttpOptions | None = None, **named: Unpack[HttpOptions]
    ) -> HttpResponse: ...
    async def put(self, url: str, options: HttpOptions | None = None, **named: Unpack[HttpOptions]) -> HttpResponse: ...
    async def delete(
        self, url: str, options: HttpOptions | None = None, **named: Unpack[HttpOptions]
    ) -> HttpResponse: ...


class Events(Protocol):
    """Messages between the plugins of one tenant. Permission: ``events``."""

    async def publish(self, topic: str, payload: Any) -> None:
        """Kept once this returns, and delivered to whoever subscribes."""
        ...

    async def subscribe(self, topic: str, handler: str) -> None:
        """Raises: a plugin subscribes in its manifest, by ``events.subscribes``."""
        ...


class Files(Protocol):
    """A folder of the plugin's own for each tenant. Permission: ``filesystem``."""

    async def read(self, path: str, *, encoding: str = "utf-8") -> str:
        """The text; with the encoding ``base64`` the bytes in that form."""
        ...

    async def write(self, path: str, content: str, *, encoding: str = "utf-8") -> None: ...

    async def list(self, prefix: str = "") -> Sequence[str]:
        """The paths that begin so, in order."""
        ...

    async def delete(self, path: str) -> bool:
        """Return whether there was such a file."""
        ...


class Services(Protocol):
    """The platform's services. Every method may run beside others: ``await asyncio.gather(...)``."""

    @property
    def logger(self) -> Logger: ...
    @property
    def database(self) -> Database: ...
    @property
    def cache(self) -> Cache: ...
    @property
    def http(self) -> Http: ...
    @property
    def events(self) -> Events: ...
    @property
    def files(self) -> Files: ...


class Context(Protocol):
    """The second argument of every handler."""

    @property
    def tenant_id(self) -> str:
        """The tenant on whose behalf this execution runs."""
        ...

    @property
    def user_id(self) -> str:
        """Who called: a user, or the API key's own name."""
        ...

    @property
    def execution_id(self) -> str:
        """The name of this execution in logs, history and traces."""
        ...

    @property
    def configuration(self) -> Mapping[str, Any]:
        """The tenant's settings for this plugin, with the defaults of the manifest's schema filled in."""
        ...

    @property
    def deadline(self) -> str:
        """When the platform ends this execution, as ISO 8601 in UTC."""
        ...

    @property
    def trace(self) -> Mapping[str, str]:
        """W3C Trace Context as header values; pass it on to systems that you call."""
        ...

    @property
    def services(self) -> Services: ...


class EndpointRequest(TypedDict):
    """The input of a handler that ``api.endpoints`` names."""

    method: str
    path: str
    params: dict[str, str]
    query: dict[str, str | list[str]]
    headers: dict[str, str | list[str]]
    body: Any
    bodyBase64: str | None


class EndpointResponse(TypedDict, total=False):
    """The answer of such a handler. A ``body`` that is a string is sent as it is, anything else as JSON; ``json`` is
    always sent as JSON, and ``bodyBase64`` as the bytes that it stands for. Give one of them, or none."""

    status: int
    headers: dict[str, str | list[str]]
    body: Any
    json: Any
    bodyBase64: str


class HeardEvent(TypedDict):
    """The input of ``events.handler``. A plugin said it, and ``publishedBy`` is its id, or the platform itself, and
    ``source`` says which part of it; the other one is ``None``."""

    eventId: str
    topic: str
    payload: Any
    publishedBy: str | None
    source: str | None
    occurredAt: str


__all__ = [
    "Cache",
    "Context",
    "Database",
    "EndpointRequest",
    "EndpointResponse",
    "Events",
    "Files",
    "HeardEvent",
    "Http",
    "HttpOptions",
    "HttpResponse",
    "Json",
    "Logger",
    "Row",
    "Services",
    "Statement",
    "Transaction",
]
