"""Executions over HTTP.

``execute_function`` is the service's hot path: the input and the output pass through it as bytes.
"""

import re
from collections.abc import Mapping
from dataclasses import replace

import msgspec
from starlette.types import ASGIApp

from plugyard.application import history
from plugyard.application.enqueue import enqueue
from plugyard.application.executable import Call, Executed
from plugyard.application.execute import execute
from plugyard.application.ports import ExecutionFilter
from plugyard.application.tracing import well_formed
from plugyard.domain.errors import TooLarge
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Action
from plugyard.domain.queue import Priority
from plugyard.http import commands, examples, present, ran, views
from plugyard.http.answers import json_answer
from plugyard.http.bodies import DEFAULT_CAP, decode, malformed
from plugyard.http.exchange import Exchange
from plugyard.http.operations import EXECUTE, Body, Reply, operation
from plugyard.http.queries import PAGE, PLAIN_TEXT, Parameter, choice_of, moment, page_of, text
from plugyard.http.rates import RateClass

MAX_INPUT_BYTES = 5_000_000
_TAG = "Executions"
_NULL = msgspec.Raw(b"null")
_decode = msgspec.json.Decoder(commands.ExecuteFunction).decode
_NAMES = tuple(b'"%b"' % one.encode_name.encode() for one in msgspec.structs.fields(commands.ExecuteFunction))
_SMALL = 2_000  # bytes in which nothing is won by leaving the input out
_ENDS = frozenset(map(bytes, zip(b",} \t\r\n]", strict=True)))
_INPUT = re.compile(rb'"input"[ \t\r\n]*:[ \t\r\n]*')
_EXECUTIONS = "/api/v1/executions/{executionId}"


def _idempotency_key(value: str) -> str:
    if not 1 <= len(value) <= 255 or not all(33 <= ord(character) <= 126 for character in value):
        raise ValueError("1 to 255 visible ASCII characters")
    return value


IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Repeats of a request under one key, within a day, get the first answer and execute nothing.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    _idempotency_key,
    example="order-4711",
    header=True,
)


@operation(
    "POST",
    EXECUTE,
    tag=_TAG,
    action=Action.EXECUTE,
    rate=RateClass.EXECUTE,
    query=(IDEMPOTENCY_KEY,),
    body=Body(
        commands.ExecuteFunction,
        examples={
            "a call": {"function": "total", "input": {"lines": [{"net": "100.00"}]}, "timeoutMs": 2000},
            "within limits": {"function": "total", "limits": {"memory": 64, "cpu": 500}},
            "to wait its turn": {"function": "total", "mode": "async", "priority": "low"},
        },
        overrides={
            "input": {"description": "Any JSON value; it has to fit the function's own schema. Default: null."},
            "mode": {
                "enum": ["sync", "async"],
                "default": "sync",
                "description": "`async` answers 202 when the execution is queued, which is durable then.",
            },
            "priority": {
                "enum": ["low", "normal", "high"],
                "default": "normal",
                "description": "Of `async`: what of the tenant's own goes first. It never goes before other tenants'.",
            },
            "webhook": {
                "anyOf": [
                    {"type": "string", "minLength": 1, "maxLength": 2_000, "pattern": PLAIN_TEXT},
                    {"type": "null"},
                ],
                "default": None,
                "description": "Of `async`: an address that is told of the end, where the plugin itself may POST.",
            },
        },
    ),
    replies=[
        Reply(
            200,
            "The execution happened, whatever its outcome: `status` says how it went.",
            views.ExecutedView,
            examples.EXECUTED,
            headers={"Idempotency-Replayed": "`true` where this is the first answer again."},
        ),
        Reply(
            202,
            "The execution is queued, and is not lost any more. `GET` its `Location` until it has ended.",
            views.ExecutionView,
            examples.QUEUED,
            headers={
                "Location": "Where the execution is shown.",
                "Idempotency-Replayed": "`true` where the same request had queued it before.",
            },
        ),
    ],
    problems=[
        "not_found",
        "function_not_found",
        "wrong_state",
        "idempotency_in_progress",
        "idempotency_mismatch",
        "quota_exceeded",
        "sandbox_unavailable",
        "too_large",
    ],
)
async def execute_function(exchange: Exchange) -> ASGIApp:
    """Execute a function of an active plugin.

    Answers when the record of the execution is durable, or with `async` when the execution is queued. An execution that
    happened answers 200 whatever its outcome; the request's own faults are 4xx. When the caller leaves, the execution
    goes on and is recorded.
    """
    asked = _asked(await exchange.raw_body(MAX_INPUT_BYTES))
    call = Call(
        asked.function,
        b"null" if isinstance(asked.input, msgspec.UnsetType) else bytes(asked.input),
        asked.timeout_ms,
        exchange.declared["Idempotency-Key"],
        trace_of(exchange.headers),
    )
    if asked.limits is not None:
        call = replace(call, limits=asked.limits.requested())
    if asked.mode == "async":
        return await _queue(exchange, call, asked)
    executed = await execute(exchange.platform, exchange.caller, exchange.id("pluginId"), call)
    exchange.state["execution_id"] = executed.execution.id
    headers = (("idempotency-replayed", "true"),) if executed.replayed else ()
    return json_answer(_executed(executed), headers=headers)


