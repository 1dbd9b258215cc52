"""A replica works on so many requests at a time, and refuses one too many at once, with nothing of it done."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plugyard.application.ports import Invocation, Outcome
from plugyard.domain.identity import Caller, Role
from plugyard.http.atonce import AtOnce
from tests.integration.http.service import Http, problem
from tests.memory.sandbox import succeeded

GREET = {"function": "greet"}


@pytest.fixture
async def full(tmp_path: Path) -> Http:
    """An application that works on two requests at a time."""
    http = Http(tmp_path, at_once=AtOnce(2))
    await http.tenant()
    return http


class Held:
    """Executions that do not end before they are let go."""

    def __init__(self) -> None:
        self.begun, self.go = asyncio.Semaphore(0), asyncio.Event()

    async def __call__(self, invocation: Invocation) -> Outcome:
        self.begun.release()
        await self.go.wait()
        return succeeded()


async def executing(http: Http, admin: Any, number: int) -> tuple[str, Held, list[asyncio.Task[Any]]]:
    """So many executions of a plugin that are under way."""
    held = Held()
    plugin_id = await http.plugin(admin)
    http.world.executor.scripts["greet"] = held
    path = f"/api/v1/plugins/{plugin_id}/execute"
    tasks = [asyncio.ensure_future(admin.post(path, json=GREET)) for _ in range(number)]
    for _ in range(number):
        await held.begun.acquire()
    return path, held, tasks


async def test_one_too_many_is_refused_at_once_and_nothing_of_it_is_done(full: Http) -> None:
    async with full.client() as admin:
        path, held, tasks = await executing(full, admin, 2)
        answer = await admin.post(path, json=GREET)
        document = problem(answer, 503, "busy")
        assert answer.headers["retry-after"] == "1"
        assert "2 requests" in document["detail"]
        assert len(full.world.executor.invocations) == 2
        held.go.set()
        assert [(await one).status_code for one in tasks] == [200, 200]
        # There is room again.
        assert (await admin.post(path, json=GREET)).status_code == 200
    assert (full.at_once.under_way, full.at_once.refused) == (0, 1)


async def test_an_operator_and_the_probes_are_answered_when_it_is_full(full: Http) -> None:
    async with full.client() as admin, full.client(Role.OPERATOR) as operator, full.client(None) as anyone:
        _, held, tasks = await executing(full, admin, 2)
        problem(await admin.get("/api/v1/me"), 503, "busy")
        assert (await operator.get("/api/v1/me")).status_code == 200
        assert [(await anyone.get(path)).status_code for path in ("/health/live", "/health/ready", "/metrics")] == [
            200
        ] * 3
        held.go.set()
        await asyncio.gather(*tasks)


async def test_a_caller_who_leaves_and_a_request_that_fails_hold_no_place(full: Http) -> None:
    async with full.client() as admin:
        path, _, tasks = await executing(full, admin, 2)
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert full.at_once.under_way == 0
        assert (await admin.post(path, json={"function": "missing"})).status_code == 404
        assert (await admin.post(path, content=b"{")).status_code == 415
    assert (full.at_once.under_way, full.at_once.refused) == (0, 0)


async def test_a_tenant_has_its_share_and_leaves_the_rest_to_others(tmp_path: Path) -> None:
    http = Http(tmp_path, at_once=AtOnce(3, 0.67))
    for slug in ("acme", "globex"):
        await http.tenant(slug)
    async with http.client() as admin, http.client(of="globex") as other:
        path, held, tasks = await executing(http, admin, 2)
        document = problem(await admin.post(path, json=GREET), 429, "overloaded")
        assert "2 requests of the tenant" in document["detail"]
        assert (await other.get("/api/v1/me")).status_code == 200
        held.go.set()
        await asyncio.gather(*tasks)
        assert (await admin.post(path, json=GREET)).status_code == 200
    assert (http.at_once.under_way, dict(http.at_once.of_tenants), http.at_once.refused) == (0, {}, 1)


async def test_who_follows_a_log_holds_no_place(full: Http) -> None:
    async with full.served() as url, full.client() as admin:
        plugin_id = await full.plugin(admin)
        authorization = admin.headers["authorization"]
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        head = f"GET /api/v1/plugins/{plugin_id}/logs?follow=true HTTP/1.1\r\nhost: test"
        writer.write(f"{head}\r\nauthorization: {authorization}\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"200"
        assert full.at_once.under_way == 0
        writer.close()


async def test_no_bound_is_kept_where_none_is_set(tmp_path: Path) -> None:
    http = Http(tmp_path)
    await http.tenant()
    async with http.client() as admin:
        _, held, tasks = await executing(http, admin, 50)
        assert (await admin.get("/api/v1/me")).status_code == 200
        held.go.set()
        assert {(await one).status_code for one in tasks} == {200}


async def test_uploads_have_a_bound_of_their_own_and_each_tenant_a_share_of_it(tmp_path: Path) -> None:
    http = Http(tmp_path, uploads_at_once=AtOnce(2, 0.5, "uploads"))
    tenant = await http.tenant()

    async def upload(admin: Any, number: int) -> Any:
        package = http.package("greeter", f"1.0.{number}")
        return await admin.post("/api/v1/plugins/upload", files={"package": ("p.zip", package)})

    async with http.client() as admin:
        caller = Caller("user:one", Role.ADMIN, tenant.id)
        with http.uploads_at_once.place() as mine:
            mine.admit(caller)
            document = problem(await upload(admin, 1), 429, "overloaded")
            assert "1 uploads of the tenant" in document["detail"]
        others = [Caller("user:one", Role.ADMIN, f"another tenant {number}") for number in range(2)]
        with http.uploads_at_once.place() as one, http.uploads_at_once.place() as two:
            one.admit(others[0])
            two.admit(others[1])
            problem(await upload(admin, 1), 503, "busy")
            # Everything else is answered meanwhile.
            assert (await admin.get("/api/v1/me")).status_code == 200
        assert list(http.uploads.iterdir()) == []
        assert (await upload(admin, 1)).status_code == 201
    assert (http.uploads_at_once.under_way, http.uploads_at_once.refused) == (0, 2)
