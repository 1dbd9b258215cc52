"""Measures the whole service over HTTP as its callers meet it, and prints a table.

    uv run python -m benchmarks.service            # about a minute; starts a service of its own
    uv run python -m benchmarks.service --json

Every figure comes from real requests on loopback, with an API key and a durable row for each execution. The load
generator runs in this process, beside the service and PostgreSQL, so its own work is part of what is measured.
"""

import argparse
import asyncio
import io
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import uvloop

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CODE = "def add(input, context):\n    return input['a'] + input['b']\n"


class Service:
    """A service in a process of its own, on a fresh data folder."""

    def __init__(self, *flags: str, module: str = "plugyard.cli") -> None:
        self.module = module
        self.data = Path(tempfile.mkdtemp(prefix="plugyard-bench-"))
        self.data.chmod(0o755)
        self.flags = flags

    def start(self) -> float:
        """Start it; the seconds until /health/ready answered 200."""
        (self.data / "service.json").unlink(missing_ok=True)
        began = time.monotonic()
        log = (self.data / "service.log").open("ab")
        command = [sys.executable, "-m", self.module, "serve", "--port", "0", "--data", str(self.data)]
        self.process = subprocess.Popen([*command, *self.flags], stdout=log, stderr=log)
        while True:
            if self.process.poll() is not None:
                raise SystemExit((self.data / "service.log").read_text()[-3000:])
            try:
                self.url = json.loads((self.data / "service.json").read_text())["url"]
                if httpx.get(f"{self.url}/health/ready").status_code == 200:
                    break
            except (OSError, ValueError, httpx.HTTPError):
                time.sleep(0.02)
        took = time.monotonic() - began
        self.key = json.loads((self.data / "keys.json").read_text())["admin"]
        self.http = httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {self.key}"}, timeout=120)
        return took

    def stop(self) -> None:
        self.http.close()
        self.process.terminate()
        self.process.wait(20)

    def remove(self) -> None:
        shutil.rmtree(self.data, ignore_errors=True)

    def upload(self, package: bytes, activate: bool = True) -> str:
        answer = self.http.post(
            "/api/v1/plugins/upload",
            files={"package": ("p.zip", package, "application/zip")},
            data={"activate": "true" if activate else "false"},
        )
        if answer.status_code != 201:
            raise SystemExit(answer.text)
        return str(answer.json()["plugin"]["id"])

    def caller(self, plugin_id: str, function: str = "add", given: Any = None, **more: Any) -> "Caller":
        """A connection that executes one of the plugin's functions; by default ``add`` with two numbers."""
        return caller_of(self.url, self.key, plugin_id, function, given, **more)

    def resident_mb(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / (1 << 20)


def plugin(name: str, runtime: str = "python", code: str = CODE, entry: str = "main.py", **more: Any) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        manifest = {"metadata": {"name": name, "version": "1.0.0"}, "runtime": runtime, **more}
        archive.writestr("plugin.json", json.dumps(manifest))
        archive.writestr(entry, code)
    return packed.getvalue()


class Caller(asyncio.Protocol):
    """One keep-alive connection that sends a prepared request: as little work on this side as can be."""

    def __init__(self, address: tuple[str, int], request: bytes, expected: tuple[bytes, bytes]) -> None:
        self.address, self.request, self.expected = address, request, expected
        self.buffer = b""
        self.answered: asyncio.Future[bytes] | None = None

    async def open(self) -> "Caller":
        self.loop = asyncio.get_running_loop()
        self.transport, _ = await self.loop.create_connection(lambda: self, *self.address)
        return self

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)[1])  # type: ignore[index]
        if len(body) >= length and self.answered is not None and not self.answered.done():
            self.answered.set_result(self.buffer)
            self.buffer = b""

    def connection_lost(self, error: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(error or ConnectionError("the service closed the connection"))

    async def call(self) -> float:
        """One request; the milliseconds until its whole answer was there."""
        began = time.perf_counter()
        self.answered = self.loop.create_future()
        self.transport.write(self.request)
        answer = await self.answered
        took = (time.perf_counter() - began) * 1e3
        if not answer.startswith(self.expected[0]) or self.expected[1] not in answer:
            raise SystemExit(answer.decode())
        return took

    def close(self) -> None:
        self.transport.close()


def caller_of(at: str, key: str, plugin_id: str, function: str = "add", given: Any = None, **more: Any) -> Caller:
    """A connection to whatever serves there, with that key."""
    url = httpx.URL(at)
    asked = {"function": function, "input": {"a": 1, "b": 2} if given is None else given, **more}
    body = json.dumps(asked).encode()
    head = (
        f"POST /api/v1/plugins/{plugin_id}/execute HTTP/1.1\r\nHost: {url.host}\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    expected = (b"HTTP/1.1 202", b'"queued"') if more.get("mode") == "async" else (b"HTTP/1.1 200", b'"succeeded"')
    return Caller((url.host, url.port or 80), head.encode() + body, expected)


Make = Callable[[], Caller]


async def one_caller(make: Make, calls: int) -> list[float]:
    """The latencies of so many calls, one after another, in milliseconds."""
    caller = await make().open()
    for _ in range(50):
        await caller.call()
    samples = [await caller.call() for _ in range(calls)]
    caller.close()
    return samples


async def many_callers(make: Make, callers: int, seconds: float) -> tuple[float, list[float]]:
    """Executions a second, and the latencies in milliseconds."""
    all_ = [await make().open() for _ in range(callers)]
    samples: list[float] = []

    async def work(caller: Caller, until: float) -> None:
        while time.perf_counter() < until:
            samples.append(await caller.call())

    await asyncio.gather(*(work(caller, time.perf_counter() + 1) for caller in all_))
    samples.clear()
    began = time.perf_counter()
    await asyncio.gather(*(work(caller, began + seconds) for caller in all_))
    took = time.perf_counter() - began
    for caller in all_:
        caller.close()
    return len(samples) / took, samples


async def first_calls(service: Service, ids: list[str]) -> list[float]:
    samples = []
    for plugin_id in ids:
        caller = await service.caller(plugin_id).open()
        samples.append(await caller.call())
        caller.close()
        # A spare that was taken is made again in the background; a caller a second is what cold starts look like.
        await asyncio.sleep(0.15)
    return samples


def uploads_of_examples(service: Service, count: int) -> float:
    """Seconds for so many uploads of the examples, each a new version."""
    packages = []
    folders = sorted(path for path in EXAMPLES.iterdir() if (path / "plugin.json").exists())
    for number in range(count):
        folder = folders[number % len(folders)]
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(
                path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
            ):
                data = file.read_bytes()
                if file.name == "plugin.json" and file.parent == folder:
                    data = data.replace(b'"1.0.0"', f'"1.0.{number + 1}"'.encode(), 1)
                archive.writestr(file.relative_to(folder).as_posix(), data)
        packages.append(packed.getvalue())
    began = time.perf_counter()
    for package in packages:
        service.upload(package, activate=False)
    return time.perf_counter() - began


def large_upload(service: Service) -> tuple[float, float]:
    """Seconds for a package of 50 MB, and how many MB the server's resident memory grew at most."""
    chance = random.Random(7)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(
            "plugin.json", json.dumps({"metadata": {"name": "large", "version": "1.0.0"}, "runtime": "python"})
        )
        archive.writestr("main.py", CODE)
        for number in range(49):
            archive.writestr(f"assets/{number}.bin", chance.randbytes((1 << 20) + 15_000))
    package = packed.getvalue()
    before = service.resident_mb()
    peak = before
    began = time.perf_counter()
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {service.key}"}, timeout=120) as client:
        import threading

        answers: list[httpx.Response] = []

        def send() -> None:
            files = {"package": ("large.zip", io.BytesIO(package), "application/zip")}
            answers.append(client.post("/api/v1/plugins/upload", files=files))

        thread = threading.Thread(target=send)
        thread.start()
        while thread.is_alive():
            peak = max(peak, service.resident_mb())
            time.sleep(0.01)
        thread.join()
    if answers[0].status_code != 201:
        raise SystemExit(answers[0].text)
    return time.perf_counter() - began, peak - before


def measure(show: Callable[[str, str, str], None]) -> None:
    """Measure everything; ``show`` gets the figure's name, its value, and the bound that it has to keep."""
    service = Service()
    try:
        service.start()
        service.stop()
        again = []
        for _ in range(3):
            again.append(service.start())
            if len(again) < 3:
                service.stop()
        show("later start to ready, median of 3", f"{statistics.median(again):.2f} s", "3 s")
        for runtime, code, entry in (
            ("python", CODE, "main.py"),
            ("javascript", "export const add = (input) => input.a + input.b;\n", "index.ts"),
        ):
            warm_id = service.upload(plugin(f"warm-{runtime}", runtime, code, entry))
            warm = uvloop.run(one_caller(partial(service.caller, warm_id), 2_000))
            cuts = statistics.quantiles(warm, n=100)
            show(f"warm execution, one caller, {runtime}: p50", f"{cuts[49]:.2f} ms", "3 ms")
            show(f"warm execution, one caller, {runtime}: p95", f"{cuts[94]:.2f} ms", "")
            rate, samples = uvloop.run(many_callers(partial(service.caller, warm_id), 32, 5))
            show(f"32 callers, {runtime}", f"{rate:,.0f} executions/s", "600/s")
            show(f"32 callers, {runtime}: p95", f"{statistics.quantiles(samples, n=100)[94]:.1f} ms", "")
            ids = [service.upload(plugin(f"cold-{runtime}-{number}", runtime, code, entry)) for number in range(30)]
            time.sleep(1)
            cold = uvloop.run(first_calls(service, ids))
            show(f"first execution, {runtime}, from a spare: p50", f"{statistics.median(cold):.1f} ms", "25 ms")
        show("50 uploads of the examples", f"{uploads_of_examples(service, 50):.1f} s", "30 s")
        took, grown = large_upload(service)
        show("50 MB package", f"{took:.1f} s", "15 s")
        show("server's memory grown meanwhile", f"{grown:.0f} MB", "64 MB")
        service.stop()
    finally:
        if service.process.poll() is None:
            service.process.kill()
        service.remove()
    bare = Service("--spares", "0")
    try:
        bare.start()
        ids = [bare.upload(plugin(f"bare-{number}")) for number in range(20)]
        cold = uvloop.run(first_calls(bare, ids))
        show("first execution, python, no spares: p50", f"{statistics.median(cold):.1f} ms", "25 ms")
        bare.stop()
    finally:
        if bare.process.poll() is None:
            bare.process.kill()
        bare.remove()


def main() -> None:
    """Print the figures as a table, or as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    rows: list[dict[str, str]] = []

    def show(name: str, value: str, bound: str) -> None:
        rows.append({"figure": name, "measured": value, "bound": bound})
        if not as_json:
            print(f"{name:52} {value:>18}   {bound}", flush=True)

    if not as_json:
        print(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
    measure(show)
    if as_json:
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