async def _queue(exchange: Exchange, call: Call, asked: commands.ExecuteFunction) -> ASGIApp:
    queued = await enqueue(
        exchange.platform,
        exchange.caller,
        exchange.id("pluginId"),
        call,
        priority=Priority[asked.priority.upper()],
        webhook=asked.webhook,
    )
    execution = queued.execution
    exchange.state["execution_id"] = execution.id
    headers = [("location", _EXECUTIONS.replace("{executionId}", execution.id))]
    if queued.replayed:
        headers.append(("idempotency-replayed", "true"))
    return json_answer(ran.execution(execution), status=202, headers=headers)


def _executed(executed: Executed) -> views.ExecutedView:
    execution = executed.execution
    return views.ExecutedView(
        execution_id=execution.id,
        plugin_id=execution.plugin_id,
        version=execution.version,
        function=execution.function,
        status=execution.status,
        output=_NULL if executed.output is None else msgspec.Raw(executed.output),
        error=ran.failure(execution.error),
        usage=ran.usage(execution.usage),
    )


def trace_of(headers: Mapping[str, str]) -> str | None:
    """The caller's ``traceparent`` (W3C Trace Context, level 1), or nothing where it is not well formed."""
    given = headers.get("traceparent")
    return given if given is not None and well_formed(given) else None


class _Given(msgspec.Struct, frozen=True):
    """The input of a body, whatever else is in it."""

    input: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decode_given = msgspec.json.Decoder(_Given).decode


def _asked(raw: bytes) -> commands.ExecuteFunction:
    """The body, decoded once; the careful way only where it is wrong or may name something twice.

    The careful way is Python's and holds the event loop, so the input, which may be large, goes past it.
    """
    asked = None
    try:
        asked = _decode(raw)
        if len(raw) <= _SMALL and asked.limits is None and _names_each_once(raw):
            return asked
        given = asked.input
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        given = _given(raw)
    beside = raw if isinstance(given, msgspec.UnsetType) else _beside(raw, bytes(given))
    if len(beside) > DEFAULT_CAP:
        raise TooLarge(f"The body has {len(beside)} bytes beside its input; at most {DEFAULT_CAP} are taken here.")
    if asked is None or asked.limits is not None or not _names_each_once(beside):
        asked = msgspec.structs.replace(decode(beside, commands.ExecuteFunction), input=given)
    return asked


