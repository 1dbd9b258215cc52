"""Which traces are recorded, and what becomes of spans that nobody takes."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from plugyard.application.tracing import current, note, span, traceparent, well_formed, within
from plugyard.bootstrap.keys import CannotStart
from plugyard.bootstrap.tracing import show_tracing, tracing_of
from plugyard.infrastructure import tracing
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.infrastructure.tracing import OtlpTracing
from plugyard.settings import Settings

TRACE, ABOVE = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


class Taking(SpanExporter):
    """Takes spans, or fails, or waits."""

    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []
        self.fails = False
        self.go = threading.Event()
        self.go.set()
        self.met = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.met.set()
        self.go.wait(30)
        if self.fails:
            raise ConnectionError("away")
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def taking() -> Iterator[Taking]:
    found = Taking()
    yield found
    found.go.set()


def made(taking: Taking, *, share: float = 1.0, luck: float = 0.5, trust_callers: bool = False) -> OtlpTracing:
    return OtlpTracing(
        "http://collector", share=share, trust_callers=trust_callers, chance=lambda: luck, exporter=taking
    )


def test_spans_below_have_the_one_above_as_parent_and_end_with_their_block(taking: Taking) -> None:
    tracer = made(taking)
    with within(tracer.begin("request", "server", f"00-{TRACE}-{ABOVE}-01")) as root:
        with span("execute"):
            note("number", 1)
            with span("wait"):
                pass
        assert traceparent("another") == root.traceparent
    assert current.get() is None
    tracer.close()
    wait, execute, request = taking.spans
    assert f"{request.parent.span_id:016x}" == ABOVE
    assert f"{request.context.trace_id:032x}" == TRACE
    assert (execute.parent.span_id, wait.parent.span_id) == (request.context.span_id, execute.context.span_id)
    assert execute.attributes == {"number": 1}


def test_an_error_fails_its_span_by_name_and_says_no_more(taking: Taking) -> None:
    tracer = made(taking)
    with pytest.raises(ValueError, match="secret"), within(tracer.begin("request", "server", None)):
        raise ValueError("secret")
    tracer.close()
    (one,) = taking.spans
    assert one.attributes == {"error.type": "ValueError"}
    assert (one.status.is_ok, one.status.description, one.events) == (False, None, ())


@pytest.mark.parametrize(
    ("flags", "share", "trusted", "recorded"),
    [
        ("01", 0.1, False, False),  # a caller cannot have itself recorded
        ("00", 0.9, False, True),  # nor hide
        ("01", 0.1, True, True),
        ("00", 0.9, True, False),
    ],
)
def test_the_share_decides_unless_callers_are_trusted(
    taking: Taking, flags: str, share: float, trusted: bool, recorded: bool
) -> None:
    tracer = made(taking, share=share, trust_callers=trusted)
    one = tracer.begin("request", "server", f"00-{TRACE}-{ABOVE}-{flags}")
    assert (one.recording, one.trace_id) == (recorded, TRACE)
    assert well_formed(one.traceparent)
    assert one.traceparent.endswith("-01" if recorded else "-00")
    tracer.close()


def test_what_this_service_wrote_is_believed_so_that_a_trace_is_whole_or_not_there(taking: Taking) -> None:
    tracer = made(taking, share=0.5, luck=0.9)
    assert tracer.begin("queue.run", "consumer", f"00-{TRACE}-{ABOVE}-01", ours=True).recording
    assert not tracer.begin("queue.run", "consumer", f"00-{TRACE}-{ABOVE}-00", ours=True).recording
    tracer.close()


def test_what_is_not_recorded_has_nothing_below_it(taking: Taking) -> None:
    tracer = made(taking, share=0)
    with within(tracer.begin("request", "server", None)), span("execute") as below:
        assert not below.recording
    tracer.close()
    assert taking.spans == []


def test_spans_beyond_the_queue_are_dropped_and_counted_while_a_collector_hangs(
    taking: Taking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "MOST_WAITING", 10)
    monkeypatch.setattr(tracing, "BATCH", 5)
    taking.go.clear()
    tracer = made(taking)
    for _ in range(30):
        tracer.begin("request", "server", None).end()
    assert tracer.dropped == 20
    taking.go.set()
    tracer.close()
    assert (tracer.exported, tracer.dropped) == (10, 20)


def test_what_a_collector_does_not_take_is_counted(taking: Taking) -> None:
    taking.fails = True
    tracer = made(taking)
    tracer.begin("request", "server", None).end()
    tracer.close()
    assert (tracer.exported, tracer.dropped) == (0, 1)


def test_a_collector_that_hangs_keeps_no_end_waiting(taking: Taking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "CLOSES_WITHIN_S", 0.05)
    taking.go.clear()
    tracer = made(taking)
    tracer.begin("request", "server", None).end()
    tracer.close()
    assert taking.spans == []


@pytest.mark.parametrize(
    "given",
    [
        "",
        f"00-{TRACE}-{ABOVE}",
        f"00-{'0' * 32}-{ABOVE}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{ABOVE}-01",
        f"00-{TRACE.upper()}-{ABOVE}-01",
        f"00-{TRACE}-{ABOVE}-01-more",
        f"00-{TRACE}-{ABOVE}-01\n",
    ],
)
def test_a_malformed_traceparent_is_none(given: str) -> None:
    assert not well_formed(given)


def test_without_a_trace_nothing_is_begun_and_the_callers_word_is_passed_on() -> None:
    with span("execute") as one:
        one.set("name", 1)
        note("name", 1)
        assert not one.recording
    assert current.get() is None
    assert traceparent("given") == "given"


def test_nothing_of_the_libraries_is_loaded_where_no_collector_is_named() -> None:
    look = "import sys, plugyard.cli, plugyard.bootstrap.assembly; sys.exit('opentelemetry.sdk' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", look], check=False, timeout=60).returncode == 0


async def test_without_a_collector_there_is_no_tracing_and_a_wrong_address_is_refused() -> None:
    async with AsyncExitStack() as parts:
        assert await tracing_of(Settings(), Telemetry(), parts) is None
        for wrong in (Settings(otlp_url="collector:4318"), Settings(otlp_url="http://a", otlp_headers=("swordfish",))):
            with pytest.raises(CannotStart) as refused:
                await tracing_of(wrong, Telemetry(), parts)
            assert "swordfish" not in str(refused.value)


def test_the_metrics_of_spans_are_those_of_the_document(taking: Taking) -> None:
    telemetry, tracer = Telemetry(), made(taking)
    show_tracing(telemetry, tracer)
    tracer.close()
    shown = set(re.findall(r"^plugyard_spans\w+", telemetry.exposition()[0].decode(), re.M))
    page = Path(__file__).resolve().parents[3] / "docs" / "tracing.md"
    assert shown == set(re.findall(r"`(plugyard_spans\w+)`", page.read_text()))
