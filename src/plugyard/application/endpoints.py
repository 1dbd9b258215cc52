"""A request to one of a plugin's own endpoints: its handler is executed like any function, the request being its input.

``http/endpoints.py`` calls it for callers with a key, ``application/deliveries.py`` for those who sign.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from plugyard.application.endpointanswers import EndpointAnswer, answer_of
from plugyard.application.executable import Call, Executable, Executed, executable_of
from plugyard.application.execute import execute
from plugyard.application.platform import Platform, require, tenant_of
from plugyard.application.schemas import deeper_than
from plugyard.domain.endpoints import (
    CREDENTIALS,
    Allowed,
    AnswerInvalid,
    EndpointFailed,
    EndpointTimedOut,
    Match,
    find,
)
from plugyard.domain.errors import Forbidden, TooLarge
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import Transition
from plugyard.domain.scopes import may_call

MAX_INPUT_BYTES = 5_000_000
# Of the connection (RFC 9110, 7.6.1), or of how the request came here.
_NOT_PASSED_ON = CREDENTIALS | frozenset(
    [
        "connection",
        "forwarded",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-proto",
        "x-real-ip",
    ]
)
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class EndpointRequest:
    """A request as it came. ``path`` is below the plugin's own address and still encoded; names of headers are in lower
    case, repeated ones one by one."""

    method: str
    path: str
    query_string: str
    query: Sequence[tuple[str, str]]
    headers: Sequence[tuple[str, str]]
    body: bytes = b""
    trace: str | None = None

    @property
    def joined(self) -> dict[str, str]:
        """The headers by name, repeated ones joined as RFC 9110 (5.3) does."""
        return {name: ", ".join(_listed(values)) for name, values in _together(self.headers).items()}


@dataclass(frozen=True, slots=True)
class Answered:
    """What the caller is to get. ``execution_id`` is nothing where nothing was executed for it."""

    answer: EndpointAnswer
    execution_id: str | None


async def call_endpoint(platform: Platform, caller: Caller, plugin_id: str, request: EndpointRequest) -> Answered:
    """Answer a request by the plugin, or by what it said a while ago and that still holds.

    Raises what ``execute`` does, and ``EndpointNotFound``, ``MethodNotTaken``, ``EndpointFailed``,
    ``EndpointTimedOut``, ``AnswerInvalid``, ``TooLarge``.
    """
    require(caller, Action.EXECUTE)
    executable = await executable_of(platform, tenant_of(caller), plugin_id)
    executable.plugin.check(Transition.EXECUTE)
    found = find(executable.version.manifest.endpoints, request.method, request.path)
    if isinstance(found, Allowed):
        return Answered(EndpointAnswer(204, (("allow", found.allow),), b""), None)
    handler = found.endpoint.handler
    if caller.scopes and not may_call(caller.scopes, plugin_id, handler):
        raise Forbidden("The key is narrowed to other functions.")
    key = _key(executable, found, request)
    headers = request.joined if key is not None else {}
    if key is not None and (kept := platform.endpoint_cache.get(key, headers, platform.clock())) is not None:
        return Answered(_conditional(kept.served(platform.clock()), headers), None)
    began = platform.clock()
    answered = await execute_endpoint(platform, caller, plugin_id, found, request)
    if key is not None:
        if request.method == "GET":
            platform.endpoint_cache.keep(key, headers, answered.answer, began)
        return replace(answered, answer=_conditional(answered.answer, headers))
    return answered


async def execute_endpoint(
    platform: Platform, caller: Caller, plugin_id: str, found: Match, request: EndpointRequest
) -> Answered:
    """Execute the handler, and read its output as a response."""
    limit = platform.policies.max_input_depth
    call = Call(found.endpoint.handler, _input(request, found, limit), trace=request.trace)
    executed = await execute(platform, caller, plugin_id, call)
    if executed.execution.status is not ExecutionStatus.SUCCEEDED:
        raise _failure(executed)
    try:
        return Answered(answer_of(executed.output), executed.execution.id)
    except AnswerInvalid as error:
        error.execution_id = executed.execution.id
        raise


def _key(executable: Executable, found: Match, request: EndpointRequest) -> tuple[str, ...] | None:
    """What the answer is kept under; ``None`` for what is never kept."""
    if request.method not in ("GET", "HEAD") or found.endpoint.method != "GET":
        return None
    plugin, version = executable.plugin, executable.version
    return (plugin.tenant_id, plugin.id, version.id, executable.mark, request.path, request.query_string)


def _conditional(answer: EndpointAnswer, headers: Mapping[str, str]) -> EndpointAnswer:
    """The answer, or 304 where the caller has it already (RFC 9110, 13.1.2: weak comparison)."""
    etag, known = answer.header("etag"), headers.get("if-none-match")
    if answer.status != 200 or etag is None or known is None:
        return answer
    tags = {tag.strip().removeprefix("W/") for tag in known.split(",")}
    if known.strip() != "*" and etag.removeprefix("W/") not in tags:
        return answer
    told = tuple(pair for pair in answer.headers if not pair[0].startswith("content-"))
    return EndpointAnswer(304, told, b"")


def _failure(executed: Executed) -> EndpointFailed:
    execution = executed.execution
    error = execution.error
    why = error.message if error is not None else "it gave no reason"
    if execution.status is ExecutionStatus.TIMED_OUT:
        return EndpointTimedOut(f"The plugin did not answer in time: {why}", execution.id, execution.status)
    return EndpointFailed(f"The plugin did not answer: {why}", execution.id, execution.status)


# --- the request as the handler gets it ------------------------------------------------------------------------------


def _input(request: EndpointRequest, found: Match, depth: int) -> bytes:
    document = {
        "method": request.method,
        "path": request.path,
        "params": found.params,
        "query": _together(request.query),
        "headers": _passed_on(request.headers),
        "body": _content(request, depth),
        "bodyBase64": base64.b64encode(request.body).decode("ascii") if request.body else None,
    }
    text = _encode(document)
    if len(text) > MAX_INPUT_BYTES:
        raise TooLarge(f"The request takes {len(text)} bytes as the handler's input; at most {MAX_INPUT_BYTES} do.")
    return text


def _content(request: EndpointRequest, depth: int) -> Any:
    """The body as JSON where it is that, as text where it is UTF-8, and else nothing."""
    if not request.body:
        return None
    kind = next((value for name, value in request.headers if name == "content-type"), "")
    kind = kind.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            value = msgspec.json.decode(request.body)
            # The request is one level around it.
            if not deeper_than(depth - 1, request.body, value):
                return msgspec.Raw(request.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass  # It is shown as text, and the handler says what it misses.
    try:
        return request.body.decode()
    except UnicodeDecodeError:
        return None


def _passed_on(headers: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    named = {one.strip().lower() for name, value in headers if name == "connection" for one in value.split(",")}
    held_back = _NOT_PASSED_ON | named
    return _together([pair for pair in headers if pair[0] not in held_back])


def _together(pairs: Sequence[tuple[str, str]]) -> dict[str, str | list[str]]:
    """The values by name: one as it is, several in a list, in their order."""
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        there = found.get(name)
        if there is None:
            found[name] = value
        elif isinstance(there, list):
            there.append(value)
        else:
            found[name] = [there, value]
    return found


def _listed(values: str | list[str]) -> list[str]:
    return values if isinstance(values, list) else [values]