def _names_each_once(body: bytes) -> bool:
    """Whether it surely names nothing twice; with escapes in it, which no count sees through, that is not sure."""
    if b"\\" in body:
        return False
    for name in _NAMES:  # noqa: SIM110 - a generator would cost as much as all the counting
        if body.count(name) > 1:
            return False
    return True


def _given(raw: bytes) -> msgspec.Raw | msgspec.UnsetType:
    """The input of a body that is wrong. Raises ``MalformedJson`` where it is no JSON."""
    try:
        return _decode_given(raw).input
    except msgspec.ValidationError:
        return msgspec.UNSET
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(raw, error) from error


def _beside(raw: bytes, given: bytes) -> bytes:
    """The body with null in the place of its input; as it is where its name is written with escapes.

    What looks like the name and a colon is a name in some object, for within text the quotes would be escaped. One that
    is not the input's own is told of as unknown or as there twice, whatever its value.
    """
    for name in _INPUT.finditer(raw):
        begin = name.end()
        end = begin + len(given)
        # Only numbers may begin as another value does and go on.
        if raw.startswith(given, begin) and raw[end : end + 1] in _ENDS:
            return b"".join((raw[:begin], b"null", raw[end:]))
    return raw


@operation(
    "GET",
    "/api/v1/plugins/{pluginId}/executions",
    tag=_TAG,
    query=(
        choice_of("status", "Only executions that stand so.", ExecutionStatus),
        text("function", "Only this function.", example="total"),
        text("version", "Only this version.", most=100, example="1.0.0"),
        moment("since", "Only executions that started at this time or later."),
        moment("until", "Only executions that started before this time."),
        *PAGE,
    ),
    replies=[Reply(200, "A page.", views.PageView[views.ExecutionView], examples.page_of(examples.EXECUTION))],
    problems=["not_found"],
)
async def list_executions(exchange: Exchange) -> ASGIApp:
    """List a plugin's executions, newest first."""
    asked = exchange.query
    filters = ExecutionFilter(asked["status"], asked["function"], asked["version"], asked["since"], asked["until"])
    found = await history.executions(
        exchange.platform, exchange.caller, exchange.id("pluginId"), filters, page_of(asked)
    )
    return json_answer(present.page(found, ran.execution))


@operation(
    "GET",
    _EXECUTIONS,
    tag=_TAG,
    replies=[Reply(200, "The execution.", views.ExecutionView, examples.EXECUTION)],
    problems=["not_found"],
)
async def get_execution(exchange: Exchange) -> ASGIApp:
    """Show one execution, waiting, running or ended."""
    found = await history.execution(exchange.platform, exchange.caller, exchange.id("executionId"))
    return json_answer(ran.execution(found))


@operation(
    "GET",
    _EXECUTIONS + "/result",
    tag=_TAG,
    replies=[Reply(200, "What came of it.", views.ExecutedView, examples.EXECUTED)],
    problems=["not_found", "conflict"],
)
async def get_execution_result(exchange: Exchange) -> ASGIApp:
    """Show what came of a queued execution, with its output.

    It is kept for a day behind the execution's end, where it is no larger than the operator allows.
    """
    found = await history.result(exchange.platform, exchange.caller, exchange.id("executionId"))
    return json_answer(_executed(found))


@operation(
    "POST",
    _EXECUTIONS + "/cancel",
    tag=_TAG,
    action=Action.EXECUTE,
    replies=[Reply(200, "The execution as it was when it was told to end.", views.ExecutionView, examples.EXECUTION)],
    problems=["not_found", "conflict"],
)
async def cancel_execution(exchange: Exchange) -> ASGIApp:
    """Cancel an execution that runs or waits.

    Its own caller is answered with the status `cancelled`. One that a worker elsewhere runs ends within seconds.
    """
    found = await history.cancel(exchange.platform, exchange.caller, exchange.id("executionId"))
    return json_answer(ran.execution(found))


OPERATIONS = (execute_function, list_executions, get_execution, get_execution_result, cancel_execution)
