"""One request is one trace, from HTTP through the pool into service calls; and nothing of anybody's is in it."""

import json
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import active, run
from tests.collector import Collector, Seen, collector
from tests.conftest import RunningService, reachable_folder, start_service

INPUT, SECRET, HEADER = "input-that-stays-here", "sk-secret-that-stays-here", "password-of-the-collector"
TRACE, ABOVE = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{ABOVE}-00"
CODE = """
async def work(input, context):
    services = context.services
    await services.cache.set("key", input)
    await services.files.write(f"{input}.txt", input)
    try:
        key = context.configuration["key"]
        await services.http.post(f"http://{input}.example.invalid/{input}?key={key}", json=input)
    except Exception as error:
        services.logger.warn(str(error))
    await services.events.publish("done", input)
    services.logger.info(input)
    return context.trace

def fail(input, context):
    raise ValueError(input)
"""
CONFIGURATION = {
    "type": "object",
    "properties": {"key": {"type": "string", "writeOnly": True}},
}


@pytest.fixture(scope="module")
def sink() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture(scope="module")
def traced(sink: Collector) -> Iterator[RunningService]:
    folder = reachable_folder()
    flags = ("--otlp-url", sink.url, "--otlp-headers", f"x-key={HEADER}")
    running = start_service(folder, *flags, "--log-format", "json", "--log-level", "debug")
    yield running
    running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def plugin(traced: RunningService) -> str:
    network = {"service": "network", "hosts": ["*.example.invalid"], "reason": "tells"}
    with traced.client() as client:
        found = active(
            client,
            "traced",
            CODE,
            security={"permissions": ["cache", "filesystem", "events", network]},
            configuration=CONFIGURATION,
        )
        answer = client.patch(f"/api/v1/plugins/{found}/config", json={"key": SECRET})
        assert answer.status_code == 200, answer.text
    return found


def of(spans: list[Seen], trace: str) -> dict[str, Seen]:
    return {span.name: span for span in spans if span.trace == trace}


def test_a_request_is_one_trace_down_to_the_service_calls(traced: RunningService, plugin: str, sink: Collector) -> None:
    with traced.client() as client:
        client.headers["traceparent"] = GIVEN
        done = run(client, plugin, "work", INPUT)
    assert done["status"] == "succeeded", done
    root = "POST /api/v1/plugins/{pluginId}/execute"
    found = of(sink.wait(lambda spans: any(span.name == root and span.trace == TRACE for span in spans)), TRACE)
    above = {
        name: next((one.name for one in found.values() if one.id == span.parent), "") for name, span in found.items()
    }
    assert found[root].parent == ABOVE
    assert {name: parent for name, parent in above.items() if name not in ("prepare", "load", root)} == {
        "execute": root,
        "wait": "execute",
        "run": "execute",
        "cache.set": "run",
        "files.write": "run",
        "http.request": "run",
        "events.publish": "run",
        "record": "execute",
    }
    assert found["http.request"].attributes["server.address"] == "*.example.invalid"
    assert found["http.request"].attributes["http.request.method"] == "POST"
    assert found[root].attributes["http.response.status_code"] == 200
    assert found["execute"].attributes["plugyard.execution.id"] == done["executionId"]
    assert found["execute"].attributes["plugyard.tenant.id"] == found[root].attributes["plugyard.tenant.id"]
    assert found["http.request"].failed
    # The plugin may pass on where it belongs.
    assert done["output"] == {"traceparent": f"00-{TRACE}-{found['execute'].id}-01"}


def test_what_waits_goes_on_with_the_trace_that_queued_it(traced: RunningService, plugin: str, sink: Collector) -> None:
    with traced.client() as client:
        body = {"function": "work", "input": INPUT, "mode": "async"}
        answer = client.post(f"/api/v1/plugins/{plugin}/execute", json=body)
        assert answer.status_code == 202, answer.text
        execution = answer.json()["executionId"]

    def ran(spans: list[Seen]) -> bool:
        return any(one.name == "queue.run" and one.attributes["plugyard.execution.id"] == execution for one in spans)

    spans = sink.wait(ran)
    queued = next(one for one in spans if one.name == "queue.run")
    found = of(spans, queued.trace)
    assert queued.parent == found["POST /api/v1/plugins/{pluginId}/execute"].id
    assert found["execute"].parent == queued.id
    assert found["cache.set"].parent == found["run"].id


def test_nothing_that_a_tenant_sends_or_keeps_is_exported(traced: RunningService, plugin: str, sink: Collector) -> None:
    with traced.client() as client:
        failed = run(client, plugin, "fail", INPUT)
        assert failed["status"] == "failed"
        client.get(f"/api/v1/plugins/{INPUT}?q={INPUT}", headers={"x-request-id": INPUT, "user-agent": INPUT})
    spans = sink.wait(lambda spans: sum(one.name == "GET /api/v1/plugins/{pluginId}" for one in spans) > 0)
    assert any(one.name == "execute" and one.failed and one.attributes["error.type"] == "failed" for one in spans)
    for body in sink.bodies:
        for word in (INPUT, SECRET, HEADER, traced.admin_key, "no such"):
            assert word.encode() not in body
    assert all(headers["x-key"] == HEADER for headers in sink.headers)
    # Probes and scrapes would be most of what there is.
    assert not any("/health" in one.name or "/metrics" in one.name for one in spans)


def test_lines_of_the_log_name_their_trace(traced: RunningService, plugin: str) -> None:
    with traced.client() as client:
        client.headers["traceparent"] = GIVEN.replace("4bf9", "5bf9")
        answer = client.get(f"/api/v1/plugins/{plugin}")
    wanted = answer.headers["x-request-id"]
    lines: list[dict[str, str]] = []
    ends = time.monotonic() + 5
    while not lines and time.monotonic() < ends:  # The line of a request comes a moment after its answer.
        time.sleep(0.02)
        lines = [json.loads(line) for line in traced.log.read_text().splitlines() if wanted in line]
    assert {line["traceId"] for line in lines} == {TRACE.replace("4bf9", "5bf9")}


def test_a_collector_that_refuses_or_hangs_costs_no_request_and_no_end() -> None:
    with collector() as sink, socket.create_server(("127.0.0.1", 0)) as closed:
        sink.hanging.set()
        gone = closed.getsockname()[1]
        closed.close()
        # Side by side, because nearly all of it is a wait for what the exporter gives up.
        with ThreadPoolExecutor(2) as both:
            hanging = both.submit(_costs_nothing, sink.url, sink)
            refusing = both.submit(_costs_nothing, f"http://127.0.0.1:{gone}")
        hanging.result()
        refusing.result()


def _costs_nothing(url: str, met: Collector | None = None) -> None:
    folder = reachable_folder()
    running = start_service(folder, "--otlp-url", url)
    try:
        with running.client() as client:
            for _ in range(50):
                assert client.get("/api/v1/plugins").status_code == 200
            if met is not None:
                assert met.met.wait(30)
                assert client.get("/api/v1/plugins").status_code == 200
            dropped = _until_dropped(client)
        assert dropped > 0
    finally:
        # 15 seconds are what every service has for its end.
        assert running.stop() == 0
        shutil.rmtree(folder, ignore_errors=True)


def _until_dropped(client: httpx.Client) -> float:
    ends = time.monotonic() + 60
    while time.monotonic() < ends:
        shown = re.search(r"^plugyard_spans_dropped_total (\S+)", client.get("/metrics").text, re.M)
        assert shown is not None
        if float(shown[1]) > 0:
            return float(shown[1])
        time.sleep(0.1)
    return 0
