"""What happens around every request: its id, the last net under all errors, its line in the log and in the counters."""

import logging
import time
from typing import Any, cast
from urllib.parse import unquote

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from plugyard.application.ports import Ids
from plugyard.application.tracing import Span, Tracing, well_formed, within
from plugyard.http.answers import EXTENSION, WHOLE
from plugyard.http.problems import MEDIA_TYPE, Problem, problem_of
from plugyard.http.telemetry import Telemetry

MAX_REQUEST_ID = 64
_HOOK = "/hooks/{token}"
PLUGINS_OWN = frozenset({"/api/v1/plugins/{pluginId}/http/{path}", _HOOK})
"""The routes at which plugins answer."""
_QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_log = structlog.get_logger("plugyard.http")
_COMMON = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def request_id_of(scope: Any, ids: Ids) -> str:
    """The caller's ``X-Request-Id`` where it is short, visible ASCII; else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and 1 <= len(value) <= MAX_REQUEST_ID and all(33 <= byte <= 126 for byte in value):
            return cast("str", value.decode("ascii"))
    return ids()


def instance_of(scope: Any) -> str:
    """The request's path as it was sent, as far as a problem document shows it."""
    raw = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return cast("str", raw.partition(b"?")[0].decode("ascii", "replace")[:500])


def _keep_slashes(scope: Any) -> None:
    """Let an encoded slash stay part of its segment, as RFC 3986 (2.2) has it: such an id is a missing one."""
    raw = scope.get("raw_path") or b""
    if b"%2" in raw and b"%2f" in raw.lower():
        plain = raw.partition(b"?")[0].decode("ascii", "replace")
        scope["path"] = unquote(plain.replace("%2f", "%252f").replace("%2F", "%252F"), errors="replace")


class Around:
    """Wraps the whole application."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry, ids: Ids, tracing: Tracing | None = None) -> None:
        self._app, self._telemetry, self._ids, self._tracing = app, telemetry, ids, tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; whatever is raised becomes a problem document."""
        if scope["type"] != "http":
            # There are no WebSockets here, and what a start needs is not the application's business.
            raise ValueError(f"no answer to {scope['type']}")
        if self._tracing is None or scope["path"] in _QUIET:
            await self._answer(scope, receive, send)
            return
        with within(self._tracing.begin("request", "server", _parent_of(scope))) as traced:
            status = await self._answer(scope, receive, send)
            if traced.recording:
                _describe(traced, scope, status)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Answer, and tell of it; the status, 499 where the caller left."""
        began = time.perf_counter()
        request_id = request_id_of(scope, self._ids)
        _keep_slashes(scope)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(requestId=request_id)
        status = 0

        async def observed(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if kind in (WHOLE, "http.response.start"):
                status = message["status"]
                own = [*message["headers"], (b"x-request-id", request_id.encode("ascii")), *state.get("rate", ())]
                names = {name for name, _ in own}
                message["headers"] = own + [pair for pair in _COMMON if pair[0] not in names]
            await (_send_whole(scope, send, message) if kind == WHOLE else send(message))

        try:
            await self._app(scope, receive, observed)
        except Exception as error:
            problem = problem_of(error, instance=instance_of(scope), request_id=request_id)
            state["problem"] = problem.code
            if problem.status == 500:
                _log.exception("the request met an error that nobody expected")
            if status == 0:
                await _send_problem(observed, problem)
        finally:
            self._tell(scope, status or 499, time.perf_counter() - began)
        return status or 499

    def _tell(self, scope: Any, status: int, seconds: float) -> None:
        route = scope["route"].name if "route" in scope else "none"
        state = scope["state"]
        # What a plugin answered, or failed to, is in the record of its execution, its own errors too.
        by_plugin = route in PLUGINS_OWN and state.get("problem", "endpoint_").startswith("endpoint_")
        self._telemetry.request(scope["method"], route, status, seconds, by_plugin=by_plugin)
        level = logging.DEBUG if by_plugin else _level(scope["method"], route, status)
        if not _log.is_enabled_for(level):
            return
        caller = state.get("caller")
        facts: dict[str, Any] = {
            "method": scope["method"],
            # The address of a webhook is known to its sender alone.
            "path": route if route == _HOOK else instance_of(scope),
            "route": route,
            "status": status,
            "tookMs": round(seconds * 1000, 3),
        }
        if caller is not None:
            facts["actor"], facts["tenantId"] = caller.actor, caller.tenant_id
        if "execution_id" in state:
            facts["executionId"] = state["execution_id"]
        if "problem" in state:
            facts["problem"] = state["problem"]
        _log.log(level, "request", **facts)


def _parent_of(scope: Any) -> str | None:
    """The caller's ``traceparent``; one that is malformed, or there twice, counts as none (W3C Trace Context, 3.2)."""
    given = [value for name, value in scope["headers"] if name == b"traceparent"]
    text = given[0].decode("latin-1") if len(given) == 1 else ""
    return text if well_formed(text) else None


def _describe(traced: Span, scope: Any, status: int) -> None:
    """Say which operation it was, for whom, and how it ended; nothing that the caller wrote."""
    route = scope["route"].name if "route" in scope else "none"
    method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
    traced.rename(f"{method} {route}")
    traced.set("http.request.method", method)
    traced.set("http.route", route)
    traced.set("http.response.status_code", status)
    state = scope["state"]
    caller = state.get("caller")
    if caller is not None and caller.tenant_id is not None:
        traced.set("plugyard.tenant.id", caller.tenant_id)
    if status >= 500:
        traced.fail(state.get("problem", str(status)))


def _level(method: str, route: str, status: int) -> int:
    """How loud a request is told of: changes and refusals at once, what only reads or executes when it is asked for.

    An execution has a durable record of its own; a line for each would say it twice and cost more than the execution.
    """
    if status >= 500:
        return logging.WARNING
    ordinary = route in _QUIET or method in ("GET", "HEAD") or route.endswith("/execute")
    return logging.DEBUG if ordinary and status < 400 else logging.INFO


async def _send_problem(send: Send, problem: Problem) -> None:
    headers = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(problem.body)).encode()),
        *((name.encode(), value.encode("latin-1")) for name, value in problem.headers),
    ]
    await send({"type": WHOLE, "status": problem.status, "headers": headers, "body": problem.body})


async def _send_whole(scope: Scope, send: Send, message: Message) -> None:
    """A whole answer: at once where the server can, in ASGI's two messages elsewhere."""
    direct = scope.get("extensions", {}).get(EXTENSION)
    if direct is not None:
        await direct.answer(message["status"], message["headers"], message["body"])
        return
    await send({"type": "http.response.start", "status": message["status"], "headers": message["headers"]})
    body = b"" if scope["method"] == "HEAD" else message["body"]
    await send({"type": "http.response.body", "body": body, "more_body": False})
