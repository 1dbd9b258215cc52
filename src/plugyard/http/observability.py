"""A plugin's logs, once or followed as they come, and its metrics."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator

from starlette.types import ASGIApp

from plugyard.application import observe
from plugyard.application.ports import LogFilter, LogStep, StoredLogLine
from plugyard.application.tenants import require_active
from plugyard.domain.errors import Overloaded, PlugyardError
from plugyard.http import examples, present, views
from plugyard.http.answers import EventStream, encode, json_answer
from plugyard.http.auth import caller_of
from plugyard.http.exchange import NIL, Exchange
from plugyard.http.operations import Reply, operation
from plugyard.http.queries import PAGE, Parameter, choice, flag, moment, page_of, text

POLL_S, HEARTBEAT_S = 0.25, 15.0
# While there is more to be told already; how quickly its reader takes it decides the rest.
CATCHING_UP_S = 0.02
# Records are committed in another order than their ids were given, but hardly this much later.
OVERLAP_MS = 2_000
# Each stream asks the database four times a second, so one tenant gets only so many at a time.
MAX_STREAMS = 50
_TAG = "Logs and metrics"


def _uuid(value: str) -> str:
    try:
        found = str(uuid.UUID(value))
    except ValueError:
        raise ValueError("a UUID") from None
    if found != value.lower():
        raise ValueError("a UUID")
    return found


LAST_EVENT_ID = Parameter(
    "Last-Event-ID",
    "While following: the id of the last line that was seen, to go on behind it.",
    {"type": "string", "format": "uuid"},
    _uuid,
    header=True,
)


@operation(
    "GET",
    "/api/v1/plugins/{pluginId}/logs",
    tag=_TAG,
    query=(
        choice("level", "Only lines of this level or above.", ["debug", "info", "warning", "error"]),
        Parameter("executionId", "Only lines of this execution.", {"type": "string", "format": "uuid"}, _uuid),
        text("q", "Only lines whose message has this in it.", example="invoice"),
        moment("since", "Only lines of this time or later."),
        moment("until", "Only lines before this time."),
        flag("follow", "Stream lines as server-sent events, as they come."),
        *PAGE,
        LAST_EVENT_ID,
    ),
    replies=[
        Reply(200, "A page, or the stream.", views.PageView[views.LogView], examples.page_of(examples.LOG)),
        Reply(200, "A page, or the stream.", media_type="text/event-stream"),
    ],
    problems=["not_found"],
)
async def read_logs(exchange: Exchange) -> ASGIApp:
    """Read what a plugin logged, newest first, or follow it.

    With `follow=true` the answer is a stream of server-sent events that begins with the newest line that passes the
    filters, if it is among the latest 2,500, and ends when the client leaves or the service ends. Each event's data is
    a log line; its id is the line's, so that a client which comes back with `Last-Event-ID` misses nothing. A comment
    every 15 seconds keeps the connection open.
    """
    asked = exchange.query
    filters = LogFilter(asked["level"], asked["executionId"], asked["q"], asked["since"], asked["until"])
    plugin_id = exchange.id("pluginId")
    if not asked["follow"]:
        found = await observe.logs(exchange.platform, exchange.caller, plugin_id, filters, page_of(asked))
        return json_answer(present.page(found, present.log_line))
    tenant_id = exchange.caller.tenant_id or ""
    if exchange.service.streams[tenant_id] >= MAX_STREAMS:
        raise Overloaded(f"The tenant follows {MAX_STREAMS} logs already; end one first.", retry_after_s=HEARTBEAT_S)
    following = Following(exchange, plugin_id, filters)
    await following.begin(exchange.declared["Last-Event-ID"])
    return EventStream(following.events())


class Following:
    """Follows a plugin's log by polling, and never sends a line twice.

    Each step looks at so many lines and is told before the next, so that a stream holds no more than that, however far
    back it begins, and costs the store the same four times a second whether its filters find anything or not.
    """

    def __init__(self, exchange: Exchange, plugin_id: str, filters: LogFilter) -> None:
        self._exchange, self._plugin_id, self._filters = exchange, plugin_id, filters
        self._start = self._newest = NIL
        self._sent: set[str] = set()
        self._first = LogStep()

    async def begin(self, last_seen: str | None) -> None:
        """Find where to start; raises ``NotFound`` before anything was sent."""
        self._first = await self._after(last_seen)
        # Behind the newest of all lines, not of those that pass: what never passed would be looked for from the first.
        self._start = self._newest = last_seen or self._first.last or NIL

    async def _after(self, line_id: str | None) -> LogStep:
        exchange = self._exchange
        return await observe.logs_after(exchange.platform, exchange.caller, self._plugin_id, self._filters, line_id)

    async def events(self) -> AsyncGenerator[bytes, None]:
        """The stream, piece by piece."""
        streams, tenant_id = self._exchange.service.streams, self._exchange.caller.tenant_id or ""
        streams[tenant_id] += 1
        left = asyncio.ensure_future(self._client_left())
        last_sign = checked = time.monotonic()
        try:
            yield b"retry: 1000\n\n"
            step = self._first
            while not left.done() and not self._exchange.service.draining.begun:
                if time.monotonic() - checked >= HEARTBEAT_S:
                    if not await self._still_allowed():
                        return
                    checked = time.monotonic()
                if lines := [one for one in step.lines if one.id not in self._sent]:
                    yield self._told(lines)
                    last_sign = time.monotonic()
                elif time.monotonic() - last_sign >= HEARTBEAT_S:
                    yield b": still here\n\n"
                    last_sign = time.monotonic()
                place = self._behind(step)
                await asyncio.wait([left], timeout=CATCHING_UP_S if step.more and step.lines else POLL_S)
                try:
                    step = await self._after(place)
                except PlugyardError:
                    # The store is away for a moment: the client comes back by itself, and is then told so.
                    return
        finally:
            left.cancel()
            streams[tenant_id] -= 1
            if not streams[tenant_id]:
                del streams[tenant_id]

    def _behind(self, step: LogStep) -> str:
        """Where the next step goes on: behind this one, or where something may have been committed late meanwhile."""
        self._newest = max(self._newest, step.last or NIL)
        late = max(self._start, earlier(self._newest, OVERLAP_MS))
        self._sent = {one for one in self._sent if one > late}
        return step.last if step.more and step.last is not None else late

    async def _client_left(self) -> None:
        while (await self._exchange.receive())["type"] != "http.disconnect":
            pass

    async def _still_allowed(self) -> bool:
        """A key that was revoked since, or whose tenant was suspended, ends its streams too."""
        exchange = self._exchange
        try:
            caller = await caller_of(exchange.platform, exchange.headers, exchange.caller.request_id)
            await require_active(exchange.platform, caller)
        except PlugyardError:
            return False
        return True

    def _told(self, lines: list[StoredLogLine]) -> bytes:
        self._sent.update(one.id for one in lines)
        return b"".join(
            b"id: " + one.id.encode() + b"\nevent: log\ndata: " + encode(present.log_line(one)) + b"\n\n"
            for one in lines
        )


def earlier(line_id: str, by_ms: int) -> str:
    """The lowest UUID of version 7 that is so many milliseconds older (RFC 9562, section 5.7)."""
    if line_id == NIL:
        return NIL
    began = max(0, (uuid.UUID(line_id).int >> 80) - by_ms)
    return str(uuid.UUID(int=began << 80))


@operation(
    "GET",
    "/api/v1/plugins/{pluginId}/metrics",
    tag=_TAG,
    query=(
        moment("since", "The beginning of the window, at most 7 days before its end; by default a day before it."),
        moment("until", "The end of the window; by default now."),
    ),
    replies=[Reply(200, "The aggregates.", views.MetricsView, examples.METRICS)],
    problems=["not_found"],
)
async def read_metrics(exchange: Exchange) -> ASGIApp:
    """Show a plugin's counts, error rate, latency, CPU, memory and health over a window."""
    asked = exchange.query
    found, health = await observe.metrics(
        exchange.platform, exchange.caller, exchange.id("pluginId"), asked["since"], asked["until"]
    )
    return json_answer(present.metrics(found, health))


OPERATIONS = (read_logs, read_metrics)
