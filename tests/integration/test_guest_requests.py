"""What the two guests send to the http service and make of its answers, with a host of the test's own beneath them."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
import pytest
from wasmtime import Store, WasiConfig
from wasmtime.component import Component, Linker, Record

from plugyard.sandbox.inside.environment import HOST, engine
from plugyard.sandbox.outside.guests import Guests, build
from plugyard.sandbox.services.egress import request

Call = tuple[str, str, dict[str, Any]]
Run = Callable[[str, str, list[dict[str, Any]]], tuple[Any, list[Call]]]
ENTRIES = {"python": "main.py", "javascript": "index.js"}
ANSWER = {"status": 200, "statusText": "OK", "url": "https://a.test/", "redirected": False}


@pytest.fixture(scope="module")
def guests() -> Guests:
    cache = Path(platformdirs.user_cache_dir("plugyard", appauthor=False)) / "guests"
    return build(Path(os.environ.get("PLUGYARD_GUESTS") or cache))


@pytest.fixture(scope="module")
def run(guests: Guests) -> Run:
    shared = engine()
    components = {name: Component.deserialize_file(shared, str(path)) for name, path in guests.artefacts.items()}

    def execute(runtime: str, source: str, answers: list[dict[str, Any]]) -> tuple[Any, list[Call]]:
        """Run `run(input, context)`; its calls are answered in order, with an error where one has a code."""
        calls: list[Call] = []
        waiting: list[Record] = []

        def start(_store: object, service: str, method: str, arguments: str) -> int:
            calls.append((service, method, json.loads(arguments)))
            answer = answers[len(calls) - 1]
            record = Record()
            record.ticket, record.ok, record.value = len(calls), "code" not in answer, json.dumps(answer)  # type: ignore[attr-defined]
            waiting.append(record)
            return len(calls)

        linker = Linker(shared)
        linker.add_wasip2()
        with linker.root() as root, root.add_instance(HOST) as host:
            host.add_func("start", start)
            host.add_func("wait", lambda _store, timeout: waiting.pop(0) if waiting else None)
            host.add_func("log", lambda _store, level, message, fields: None)
        store = Store(shared)
        store.set_wasi(WasiConfig())
        instance = linker.instantiate(store, components[runtime])
        load, invoke = instance.get_func(store, "load"), instance.get_func(store, "invoke")
        assert load is not None
        assert invoke is not None
        entry = ENTRIES[runtime]
        loaded: Any = load(store, json.dumps({"entry": entry, "files": {entry: source}}))
        assert loaded.tag == "ok", loaded.payload
        result: Any = invoke(store, "run", "null", "{}")
        assert result.tag == "ok", result.payload
        return json.loads(result.payload), calls

    return execute


PYTHON = """
async def run(input, context):
    http = context.services.http
    one = await http.get("https://a.test/v1", query={"a": [1, 2]}, headers={"x-key": "k"})
    two = await http.post("https://a.test/v1", json={"n": None}, timeout_ms=500)
    three = await http.put("https://a.test/v1", {"body": b"\\xff\\x00"})
    four = await http.request("patch", "https://a.test/v1", {"json": 1, "timeout_ms": 5}, redirect="manual")
    await http.delete("https://a.test/v1")
    return [one.ok, one.json(), one.headers["x"], two.text(), two.bytes().decode(), list(three.bytes()), three.text(),
            four.text(), four.status, four.ok, one.url]
