"""Measures executions that wait their turn, and prints a table.

    uv run python -m benchmarks.queue            # about two minutes; starts a database and a service of its own
    uv run python -m benchmarks.queue --json

First the library by itself: jobs that do nothing, fetched and finished as procrastinate does it, one by one. Then the
same number of executions that do nothing through this project's queue, recorded as all are. Then the whole service with
a Python plugin: how many are acknowledged a second, how many are started a second out of a full queue, and how long one
waits where nothing else does. The load comes from the same cores.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
import uuid_utils
import uvloop
from procrastinate.schema import SchemaManager

from benchmarks.service import Caller, Service, plugin
from plugyard.domain.execution import Attempt, Execution, ExecutionStatus, Usage
from plugyard.domain.identity import Tenant
from plugyard.domain.queue import QueuedCall, QueuedExecution, QueueEnd, QueueState
from plugyard.infrastructure.embedded.roles import SERVICE
from plugyard.infrastructure.embedded.server import EmbeddedPostgres, Urls
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.queue.worker import Worker

JOBS, IDLE, CALLERS = 4_000, 200, 32
CODE = "def add(input, context):\n    return input['a'] + input['b']\n"


async def bare(urls: Urls) -> dict[str, float]:
    """procrastinate as it comes, with jobs that do nothing, for two numbers of jobs at a time."""
    with psycopg.connect(urls.owner_url, autocommit=True) as connection:
        connection.execute("create schema bare")
        connection.execute("set search_path = bare")
        connection.execute(SchemaManager.get_schema().encode())
    connector = procrastinate.PsycopgConnector(
        conninfo=urls.owner_url, kwargs={"options": "-c search_path=bare"}, min_size=4, max_size=20
    )
    app = procrastinate.App(connector=connector)
    left, done = 0, asyncio.Event()

    @app.task(name="nothing", queue="bare")
    async def nothing(number: int) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set()

    found = {}
    async with app.open_async():
        for at_a_time in (10, 50):
            left = JOBS
            done.clear()
            await nothing.batch_defer_async(*({"number": number} for number in range(JOBS)))
            began = time.perf_counter()
            working = asyncio.create_task(
                app.run_worker_async(concurrency=at_a_time, delete_jobs="always", install_signal_handlers=False)
            )
            await done.wait()
            found[f"procrastinate alone, {at_a_time} at a time: jobs started and finished"] = JOBS / (
                time.perf_counter() - began
            )
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
    return found


async def queue_alone(urls: Urls) -> dict[str, float]:
    """This project's queue and worker, with executions that do nothing and are recorded."""
    await migrate(urls.owner_url, SERVICE)
    store, recorder = (
        PostgresStore(urls.service_url, Seals(("k:" + "A" * 43 + "=",))),
        PostgresRecorder(urls.service_url),
    )
    await store.open()
    await recorder.open()
    tenant = Tenant(str(uuid_utils.uuid7()), "bench", "Bench", datetime.now(UTC))
    async with store.for_operator() as tx:
        await tx.add_tenant(tenant)
    plugin_id, done, left = str(uuid_utils.uuid7()), asyncio.Event(), JOBS
    call = QueuedCall("add", "key:bench", "bench")
    begun: list[float] = []

    async def work(entry: QueuedExecution) -> None:
        nonlocal left
        begun.append(time.perf_counter())
        now = datetime.now(UTC)
        attempt = Attempt(now, now, ExecutionStatus.SUCCEEDED)
        usage = Usage(0.1, 0.1, 1, 0, "warm")
        ended = Execution(
            entry.id, entry.tenant_id, entry.plugin_id, entry.version, "add", ExecutionStatus.SUCCEEDED, now, now,
            usage, None, "key:bench", "bench", 2, 4, entry.queued_at, (attempt,),
        )  # fmt: skip
        end = QueueEnd(entry.id, entry.run, QueueState.ENDED, (attempt,), "null", ended_at=now, job=entry.job)
        await recorder.record(ended, (), (), (), end)
        left -= 1
        if left == 0:
            done.set()

    began = time.perf_counter()
    for first in range(0, JOBS, 100):
        now = datetime.now(UTC)
        async with store.for_tenant(tenant.id) as tx:
            for _ in range(first, first + 100):
                entry = QueuedExecution(str(uuid_utils.uuid7()), tenant.id, plugin_id, "1.0.0", call, now, now, "{}", 2)
                await tx.enqueue(entry)
    queued_s = time.perf_counter() - began
    worker = Worker(urls.service_url, work, cancel=lambda one: None, cut=lambda one: None, concurrency=16, per_plugin=0)
    await worker.open()
    began = time.perf_counter()
    working = asyncio.create_task(worker.run())
    await done.wait()
    took = time.perf_counter() - began
    await worker.stop(5)
    await working
    await worker.close()
    await recorder.close()
    await store.close()
    return {
        "this queue alone, 100 in a transaction: queued": JOBS / queued_s,
        "this queue alone, 16 at a time: started and recorded": JOBS / took,
    }


