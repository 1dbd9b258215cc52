"""A collector for traces: takes OTLP over HTTP and keeps every byte, or hangs, or refuses."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WITHIN_S = 30


@dataclass(frozen=True)
class Seen:
    """A span as it arrived."""

    name: str
    trace: str
    id: str
    parent: str
    failed: bool
    attributes: dict[str, Any]


class Collector:
    """What came in."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.port = port
        self.bodies: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.hanging = threading.Event()
        self.met = threading.Event()
        self.released = threading.Event()

    @property
    def spans(self) -> list[Seen]:
        """Every span so far."""
        found = []
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found += [_seen(span) for span in scope.spans]
        return found

    def wait(self, enough: Callable[[list[Seen]], bool]) -> list[Seen]:
        """The spans, once there are enough of them."""
        ends = time.monotonic() + WITHIN_S
        while not enough(self.spans):
            assert time.monotonic() < ends, [span.name for span in self.spans]
            time.sleep(0.05)
        return self.spans


def _seen(span: Any) -> Seen:
    attributes = {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
    failed = span.status.code == span.status.STATUS_CODE_ERROR
    return Seen(span.name, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(), failed, attributes)


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.path == "/v1/traces"
            if found.hanging.is_set():
                found.met.set()
                found.released.wait(WITHIN_S)
                return
            found.headers.append(dict(self.headers))
            found.bodies.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: Any) -> None:
            """Tests are quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found = Collector(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield found
    finally:
        found.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
