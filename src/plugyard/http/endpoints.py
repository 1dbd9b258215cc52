"""Plugins' own endpoints over HTTP: the request goes to a handler as it came, and its answer goes back as it is."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from plugyard.application.endpointanswers import EndpointAnswer
from plugyard.application.endpoints import Answered, EndpointRequest, call_endpoint
from plugyard.domain.endpoints import METHODS
from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.domain.identity import Action
from plugyard.http.answers import WHOLE
from plugyard.http.exchange import Exchange
from plugyard.http.executions import trace_of
from plugyard.http.operations import Operation, Reply, operation
from plugyard.http.problems import EXECUTION_ID
from plugyard.http.queries import MAX_QUERY_BYTES
from plugyard.http.rates import RateClass

PATH = "/api/v1/plugins/{pluginId}/http/{path}"
_PARTS_BEFORE = PATH.count("/") - 1
# Pages of plugins have the address of the service: their scripts run nowhere, and they may ask nothing of it.
_SANDBOXED = (b"content-security-policy", b"sandbox")


class PluginsAnswer:
    """What a plugin answered, sent as it is."""

    def __init__(self, answer: EndpointAnswer, execution_id: str | None) -> None:
        self._answer = answer
        self._more = [_SANDBOXED]
        if execution_id is not None:
            self._more.append((EXECUTION_ID.encode(), execution_id.encode()))
        # RFC 9110, 8.6: these have no length, not even that of nothing.
        if answer.status not in (204, 304):
            self._more.append((b"content-length", str(len(answer.body)).encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a HEAD request gets the same headers and no body (RFC 9110, 9.3.2)."""
        headers = [(name.encode(), value.encode()) for name, value in self._answer.headers] + self._more
        await send({"type": WHOLE, "status": self._answer.status, "headers": headers, "body": self._answer.body})


def request_of(scope: Scope, path: str, body: bytes, headers: Mapping[str, str]) -> EndpointRequest:
    """The request as it came, for a handler at ``path``. Raises ``InvalidInput`` for a query that cannot be read."""
    raw: bytes = scope["query_string"]
    if len(raw) > MAX_QUERY_BYTES:
        raise InvalidInput("The query is too long.", [FieldError("query", f"at most {MAX_QUERY_BYTES} bytes")])
    try:
        text = raw.decode("ascii")
        query = parse_qsl(text, keep_blank_values=True, errors="strict", encoding="utf-8", max_num_fields=1000)
    except ValueError as error:
        raise InvalidInput("The query cannot be read.", [FieldError("query", str(error)[:200])]) from error
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
    return EndpointRequest(scope["method"], path, text, query, pairs, body, trace_of(headers))


def answer_of(exchange_state: dict[str, Any], answered: Answered) -> PluginsAnswer:
    """The answer to send; the log's line on the request gets the execution's id."""
    if answered.execution_id is not None:
        exchange_state["execution_id"] = answered.execution_id
    return PluginsAnswer(answered.answer, answered.execution_id)


def _path_below(scope: Scope) -> str:
    """The path below the plugin's own address, still encoded."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    return "/" + raw.partition(b"?")[0].decode("ascii", "replace").split("/", _PARTS_BEFORE + 1)[-1]


def _endpoint(method: str) -> Operation:
    async def call(exchange: Exchange) -> ASGIApp:
        """Call one of the plugin's own endpoints.

        The manifest's `api.endpoints` say which there are. The handler is executed as by `execute`, with the request as
        its input, and answers as it likes; a problem of the service's own has the media type of problems. The header
        `Plugyard-Execution-Id` names the execution; it is missing where the answer was kept from an earlier one, and
        where no endpoint of the plugin answers OPTIONS.
        """
        body = await exchange.any_body(exchange.platform.policies.endpoint_body_bytes)
        request = request_of(exchange.scope, _path_below(exchange.scope), body, exchange.headers)
        answered = await call_endpoint(exchange.platform, exchange.caller, exchange.id("pluginId"), request)
        return answer_of(exchange.state, answered)

    call.__name__ = f"{method.lower()}_endpoint"
    return operation(
        method,
        PATH,
        tag="Executions",
        action=Action.EXECUTE,
        rate=RateClass.EXECUTE,
        any_query=True,
        replies=[
            Reply(
                200,
                "What the plugin answers, with a status of its own, 200 to 599.",
                media_type="*/*",
                headers={"Plugyard-Execution-Id": "The execution that answered."},
            )
        ],
        problems=[
            "not_found",
            "endpoint_not_found",
            "route_not_found",
            "method_not_allowed",
            "malformed_request",
            "request_timeout",
            "too_large",
            "wrong_state",
            "quota_exceeded",
            "sandbox_unavailable",
            "endpoint_failed",
            "endpoint_answer_invalid",
            "endpoint_timed_out",
        ],
    )(call)


# HEAD comes to the handler of GET, as everywhere (RFC 9110, 9.3.2).
OPERATIONS = tuple(_endpoint(method) for method in METHODS if method != "HEAD")