async def _enqueue(service: Service, plugin_id: str, count: int) -> float:
    """Queue so many from many callers at once; how many were acknowledged a second."""
    callers = [await service.caller(plugin_id, mode="async").open() for _ in range(CALLERS)]
    left = count

    async def work(caller: Caller) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await caller.call()

    began = time.perf_counter()
    await asyncio.gather(*map(work, callers))
    for caller in callers:
        caller.close()
    return count / (time.perf_counter() - began)


def _executions(service: Service, plugin_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = None
    while True:
        asked = {"limit": 100} | ({"cursor": cursor} if cursor else {})
        page = service.http.get(f"/api/v1/plugins/{plugin_id}/executions", params=asked).json()
        found += page["items"]
        cursor = page["nextCursor"]
        if cursor is None:
            return found


def _wait(service: Service, plugin_id: str) -> None:
    one = f"/api/v1/plugins/{plugin_id}/executions"
    while any(service.http.get(one, params={"status": state}).json()["items"] for state in ("queued", "running")):
        time.sleep(0.3)


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


async def whole() -> dict[str, float]:
    """The service over HTTP, with a plugin."""
    found: dict[str, float] = {}
    service = Service()
    try:
        service.flags = ("--queue-workers", "0", "--rate-executions-per-key", "0", "--rate-executions-per-tenant", "0")
        service.start()
        plugin_id = service.upload(plugin("adder"))
        found[f"{CALLERS} callers: acknowledged as queued"] = await _enqueue(service, plugin_id, JOBS)
        service.stop()
        service.flags = service.flags[2:]
        service.start()
        _wait(service, plugin_id)
        ran = _executions(service, plugin_id)
        assert len(ran) == JOBS, len(ran)
        assert {one["status"] for one in ran} == {"succeeded"}
        starts = sorted(_moment(one["startedAt"]) for one in ran)
        found["a full queue, whole service: started"] = (len(starts) - 1) / (starts[-1] - starts[0])
        found["queued while they run: acknowledged"] = await _enqueue(service, plugin_id, JOBS)
        _wait(service, plugin_id)
        both = [one for one in _executions(service, plugin_id) if _moment(one["startedAt"]) > starts[-1]]
        began = min(_moment(one["queuedAt"]) for one in both)
        found["queued while they run: queued, started and recorded"] = len(both) / (
            max(_moment(one["endedAt"]) for one in both) - began
        )
        for one in await _one_by_one(service, plugin_id):
            found |= one
    finally:
        service.stop()
        service.remove()
    return found


async def _one_by_one(service: Service, plugin_id: str) -> list[dict[str, float]]:
    """How long one waits for its start where nothing else does, in milliseconds."""
    before = {one["executionId"] for one in _executions(service, plugin_id)}
    caller = await service.caller(plugin_id, mode="async").open()
    for _ in range(IDLE):
        await caller.call()
        await asyncio.sleep(0.05)
    caller.close()
    _wait(service, plugin_id)
    ran = [one for one in _executions(service, plugin_id) if one["executionId"] not in before]
    waits = sorted((_moment(one["startedAt"]) - _moment(one["queuedAt"])) * 1e3 for one in ran)
    cuts = statistics.quantiles(waits, n=100)
    return [{f"idle, {IDLE} one by one: from queued to started, p{n}": cuts[n - 1]} for n in (50, 95, 99)]


def _folder() -> Path:
    data = Path(tempfile.mkdtemp(prefix="plugyard-bench-"))
    data.chmod(0o755)
    return data


async def measure() -> dict[str, float]:
    """Every figure."""
    data = _folder()
    postgres = EmbeddedPostgres(data)
    urls = await postgres.start()
    try:
        found = {**await bare(urls), **await queue_alone(urls)}
    finally:
        await postgres.stop()
        shutil.rmtree(data, ignore_errors=True)
    return {**found, **await whole()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = uvloop.run(measure())
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    for name, value in found.items():
        print(f"{name:62} {value:8.1f} {'ms' if ', p' in name else 'a second'}")


if __name__ == "__main__":
    main()
