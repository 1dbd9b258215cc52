"""What tracing costs an execution: off, on without recording, and recorded.

    uv run python -m benchmarks.tracing

Three services run at the same time and are asked in turns, round by round. CPU is that of the serving process alone,
which is where spans are made and sent, for one warm execution of a Python function by one caller.
"""

import asyncio
import statistics
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import psutil

from benchmarks.service import Service, plugin
from plugyard.application.tracing import span

ROUNDS, CALLS = 15, 400
FLAGS = ("--rate-executions-per-key", "100000000", "--rate-executions-per-tenant", "100000000")


class _Collector(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


async def _round(service: Service, plugin_id: str) -> tuple[float, float]:
    """Milliseconds until the answer (median) and of CPU, for one execution."""
    caller = await service.caller(plugin_id).open()
    process = psutil.Process(service.process.pid)
    before = process.cpu_times()
    took = [await caller.call() for _ in range(CALLS)]
    after = process.cpu_times()
    caller.transport.close()
    return statistics.median(took), (after.user + after.system - before.user - before.system) * 1000 / CALLS


def _of_one_place() -> float:
    """Nanoseconds of one `span` where there is no trace."""
    many = 200_000
    began = time.perf_counter_ns()
    for _ in range(many):
        with span("nothing"):
            pass
    return (time.perf_counter_ns() - began) / many


def main() -> None:
    """Print the table."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Collector)
    Thread(target=server.serve_forever, daemon=True).start()
    to = ("--otlp-url", f"http://127.0.0.1:{server.server_address[1]}")
    kinds = {
        "off": Service(*FLAGS),
        "not recorded": Service(*FLAGS, *to, "--trace-share", "0"),
        "recorded": Service(*FLAGS, *to),
    }
    found: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    ids = {}
    try:
        for kind, service in kinds.items():
            service.start()
            ids[kind] = service.upload(plugin("traced"))
        for number in range(ROUNDS + 1):
            # Not always in the same order, so that whoever follows another is not always the same one.
            turn = number % len(kinds)
            for kind in [*kinds, *kinds][turn : turn + len(kinds)]:
                service = kinds[kind]
                measured = asyncio.run(_round(service, ids[kind]))
                if number:
                    found[kind].append(measured)
    finally:
        for service in kinds.values():
            if hasattr(service, "http"):
                service.stop()
            service.remove()
        server.shutdown()
    for kind, rounds in found.items():
        took, cpu = (statistics.median(one) for one in zip(*rounds, strict=True))
        print(f"{kind:14} {took:.3f} ms until the answer, {cpu:.3f} ms of CPU")
    print(f"one place where a span would begin, off: {_of_one_place():.0f} ns")


if __name__ == "__main__":
    main()
