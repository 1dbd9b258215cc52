"""Health, metrics, the logs and following them, the document and its page."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import httpx
import pytest

from plugyard.application import observe
from plugyard.application.ports import Invocation, LogStep, Outcome
from plugyard.domain.errors import Overloaded, SandboxUnavailable
from plugyard.domain.execution import LogLine
from plugyard.domain.identity import Role
from plugyard.http import observability
from tests.integration.http.service import KEYS, MISSING, Http, pointers, problem
from tests.memory.sandbox import succeeded


class Stream:
    """One server-sent event stream of the application, read piece by piece: what a socket would carry."""

    def __init__(self, http: Http, path: str, **headers: str) -> None:
        self._http = http
        self._left = asyncio.Event()
        self.pieces: asyncio.Queue[Any] = asyncio.Queue()
        raw_path, _, query = path.partition("?")
        given = {"authorization": f"Bearer {KEYS[Role.ADMIN]}", **headers}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": raw_path,
            "raw_path": raw_path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.lower().encode(), value.encode()) for name, value in given.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        self.ended = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        async def receive() -> Any:
            await self._left.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await self.pieces.put(message)

        await self._http.app(self._scope, receive, send)  # type: ignore[arg-type]

    def leave(self) -> None:
        self._left.set()

    async def next(self) -> Any:
        return await asyncio.wait_for(self.pieces.get(), 5)

    async def events(self) -> list[tuple[str, Any]]:
        """The id and the data of each event in the next piece that has any."""
        while True:
            message = await self.next()
            found = []
            for block in message.get("body", b"").decode().split("\n\n"):
                lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
                if "data" in lines:
                    found.append((lines["id"], json.loads(lines["data"])))
            if found:
                return found


async def logging_plugin(http: Http, admin: Any) -> str:
    """A plugin whose function logs its input."""

    async def script(invocation: Invocation) -> Outcome:
        said = json.loads(invocation.input)
        return succeeded(logs=(LogLine(http.world.clock(), said.get("level", "info"), said["say"], {"n": 1}),))

    http.world.executor.scripts["greet"] = script
    return await http.plugin(admin)


async def say(http: Http, admin: Any, plugin_id: str, words: str, **more: Any) -> str:
    http.world.clock.forward(seconds=1)
    body = {"function": "greet", "input": {"say": words, **more}}
    answer = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json=body)
    return str(answer.json()["executionId"])


async def test_logs_are_listed_newest_first_and_filtered(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    first = await say(http, admin, plugin_id, "one")
    await say(http, admin, plugin_id, "two", level="error")
    url = f"/api/v1/plugins/{plugin_id}/logs"
    assert [one["message"] for one in (await admin.get(url)).json()["items"]] == ["two", "one"]
    assert [one["message"] for one in (await admin.get(url + "?level=error")).json()["items"]] == ["two"]
    assert [one["message"] for one in (await admin.get(f"{url}?executionId={first}")).json()["items"]] == ["one"]
    # The levels that can be asked for are those that lines have, each with all above it.
    for level, lines in {"debug": 2, "info": 2, "warning": 1, "error": 1}.items():
        assert len((await admin.get(f"{url}?level={level}")).json()["items"]) == lines, level
    page = (await admin.get(url + "?limit=1")).json()
    rest = (await admin.get(url, params={"limit": 1, "cursor": page["nextCursor"]})).json()
    assert [one["message"] for one in rest["items"]] == ["one"]
    assert rest["nextCursor"] is None


async def test_following_begins_with_the_newest_line_and_sends_each_line_once(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    await say(http, admin, plugin_id, "old")
    await say(http, admin, plugin_id, "newest")
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true")
    start = await stream.next()
    assert dict(start["headers"])[b"content-type"].startswith(b"text/event-stream")
    assert [data["message"] for _, data in await stream.events()] == ["newest"]
    await say(http, admin, plugin_id, "fresh")
    ((fresh, data),) = await stream.events()
    assert data["message"] == "fresh"
    assert data["id"] == fresh
    await asyncio.sleep(3 * observability.POLL_S)
    assert stream.pieces.empty()
    stream.leave()
    await asyncio.wait_for(stream.ended, 2)


async def test_following_goes_on_behind_the_last_event_id(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    for words in ("one", "two", "three"):
        await say(http, admin, plugin_id, words)
    url = f"/api/v1/plugins/{plugin_id}/logs"
    lines = (await admin.get(url)).json()["items"]
    stream = Stream(http, url + "?follow=true", **{"Last-Event-ID": lines[-1]["id"]})
    assert [data["message"] for _, data in await stream.events()] == ["two", "three"]
    stream.leave()
    await stream.ended
    bad = await admin.get(url + "?follow=true", headers={"Last-Event-ID": "7"})
    assert pointers(problem(bad, 422, "invalid_input")) == {"header/Last-Event-ID"}


async def test_following_what_nothing_passes_looks_at_each_line_about_once(
    http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "earlier", lambda line_id, by_ms: line_id)
    plugin_id = await logging_plugin(http, admin)
    looked_behind = []
    step_of = observe.logs_after

    async def noted(*asked: Any) -> LogStep:
        looked_behind.append(asked[-1])
        return await step_of(*asked)

    monkeypatch.setattr(observe, "logs_after", noted)
    await say(http, admin, plugin_id, "one")
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true&q=nothing")
    await stream.next()
    await say(http, admin, plugin_id, "two")
    newest = (await admin.get(f"/api/v1/plugins/{plugin_id}/logs")).json()["items"][0]["id"]
    await asyncio.sleep(3 * observability.POLL_S)
    assert looked_behind[0] is None
    assert observability.NIL not in looked_behind
    assert looked_behind[-1] == newest
    stream.leave()
    await stream.ended


async def test_a_long_history_is_told_in_pieces(http: Http, admin: Any) -> None:
    async def script(invocation: Invocation) -> Outcome:
        return succeeded(logs=tuple(LogLine(http.world.clock(), "info", f"{number}", {}) for number in range(450)))

    http.world.executor.scripts["greet"] = script
    plugin_id = await http.plugin(admin)
    await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    before = {"Last-Event-ID": "00000000-0000-0000-0000-000000000001"}
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true", **before)
    pieces = [await stream.events() for _ in range(3)]
    assert [len(one) for one in pieces] == [200, 200, 50]
    assert [data["message"] for piece in pieces for _, data in piece] == [str(number) for number in range(450)]
    await asyncio.sleep(2 * observability.POLL_S)
    assert stream.pieces.empty()
    stream.leave()
    await stream.ended


async def test_a_stream_that_is_never_quiet_ends_with_its_key_too(
    http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "HEARTBEAT_S", 0.3)
    plugin_id = await logging_plugin(http, admin)
    made = (await admin.post("/api/v1/keys", json={"name": "k", "role": "viewer"})).json()
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true", authorization=f"Bearer {made['secret']}")
    await stream.next()
    await admin.delete(f"/api/v1/keys/{made['id']}")
    for number in range(30):
        if stream.ended.done():
            break
        await say(http, admin, plugin_id, f"line {number}")
        await asyncio.sleep(0.04)
    assert stream.ended.done()


async def test_a_plugin_that_has_not_logged_yet_can_be_followed(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true")
    await stream.next()
    await say(http, admin, plugin_id, "one")
    await say(http, admin, plugin_id, "two")
    heard: list[str] = []
    while len(heard) < 2:
        heard += [data["message"] for _, data in await stream.events()]
    assert heard == ["one", "two"]
    stream.leave()
    await stream.ended


async def test_a_stream_ends_when_the_service_drains(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true")
    await stream.next()
    http.app.drain()
    await asyncio.wait_for(stream.ended, 2)
    problem_parts = (await admin.get("/health/ready")).json()
    assert problem_parts["parts"]["service"] == "ending"


async def test_a_quiet_stream_shows_that_it_lives_and_ends_with_its_key(
    http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "HEARTBEAT_S", 0.05)
    plugin_id = await logging_plugin(http, admin)
    made = (await admin.post("/api/v1/keys", json={"name": "k", "role": "viewer"})).json()
    stream = Stream(http, f"/api/v1/plugins/{plugin_id}/logs?follow=true", authorization=f"Bearer {made['secret']}")
    while b": still here" not in (await stream.next()).get("body", b""):
        pass
    await admin.delete(f"/api/v1/keys/{made['id']}")
    await asyncio.wait_for(stream.ended, 3)


async def test_following_a_missing_plugin_answers_404(http: Http, admin: Any) -> None:
    problem(await admin.get(f"/api/v1/plugins/{MISSING}/logs?follow=true"), 404, "not_found")


async def test_a_tenant_follows_only_so_many_logs_at_a_time(
    http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observability, "MAX_STREAMS", 1)
    plugin_id = await logging_plugin(http, admin)
    url = f"/api/v1/plugins/{plugin_id}/logs?follow=true"
    stream = Stream(http, url)
    await stream.next()
    await stream.next()
    refused = await admin.get(url)
    problem(refused, 429, "overloaded")
    assert refused.headers["retry-after"] == "15"
    stream.leave()
    await stream.ended
    again = Stream(http, url)
    assert (await again.next())["status"] == 200
    again.leave()
    await again.ended


async def test_asking_only_for_the_head_of_a_stream_ends_at_once(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    answer = await asyncio.wait_for(admin.head(f"/api/v1/plugins/{plugin_id}/logs?follow=true"), 2)
    assert (answer.status_code, answer.content) == (200, b"")


def test_the_line_before_is_the_lowest_id_of_its_time() -> None:
    line = "019ca945-0a00-7000-8000-000000000021"
    assert observability.earlier(line, 0) == "019ca945-0a00-0000-0000-000000000000"
    assert observability.earlier(line, 0x0A00) == "019ca945-0000-0000-0000-000000000000"
    assert observability.earlier(observability.NIL, 2000) == observability.NIL


async def test_health_needs_no_key_and_names_the_part_that_is_away(http: Http) -> None:
    async with http.client(None) as client:
        assert (await client.get("/health/live")).json()["status"] == "live"
        assert (await client.get("/health/ready")).status_code == 200
        http.parts["jail"] = "warning: --unsafe-no-jail"
        assert (await client.get("/health/ready")).json()["parts"]["jail"].startswith("warning")
        http.parts["sandbox"] = "no zygote"
        away = await client.get("/health/ready")
        assert away.status_code == 503
        assert away.json()["parts"] == {
            "database": "ok",
            "jail": "warning: --unsafe-no-jail",
            "sandbox": "no zygote",
        }
        assert (await client.head("/health/live")).content == b""


async def test_metrics_count_by_route_and_show_no_id(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    await admin.get("/nowhere/at/all")
    http.telemetry.execution(http.world.heard[0])
    async with http.client(None) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    route = 'answered_by="service",method="POST",route="/api/v1/plugins/{pluginId}/execute",status="200"'
    assert f"plugyard_http_request_duration_seconds_count{{{route}}} 1.0" in text
    assert 'route="none",status="404"' in text
    assert 'plugyard_executions_total{status="succeeded"} 1.0' in text
    assert 'plugyard_upload_duration_seconds_count{outcome="created"} 1.0' in text
    assert 'plugyard_environments{state="idle"} 1.0' in text
    assert plugin_id not in text


async def test_a_full_queue_answers_429_and_a_part_that_is_away_503_with_the_seconds_to_wait(
    http: Http, admin: Any
) -> None:
    plugin_id = await http.plugin(admin)
    url = f"/api/v1/plugins/{plugin_id}/execute"
    http.world.executor.failing = Overloaded(retry_after_s=2.2)
    answer = await admin.post(url, json={"function": "greet"})
    problem(answer, 429, "overloaded")
    assert answer.headers["retry-after"] == "3"
    http.world.executor.failing = SandboxUnavailable()
    answer = await admin.post(url, json={"function": "greet"})
    problem(answer, 503, "sandbox_unavailable")
    assert answer.headers["retry-after"] == "1"


async def test_an_execution_goes_on_when_its_caller_leaves(http: Http, admin: Any) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def script(invocation: Invocation) -> Outcome:
        begun.set()
        await may_end.wait()
        return succeeded()

    http.world.executor.scripts["greet"] = script
    plugin_id = await http.plugin(admin)
    one = f"/api/v1/plugins/{plugin_id}"
    async with http.served() as url:
        async with httpx.AsyncClient(base_url=url, headers=admin.headers) as leaving:
            asking = asyncio.ensure_future(leaving.post(one + "/execute", json={"function": "greet"}))
            await begun.wait()
            running = (await admin.get(one + "/executions?status=running")).json()["items"]
            assert [item["status"] for item in running] == ["running"]
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        http.world.executor.cancellable.add(running[0]["executionId"])
        asked = await admin.post(f"/api/v1/executions/{running[0]['executionId']}/cancel")
        assert asked.status_code == 200
        may_end.set()
    await http.world.quiet()
    ended = (await admin.get(f"/api/v1/executions/{running[0]['executionId']}")).json()
    assert ended["status"] == "succeeded"
    problem(await admin.post(f"/api/v1/executions/{ended['executionId']}/cancel"), 409, "conflict")


async def test_the_page_loads_nothing_from_elsewhere(http: Http) -> None:
    async with http.client(None) as client:
        home = await client.get("/")
        assert (home.status_code, home.headers["location"]) == (307, "/docs")
        page: httpx.Response = await client.get("/docs")
        document = await client.get("/openapi.json")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]
    for elsewhere in ("http://", "https://", "//cdn", "@import", "url("):
        assert elsewhere not in page.text
    assert document.json()["openapi"] == "3.1.0"


async def test_every_answer_forbids_caching_and_sniffing(http: Http, admin: Any) -> None:
    for path in ("/api/v1/me", "/health/live", "/nowhere"):
        headers = (await admin.get(path)).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"


async def test_metrics_of_a_window(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    await say(http, admin, plugin_id, "one")
    now = http.world.clock() + timedelta(seconds=1)
    url = f"/api/v1/plugins/{plugin_id}/metrics"
    found = (await admin.get(url, params={"until": now.isoformat()})).json()
    assert found["executions"] == 1
    assert found["errorRate"] == 0.0
    assert found["wallMs"]["max"] == 1.5
    earlier = (await admin.get(url, params={"until": (now - timedelta(days=2)).isoformat()})).json()
    assert (earlier["executions"], earlier["errorRate"], earlier["wallMs"]["p99"]) == (0, None, None)


async def test_a_part_that_is_away_shows_at_the_next_scrape(http: Http) -> None:
    http.parts = {"database": "ok", "objects": "warning: it does not answer"}
    async with http.client() as client:
        text = (await client.get("/metrics")).text
        assert 'plugyard_part_up{part="database"} 1.0' in text
        assert 'plugyard_part_up{part="objects"} 0.0' in text
        http.parts = {"database": "away"}
        text = (await client.get("/metrics")).text
        assert 'plugyard_part_up{part="database"} 0.0' in text
        assert 'part="objects"' not in text


async def test_analytics_of_a_tenant(http: Http, admin: Any) -> None:
    plugin_id = await logging_plugin(http, admin)
    await say(http, admin, plugin_id, "one")
    found = (await admin.get("/api/v1/analytics", params={"top": "1"})).json()
    assert (found["executions"], found["byStatus"], found["errorRate"]) == (1, {"succeeded": 1}, 0.0)
    assert (found["by"], found["logs"], len(found["pieces"])) == ("hour", 1, 1)
    assert found["wallMs"]["max"] == 1.5
    assert found["wallMs"]["p50"] == pytest.approx(1.5, rel=0.05)
    assert [(one["pluginId"], one["executions"], one["failed"]) for one in found["plugins"]] == [(plugin_id, 1, 0)]
    for query, where in (
        ("since=2020-01-01T00:00:00Z", "query/since"),
        ("by=week", "query/by"),
        ("top=0", "query/top"),
    ):
        assert pointers(problem(await admin.get(f"/api/v1/analytics?{query}"), 422, "invalid_input")) == {where}
