"""An operation: a method and a path, how it is documented, and the handler that answers it.

Each resource's module declares its operations; ``app.py`` gives them to Starlette's router and ``openapi.py`` writes
them down, so that the document and the behaviour have one source. Starlette routes; reading and refusing what a request
holds is ours, because the coercions of frameworks (``"1"`` for a number, the first fault alone) are laxer than this API
promises.
"""

import inspect
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from plugyard.application.denialbook import Denial
from plugyard.application.denials import note_denial
from plugyard.application.platform import require, require_scope
from plugyard.application.tenants import require_active
from plugyard.domain.errors import Forbidden, Unauthenticated
from plugyard.domain.identity import Action, Caller
from plugyard.http.answers import EXTENSION, JSON, Answer
from plugyard.http.atonce import Place
from plugyard.http.auth import caller_of
from plugyard.http.exchange import Exchange, Service
from plugyard.http.problems import MethodNotAllowed
from plugyard.http.queries import Parameter, read_headers, read_query
from plugyard.http.rates import RateClass

WHO_AM_I = "/api/v1/me"
EXECUTE = "/api/v1/plugins/{pluginId}/execute"
Handler = Callable[[Exchange], Awaitable[ASGIApp]]


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
    rate: RateClass
    any_query: bool = False  # whatever it is, it is passed on

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
    rate: RateClass | None = None,
    any_query: bool = False,
) -> Callable[[Handler], Operation]:
    """Declare a handler's operation. ``action`` decides the role that is needed; ``None`` is any key.

    ``rate`` is the class of the requests; by default those that change nothing read, and the others write.
    """
    kind = rate or (RateClass.READ if method == "GET" else RateClass.WRITE)

    def declared(run: Handler) -> Operation:
        return Operation(
            method, path, tag, run, action, tuple(replies), tuple(problems), tuple(query), body, listed, kind, any_query
        )

    return declared


def headers_of(scope: Any) -> dict[str, str]:
    """The request's headers by their lower-case names; of one that is repeated the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


class Methods:
    """What answers at one path: a handler for each method, and what they all share (RFC 9110, 9.3.2 and 9.3.7)."""

    def __init__(self, handlers: Mapping[str, ASGIApp]) -> None:
        named = dict(handlers)
        if "GET" in named:
            named.setdefault("HEAD", named["GET"])
        self._handlers = named
        self.allow = ", ".join(sorted({*named, "OPTIONS"}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; raises ``MethodNotAllowed`` with what is."""
        handler = self._handlers.get(scope["method"])
        if handler is not None:
            await handler(scope, receive, send)
        elif scope["method"] == "OPTIONS":
            await Answer(b"", status=204, headers=(("allow", self.allow),))(scope, receive, send)
        else:
            raise MethodNotAllowed(self.allow)


def routes_of(operations: Sequence[Operation], service: Service) -> list[Route]:
    """Starlette's routes for all operations: one for each path.

    They are tried in turn, so the path that is asked for more than all others together comes first, and then those with
    fewer parameters.
    """
    handlers: dict[str, dict[str, ASGIApp]] = {}
    for one in operations:
        handlers.setdefault(one.path, {})[one.method] = Endpoint(one, service)
    return [
        Route(re.sub(r"{path}", "{path:path}", path), Methods(handlers[path]), name=path)
        for path in sorted(handlers, key=lambda path: (path != EXECUTE, path.count("{"), path))
    ]


class Endpoint:
    """Answers one operation: who asks, whether they may, what they ask, and then the handler."""

    def __init__(self, one: Operation, service: Service) -> None:
        self._operation = one
        self._service = service
        self._has_headers = any(parameter.header for parameter in one.query)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises what ``problems`` tells of. A denial is noted for the trail."""
        try:
            with self._service.at_once.place() as place:
                answer = await self._answer_to(scope, receive, place)
            await answer(scope, receive, send)
        except (Forbidden, Unauthenticated) as error:
            self._note(error, scope["state"])
            raise

    async def _answer_to(self, scope: Scope, receive: Receive, place: Place) -> ASGIApp:
        one, state = self._operation, scope["state"]
        headers = headers_of(scope)
        # Who may not do it learns nothing of whether the rest of the request is right.
        caller = await self._caller(scope, headers, state["request_id"])
        state["caller"] = caller
        place.admit(caller)
        limits = self._service.limits
        if limits is not None:
            await limits.admit(one.rate, caller, state)
        await require_active(self._service.platform, caller)
        structlog.contextvars.bind_contextvars(tenantId=caller.tenant_id)
        if one.action is not None:
            require(caller, one.action)
        if caller.scopes and one.path != WHO_AM_I:
            require_scope(caller, one.action, scope["path_params"].get("pluginId", "").lower() or None)
        exchange = Exchange(
            self._service,
            caller,
            scope["path_params"],
            {} if one.any_query else read_query(scope["query_string"], one.query),
            headers,
            read_headers(headers, one.query) if self._has_headers else {},
            state,
            receive=receive,
            direct=scope.get("extensions", {}).get(EXTENSION),
            scope=scope,
        )
        return await one.run(exchange)

    def _note(self, error: Forbidden | Unauthenticated, state: Mapping[str, Any]) -> None:
        """Note whom this denies what. Unknown credentials are no tenant's; the log and the counters have them."""
        operation, caller = f"{self._operation.method} {self._operation.path}", state.get("caller")
        if isinstance(error, Unauthenticated):
            actor, tenant_id, reason = error.actor, error.tenant_id, error.reason
        else:
            actor, tenant_id, reason = (
                (caller.actor, caller.tenant_id, caller.role.value) if caller else (None, None, "")
            )
        if actor is not None:
            denial = Denial(tenant_id, actor, operation, error.code, reason, state["request_id"])
            note_denial(self._service.platform, denial)

    async def _caller(self, scope: Scope, headers: Mapping[str, str], request_id: str) -> Caller:
        """Who asks; wrong credentials are counted, and from where too many came none are looked at."""
        platform, limits = self._service.platform, self._service.limits
        if limits is None:
            return await caller_of(platform, headers, request_id)
        limits.check_address(scope, headers)
        try:
            caller = await caller_of(platform, headers, request_id)
        except Unauthenticated:
            if "authorization" in headers:
                await limits.count_failure(scope)
            raise
        limits.recognise(headers)
        return caller