"""
JAVASCRIPT = """
export async function run(input, context) {
  const { http } = context.services;
  const one = await http.get("https://a.test/v1", { query: { a: [1, 2] }, headers: { "x-key": "k" } });
  const two = await http.post("https://a.test/v1", { json: { n: null }, timeoutMs: 500 });
  const three = await http.put("https://a.test/v1", { body: new Uint8Array([255, 0]) });
  const four = await http.request("patch", new URL("https://a.test/v1"), { json: 1, timeoutMs: 5, redirect: "manual" });
  await http.delete("https://a.test/v1");
  return [one.ok, one.json(), one.headers.x, two.text(), new TextDecoder().decode(two.bytes()), [...three.bytes()],
          three.text(), four.text(), four.status, four.ok, one.url];
}
"""


@pytest.mark.parametrize(("runtime", "source"), [("python", PYTHON), ("javascript", JAVASCRIPT)])
def test_both_guests_send_the_same_requests_and_read_the_same_answers(run: Run, runtime: str, source: str) -> None:
    found, calls = run(
        runtime,
        source,
        [
            {**ANSWER, "headers": {"x": "y"}, "body": '\ufeff{"k": "ü"}'},
            {**ANSWER, "headers": {}, "body": "zwölf"},
            {**ANSWER, "headers": {}, "bodyBase64": "/wA="},
            {
                **ANSWER,
                "status": 302,
                "headers": {"content-type": 'text/plain; charset="Windows-1252"'},
                "bodyBase64": "gOk=",
            },
            {**ANSWER, "headers": {}, "body": ""},
        ],
    )
    assert found[:7] == [True, {"k": "ü"}, "y", "zwölf", "zwölf", [255, 0], "\ufffd\0"]
    assert found[7:] == ["€é", 302, False, "https://a.test/"]
    assert {(service, method) for service, method, _ in calls} == {("http", "request")}
    asked = [request.read(arguments, 1000) for _, _, arguments in calls]
    assert [one.method for one in asked] == ["GET", "POST", "PUT", "PATCH", "DELETE"]
    assert asked[0].target.url == "https://a.test/v1?a=1&a=2"
    assert asked[0].headers == {"x-key": "k"}
    assert (asked[1].body, asked[1].timeout_s, asked[2].body) == (b'{"n":null}', 0.5, b"\xff\x00")
    assert (asked[3].body, asked[3].timeout_s, asked[3].redirects) == (b"1", 0.005, "manual")


FETCH = """
export async function run() {
  const one = await fetch("https://a.test/v1", {
    method: "post",
    headers: new Headers([["X-Key", "k"], ["x-key", "l"], ["Content-Length", "3"], ["Accept-Encoding", "br"]]),
    body: new URLSearchParams({ a: "b c" }),
  });
  const two = await fetch(new URL("https://a.test/v2"), { body: new Uint8Array([1, 2]).buffer, method: "PUT" });
  const three = await fetch("https://a.test/v3");
  const failures = [];
  for (let turn = 0; turn < 2; turn++) {
    try { await fetch("https://b.test/"); } catch (error) { failures.push([error.name, error.code, error.message]); }
  }
  const bytes = new Uint8Array(await three.arrayBuffer());
  let again = "";
  try { await three.text(); } catch (error) { again = error.name; }
  return [one.status, one.ok, one.statusText, one.headers.get("X-A"), [...one.headers], await one.text(),
          await two.json(), [...bytes], three.bodyUsed, again, failures];
}
"""


def test_fetch_goes_through_the_same_service_in_the_webs_shape(run: Run) -> None:
    found, calls = run(
        "javascript",
        FETCH,
        [
            {**ANSWER, "headers": {"x-a": "1", "b": "2"}, "body": "text"},
            {**ANSWER, "headers": {}, "body": "[1]"},
            {**ANSWER, "headers": {}, "bodyBase64": "/wA="},
            {"code": "permission_denied", "message": "no"},
            {"code": "timed_out", "message": "late"},
        ],
    )
    assert found[:6] == [200, True, "OK", "1", [["b", "2"], ["x-a", "1"]], "text"]
    assert found[6:10] == [[1], [255, 0], True, "TypeError"]
    assert found[10] == [["PermissionError", "permission_denied", "no"], ["TypeError", "timed_out", "late"]]
    asked = [request.read(arguments, 1000) for _, _, arguments in calls]
    assert (asked[0].method, asked[0].body) == ("POST", b"a=b+c")
    assert asked[0].headers == {
        "x-key": "k, l",
        "content-type": "application/x-www-form-urlencoded;charset=UTF-8",
    }
    assert (asked[1].body, asked[2].target.url) == (b"\x01\x02", "https://a.test/v3")
