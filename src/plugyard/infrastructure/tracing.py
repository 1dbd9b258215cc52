"""Traces for any collector that speaks OTLP over HTTP. ``bootstrap`` imports this only where ``otlp_url`` is set.

Ending a span puts it into a bounded queue and returns. A thread sends batches; what finds no room, or a collector that
does not answer, is dropped and counted. No request ever waits for a collector.
"""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan

from plugyard import __version__
from plugyard.application.tracing import Kind, Span, Value

MOST_WAITING = 4_096
BATCH = 512
EVERY_MS = 1_000
ANSWERS_WITHIN_S = 5.0
CLOSES_WITHIN_S = 3.0
_SAMPLED = 1
_EMPTY = Context()
_KINDS = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "consumer": SpanKind.CONSUMER,
}
log = structlog.get_logger("plugyard.tracing")


class OtlpTracing:
    """`application.tracing.Tracing`: so many of the traces as ``share`` says are recorded and sent.

    A caller's word on recording counts only where ``trust_callers`` says so: else one caller could have everything
    recorded, or nothing of its own.
    """

    def __init__(
        self,
        url: str,
        *,
        share: float = 1.0,
        trust_callers: bool = False,
        headers: Mapping[str, str] | None = None,
        chance: Callable[[], float] = random.random,
        exporter: SpanExporter | None = None,
    ) -> None:
        """`url` is the collector's address, without ``/v1/traces``; `exporter` takes the place of what speaks to it."""
        # What the library says of a failure repeats itself and names the address; one line of ours says it once.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        if exporter is None:
            endpoint = f"{url.rstrip('/')}/v1/traces"
            exporter = OTLPSpanExporter(endpoint, headers=dict(headers or {}), timeout=ANSWERS_WITHIN_S)
        self._share, self._trust, self._chance = share, trust_callers, chance
        self._sending = _Sending(exporter, urlsplit(url).hostname or "")
        self._provider = TracerProvider(
            ALWAYS_ON,
            Resource.create({"service.name": "plugyard", "service.version": __version__}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(self._sending.processor)
        self._tracer = self._provider.get_tracer("plugyard", __version__)

    @property
    def exported(self) -> int:
        """Spans that the collector took."""
        return self._sending.exported

    @property
    def dropped(self) -> int:
        """Spans that found no room, or that the collector did not take."""
        return self._sending.dropped

    def begin(self, name: str, kind: Kind, parent: str | None, *, ours: bool = False) -> Span:
        """See the protocol."""
        if parent is not None and (ours or self._trust):
            recorded = bool(int(parent[-2:], 16) & _SAMPLED)
        else:
            recorded = self._chance() < self._share
        trace_id = int(parent[3:35], 16) if parent is not None else _random_id(128)
        if not recorded:
            return _Unrecorded(trace_id)
        context = _EMPTY
        if parent is not None:
            remote = SpanContext(trace_id, int(parent[36:52], 16), is_remote=True, trace_flags=TraceFlags(_SAMPLED))
            context = set_span_in_context(NonRecordingSpan(remote), _EMPTY)
        return _Recorded(self._tracer, self._tracer.start_span(name, context, _KINDS[kind]))

    def close(self) -> None:
        """Send what waits, for a few seconds at most; the rest is dropped."""
        # Its own thread, which nothing waits for when the process ends: a collector may hang.
        ending = threading.Thread(target=self._provider.shutdown, daemon=True)
        ending.start()
        ending.join(CLOSES_WITHIN_S)
        self._sending.closed = True


class _Unrecorded:
    """A trace that is passed on and not recorded."""

    __slots__ = ("trace_id", "traceparent")
    recording = False

    def __init__(self, trace_id: int) -> None:
        self.trace_id = f"{trace_id:032x}"
        self.traceparent = f"00-{self.trace_id}-{_random_id(64):016x}-00"

    def child(self, name: str, kind: Kind) -> Span:
        return self

    def rename(self, name: str) -> None: ...
    def set(self, name: str, value: Value) -> None: ...
    def fail(self, why: str) -> None: ...
    def end(self) -> None: ...


class _Recorded:
    """A span of the library's."""

    __slots__ = ("_span", "_tracer", "trace_id", "traceparent")
    recording = True

    def __init__(self, tracer: Tracer, one: OtelSpan) -> None:
        self._tracer, self._span = tracer, one
        context = one.get_span_context()
        self.trace_id = f"{context.trace_id:032x}"
        self.traceparent = f"00-{self.trace_id}-{context.span_id:016x}-01"

    def child(self, name: str, kind: Kind) -> Span:
        above = set_span_in_context(self._span, _EMPTY)
        return _Recorded(self._tracer, self._tracer.start_span(name, above, _KINDS[kind]))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def set(self, name: str, value: Value) -> None:
        self._span.set_attribute(name, value)

    def fail(self, why: str) -> None:
        self._span.set_attribute("error.type", why)
        self._span.set_status(Status(StatusCode.ERROR))

    def end(self) -> None:
        self._span.end()


class _Sending(SpanExporter):
    """Stands before the exporter and counts: what waits, what was taken, what was dropped."""

    def __init__(self, exporter: SpanExporter, host: str) -> None:
        self._exporter, self._host = exporter, host
        self._lock = threading.Lock()
        self._waiting = 0
        self._well = True
        self.closed = False
        self.exported = 0
        self.dropped = 0
        self.processor = _Bounded(self, self.admits)

    def admits(self) -> bool:
        """Whether one more may wait; it is counted either way."""
        with self._lock:
            if self._waiting >= MOST_WAITING:
                self.dropped += 1
                return False
            self._waiting += 1
            return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called by the processor's thread alone."""
        began = time.monotonic()
        taken = False
        try:
            taken = not self.closed and self._exporter.export(spans) is SpanExportResult.SUCCESS
        except Exception as error:
            log.debug("sending spans failed", error=type(error).__name__)
        with self._lock:
            self._waiting -= len(spans)
            if taken:
                self.exported += len(spans)
            else:
                self.dropped += len(spans)
        if taken is not self._well and not self.closed:
            self._well = taken
            if taken:
                log.info("the collector takes traces again", host=self._host)
            else:
                took = round(time.monotonic() - began, 1)
                log.warning("the collector takes no traces; they are dropped", host=self._host, afterS=took)
        return SpanExportResult.SUCCESS if taken else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        """End the exporter, and with it what it tries at the moment."""
        self._exporter.shutdown()


class _Bounded(BatchSpanProcessor):
    """The library's processor behind a bound that counts what it turns away."""

    def __init__(self, sending: SpanExporter, admits: Callable[[], bool]) -> None:
        super().__init__(
            sending, max_queue_size=MOST_WAITING, schedule_delay_millis=EVERY_MS, max_export_batch_size=BATCH
        )
        self._admits = admits

    def on_end(self, span: ReadableSpan) -> None:
        if self._admits():
            super().on_end(span)


def _random_id(bits: int) -> int:
    """Ids need be unlike each other and no secret."""
    return random.getrandbits(bits) or 1
