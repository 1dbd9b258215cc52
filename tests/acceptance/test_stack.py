"""The whole production stack, as ``plugyard stack`` starts it: a request through nginx, one that waits, and a kill."""

import asyncio
import shutil
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from plugyard.bootstrap.stack.running import Shape, Stack
from tests.conftest import reachable_folder
from tests.faults.load import package
from tests.tansu import Reader

CALL = {"function": "add", "input": {"a": 1, "b": 2}}
SLOW = {"function": "add_slowly", "input": {"a": 1, "b": 2, "seconds": 5}}


@pytest.fixture(scope="module")
async def stack() -> AsyncIterator[Stack]:
    folder = reachable_folder()
    running = Stack(folder, Shape(replicas=2, workers=1, relays=1))
    await running.start()
    try:
        yield running
    finally:
        await running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _client(stack: Stack) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {stack.plan.admin_key}"}
    return httpx.AsyncClient(base_url=stack.url, headers=headers, timeout=30)


async def _plugin(client: httpx.AsyncClient, name: str) -> str:
    files = {"package": ("p.zip", package(name, "1.0.0"))}
    answer = await client.post("/api/v1/plugins/upload", files=files, data={"activate": "true"})
    assert answer.status_code == 201, answer.text
    return f"/api/v1/plugins/{answer.json()['plugin']['id']}"


async def _in_the_end(seen: Any, within_s: float) -> Any:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        found = await seen()
        if found:
            return found
        await asyncio.sleep(0.1)
    raise AssertionError(f"not within {within_s} s")


async def test_every_part_has_its_share_in_a_request(stack: Stack) -> None:
    async with _client(stack) as client:
        ready = (await client.get("/health/ready")).json()["parts"]
        assert {ready[part] for part in ("database", "objects", "cache", "relay")} == {"ok"}
        for said, goes_on in (("order-4711", True), ('"}', False)):
            answer = await client.get("/health/ready", headers={"X-Request-Id": said})
            assert (answer.headers["x-request-id"] == said) == goes_on
        path = await _plugin(client, "shared")
        ran = [(await client.post(path + "/execute", json=CALL)).json() for _ in range(4)]
        assert [one["output"] for one in ran] == [3, 3, 3, 3], "both replicas have it"
        queued = await client.post(path + "/execute", json={**CALL, "mode": "async"})
        assert queued.status_code == 202, queued.text
        execution = queued.json()["executionId"]

        async def ended() -> Any:
            found = (await client.get(f"/api/v1/executions/{execution}")).json()
            return found if found["status"] not in ("queued", "running") else None

        assert (await _in_the_end(ended, 30))["status"] == "succeeded"
    reader = Reader(f"127.0.0.1:{stack.plan.ports['broker']}", "plugyard.events")
    wanted = {one["executionId"] for one in ran} | {execution}

    async def told() -> bool:
        await asyncio.to_thread(reader.poll, 0.5)
        completed = [one.envelope for one in reader.arrived]
        return wanted <= {one["data"].get("executionId") for one in completed if one["type"].endswith("completed")}

    await _in_the_end(told, 30)


async def test_a_replica_that_is_killed_costs_clear_answers_and_nothing_that_was_acknowledged(stack: Stack) -> None:
    async with _client(stack) as client:
        path = await _plugin(client, "killed")
        acknowledged, refused = [], set()

        async def call() -> None:
            key = str(uuid.uuid4())
            for _ in range(200):
                answer = await client.post(path + "/execute", json=CALL, headers={"Idempotency-Key": key})
                if answer.status_code == 200:
                    acknowledged.append(answer.json()["executionId"])
                    return
                assert answer.headers["content-type"] == "application/problem+json", answer.text
                refused.add(answer.json()["code"])
                await asyncio.sleep(0.1)

        async def under_way() -> httpx.Response:
            at = f"{stack.parts['replica 1'].at}{path}/execute"
            return await client.post(at, json=SLOW, headers={"Idempotency-Key": "under-way"})

        await asyncio.gather(*(call() for _ in range(10)))
        cut = asyncio.create_task(under_way())
        await asyncio.sleep(1)
        killed = asyncio.create_task(stack.parts["replica 1"].kill())
        await asyncio.gather(*(call() for _ in range(60)))
        await killed
        with pytest.raises(httpx.HTTPError):
            await cut
        began = time.monotonic()
        taken_over = await client.post(path + "/execute", json=SLOW, headers={"Idempotency-Key": "under-way"})
        assert (taken_over.status_code, taken_over.json()["output"]) == (200, 3), taken_over.text
        assert time.monotonic() - began < 20, "the function alone takes five"
        assert len(acknowledged) == 70, f"in between: {refused}"
        assert refused <= {"unavailable", "idempotency_in_progress", "store_unavailable"}

        async def back() -> bool:
            return stack.parts["replica 1"].running and await stack.parts["replica 1"].ready()

        await _in_the_end(back, 60)
        for execution in acknowledged:
            assert (await client.get(f"/api/v1/executions/{execution}")).status_code == 200
