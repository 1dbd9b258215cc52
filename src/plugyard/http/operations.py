"""An operation: a method and a path, how it is documented, and the handler that answers it.

Each resource's module declares its operations; ``app.py`` gives them to Litestar and ``openapi.py`` writes them down,
so that the document and the behaviour have one source. Litestar routes; reading and refusing what a request holds is
ours, because its own coercions (``"1"`` for a number, the first fault alone) are laxer than this API promises.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from plugyard.application.platform import require
from plugyard.domain.identity import Action
from plugyard.http.answers import JSON, Answer
from plugyard.http.auth import caller_of
from plugyard.http.exchange import Exchange, Service
from plugyard.http.queries import Parameter, read_headers, read_query

Handler = Callable[[Exchange], Awaitable[ASGIResponse]]


@dataclass(frozen=True, slots=True)
class Body:
    """What an operation takes: a type, or a schema where no type says it."""

    type: Any = None
    schema: Mapping[str, Any] | None = None
    examples: Mapping[str, Any] = field(default_factory=dict)  # by name
    media_types: tuple[str, ...] = (JSON,)
    required: bool = True
    overrides: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # documented instead, by property


@dataclass(frozen=True, slots=True)
class Reply:
    """What an operation answers when all went well."""

    status: int
    description: str
    type: Any = None
    example: Any = None
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # name and description


@dataclass(frozen=True, slots=True)
class Operation:
    """Declared by ``@operation``."""

    method: str
    path: str
    tag: str
    run: Handler
    action: Action | None
    replies: tuple[Reply, ...]
    problems: tuple[str, ...]
    query: tuple[Parameter, ...]
    body: Body | None
    listed: bool

    @property
    def id(self) -> str:
        """The operation's name in camelCase, as generated clients use it."""
        first, *rest = self.run.__name__.split("_")
        return first + "".join(word.title() for word in rest)

    @property
    def summary(self) -> str:
        """The first paragraph of the handler's docstring, without its full stop."""
        return " ".join(inspect.getdoc(self.run).partition("\n\n")[0].split()).rstrip(".")  # type: ignore[union-attr]

    @property
    def description(self) -> str:
        """The rest of it, and who may do it."""
        rest = inspect.getdoc(self.run).partition("\n\n")[2]  # type: ignore[union-attr]
        return rest.strip()

    @property
    def path_names(self) -> tuple[str, ...]:
        """The parameters in the path."""
        return tuple(re.findall(r"{(\w+)}", self.path))


def operation(
    method: str,
    path: str,
    *,
    tag: str,
    replies: Sequence[Reply],
    action: Action | None = Action.READ,
    problems: Sequence[str] = (),
    query: Sequence[Parameter] = (),
    body: Body | None = None,
    listed: bool = True,
) -> Callable[[Handler], Operation]:
    """Declare a handler's operation. ``action`` decides the role that is needed; ``None`` is any key."""

    def declared(run: Handler) -> Operation:
        return Operation(method, path, tag, run, action, tuple(replies), tuple(problems), tuple(query), body, listed)

    return declared


def headers_of(scope: Any) -> dict[str, str]:
    """The request's headers by their lower-case names; of one that is repeated the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def routes_of(operations: Sequence[Operation], service: Service) -> list[HTTPRouteHandler]:
    """The Litestar routes for all operations."""
    methods: dict[str, set[str]] = {}
    for one in operations:
        methods.setdefault(one.path, {"OPTIONS"}).update([one.method, "HEAD"] if one.method == "GET" else [one.method])
    routes = []
    for one in operations:
        # The first operation of a path also tells what the path takes: Litestar's own OPTIONS would name the methods
        # of one handler alone.
        routes.append(_route_of(one, service, ", ".join(sorted(methods.pop(one.path, ())))))
    return routes


def _route_of(one: Operation, service: Service, allow: str) -> HTTPRouteHandler:
    has_headers = any(parameter.header for parameter in one.query)

    async def endpoint(request: Request[Any, Any, Any]) -> ASGIResponse:
        scope: Any = request.scope
        if scope["method"] == "OPTIONS":
            return Answer(b"", status=204, headers=(("allow", allow),))
        headers = headers_of(scope)
        # Who may not do it learns nothing of whether the rest of the request is right.
        caller = await caller_of(service.platform, headers, scope["state"]["request_id"])
        scope["state"]["caller"] = caller
        structlog.contextvars.bind_contextvars(tenantId=caller.tenant_id)
        if one.action is not None:
            require(caller, one.action)
        exchange = Exchange(
            service,
            caller,
            scope["path_params"],
            read_query(scope["query_string"], one.query),
            headers,
            read_headers(headers, one.query) if has_headers else {},
            scope["state"],
            receive=request.receive,
        )
        return await one.run(exchange)

    methods: list[Any] = [one.method, "HEAD"] if one.method == "GET" else [one.method]
    if allow:
        methods.append("OPTIONS")
    path = re.sub(r"{(\w+)}", lambda found: "{path:path}" if found[1] == "path" else f"{{{found[1]}:str}}", one.path)
    name = f"{one.method} {one.path}"
    return HTTPRouteHandler(path, http_method=methods, status_code=one.replies[0].status, name=name)(endpoint)
