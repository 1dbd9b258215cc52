"""Measures what a plugin's own endpoint costs beside plain `execute`: the same work, in the same run, in turns.

    uv run python -m benchmarks.endpoints

One caller on a connection that is kept, a warm Python environment, a durable row for each execution. A delivery to a
webhook is signed before its time is taken.
"""

import asyncio
import json
import statistics
from collections.abc import Callable
from datetime import UTC, datetime

import httpx

from benchmarks.service import Caller, Service, plugin
from plugyard.domain.webhooks import sign

ROUNDS, CALLS, WARM = 6, 300, 50
BODY = b'{"a": 1, "b": 2}'
CODE = """
def add(input, context):
    return {"sum": input["a"] + input["b"]}

def answer(request, context):
    given = request["body"] or {"a": 1, "b": 2}
    return {"status": 200, "json": {"sum": given["a"] + given["b"], "is": "succeeded"}}

def kept(request, context):
    return {"status": 200, "headers": {"Cache-Control": "public, max-age=3600"}, "json": {"is": "succeeded"}}
"""
ENDPOINTS = [
    {"method": "POST", "path": "/add", "handler": "answer"},
    {"method": "GET", "path": "/add", "handler": "answer"},
    {"method": "GET", "path": "/kept", "handler": "kept"},
]


def _caller(service: Service, method: str, path: str, body: bytes = b"") -> Caller:
    url = httpx.URL(service.url)
    head = (
        f"{method} {path} HTTP/1.1\r\nHost: {url.host}\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return Caller((url.host, url.port or 80), head.encode() + body)


async def _deliveries(service: Service, address: str, secret: str) -> Callable[[], "asyncio.Future[float]"]:
    """Sends one delivery after another on one connection, each with a body and a signature of its own."""
    caller = await _caller(service, "POST", address, BODY).open()
    number = 0

    async def deliver() -> float:
        nonlocal number
        number += 1
        body = json.dumps({"a": 1, "b": 2, "number": number}).encode()
        signed = sign(secret, datetime.now(UTC), body)
        head = (
            f"POST {address} HTTP/1.1\r\nHost: x\r\nPlugyard-Signature: {signed}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        caller.request = head.encode() + body
        return await caller.call()

    return lambda: asyncio.ensure_future(deliver())


async def measure(service: Service) -> dict[str, list[float]]:
    """The latencies in milliseconds of each way to the same function."""
    package = plugin("endpoints", code=CODE, api={"endpoints": ENDPOINTS}, functions={"add": {}})
    plugin_id = service.upload(package)
    below = f"/api/v1/plugins/{plugin_id}"
    made = service.http.post(below + "/webhooks", json={"name": "bench", "path": "/add"}).json()
    ways = {
        "execute": await service.caller(plugin_id).open(),
        "endpoint, POST": await _caller(service, "POST", below + "/http/add", BODY).open(),
        "endpoint, GET": await _caller(service, "GET", below + "/http/add").open(),
        "endpoint, kept answer": await _caller(service, "GET", below + "/http/kept").open(),
    }
    calls = {name: caller.call for name, caller in ways.items()}
    calls["webhook"] = await _deliveries(service, made["address"], made["secret"])  # type: ignore[assignment]
    samples: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            for _ in range(WARM):
                await call()
            samples[name] += [await call() for _ in range(CALLS)]
    return samples


def main() -> None:
    """Measure, and print a table."""
    service = Service()
    try:
        service.start()
        samples = asyncio.run(measure(service))
    finally:
        service.stop()
        service.remove()
    plain = statistics.median(samples["execute"])
    print(f"{'way':24} {'p50 ms':>8} {'p95 ms':>8} {'p50 to execute':>16}")
    for name, taken in samples.items():
        p50, p95 = statistics.median(taken), statistics.quantiles(taken, n=20)[18]
        print(f"{name:24} {p50:8.3f} {p95:8.3f} {p50 / plain:15.2f}x")


if __name__ == "__main__":
    main()
