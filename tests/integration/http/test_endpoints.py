"""Plugins' own endpoints over HTTP: what the handler gets, and what becomes of its answer."""

import base64
import json
from typing import Any

import httpx
import pytest

from plugyard.application.endpointcache import EndpointCache
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Role
from tests.integration.http.service import MISSING, Http, pointers, problem
from tests.memory.sandbox import failed, succeeded

ENDPOINTS = [
    {"method": "GET", "path": "/orders/{orderId}", "handler": "show"},
    {"method": "POST", "path": "/orders", "handler": "add"},
]
FIELDS = {"api": {"endpoints": ENDPOINTS}, "configuration": {"type": "object"}}
HANDLERS = ("show", "add")


@pytest.fixture
async def at(http: Http, admin: Any) -> str:
    """The address of a plugin with endpoints."""
    object.__setattr__(http.world.platform, "endpoint_cache", EndpointCache(1_000_000))
    plugin_id = await http.plugin(admin, "orders", fields=FIELDS, exports=HANDLERS)
    return f"/api/v1/plugins/{plugin_id}/http"


def _says(http: Http, handler: str, **response: Any) -> None:
    http.world.executor.answer(handler, succeeded(json.dumps(response).encode()))


def _asked(http: Http) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(http.world.executor.invocations[-1].input)
    return found


async def test_the_handler_gets_the_whole_request(http: Http, admin: Any, at: str) -> None:
    _says(http, "show", status=200)
    headers = [("X-Tag", "a"), ("x-tag", "b"), ("Cookie", "c=1"), ("Connection", "x-hop"), ("X-Hop", "1")]
    answer = await admin.get(at + "/orders/a%2Fb%20c?tag=1&tag=2&empty=&name=%C3%A9", headers=headers)
    assert answer.status_code == 200
    asked = _asked(http)
    assert (asked["method"], asked["path"]) == ("GET", "/orders/a%2Fb%20c")
    assert asked["params"] == {"orderId": "a/b c"}
    assert asked["query"] == {"tag": ["1", "2"], "empty": "", "name": "é"}
    assert asked["headers"]["x-tag"] == ["a", "b"]
    assert not {"authorization", "cookie", "connection", "x-hop"} & asked["headers"].keys()
    assert (asked["body"], asked["bodyBase64"]) == (None, None)


@pytest.mark.parametrize(
    ("kind", "sent", "body"),
    [
        ("application/json", b'{"a": 1.0}', {"a": 1.0}),
        ("application/problem+json; charset=utf-8", b"[1]", [1]),
        ("application/json", b"{", "{"),
        ("application/json", b"[" * 300 + b"]" * 300, "[" * 300 + "]" * 300),
        ("text/plain", "é\r\n".encode(), "é\r\n"),
        ("application/x-www-form-urlencoded", b"a=1&b=2", "a=1&b=2"),
        ("application/octet-stream", b"\x00\xff", None),
    ],
)
async def test_a_body_comes_as_json_or_text_and_always_as_bytes(
    http: Http, admin: Any, at: str, kind: str, sent: bytes, body: Any
) -> None:
    _says(http, "add", status=201)
    answer = await admin.post(at + "/orders", content=sent, headers={"content-type": kind})
    assert answer.status_code == 201, answer.text
    asked = _asked(http)
    assert asked["body"] == body
    assert base64.b64decode(asked["bodyBase64"]) == sent


async def test_the_answer_goes_back_as_it_is_with_the_executions_id(http: Http, admin: Any, at: str) -> None:
    _says(http, "add", status=201, headers={"Location": "/orders/7", "Link": ["<a>", "<b>"]}, bodyBase64="AP8=")
    answer = await admin.post(at + "/orders")
    assert (answer.status_code, answer.content) == (201, b"\x00\xff")
    assert answer.headers["location"] == "/orders/7"
    assert answer.headers.get_list("link") == ["<a>", "<b>"]
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-security-policy"] == "sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    executed = await admin.get(f"/api/v1/executions/{answer.headers['plugyard-execution-id']}")
    assert (executed.json()["function"], executed.json()["status"]) == ("add", "succeeded")


async def test_over_a_socket_head_has_the_length_and_no_body(http: Http, admin: Any, at: str) -> None:
    _says(http, "show", status=200, headers={"ETag": '"1"'}, body="hello")
    async with http.served() as url, httpx.AsyncClient(base_url=url, headers=admin.headers) as client:
        answer = await client.head(at + "/orders/7")
        assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "5", b"")
        assert (await client.get(at + "/orders/7")).text == "hello"
        known = await client.get(at + "/orders/7", headers={"If-None-Match": 'W/"0", W/"1"'})
        assert (known.status_code, known.content, known.headers["etag"]) == (304, b"", '"1"')
        assert "content-length" not in known.headers
        _says(http, "add", status=204)
        assert (await client.post(at + "/orders", content=b"x" * 100_000)).status_code == 204
        assert len(base64.b64decode(_asked(http)["bodyBase64"])) == 100_000
    assert [one.function for one in http.world.executor.invocations] == ["show", "show", "show", "add"]


async def test_what_is_not_there_and_what_is_not_taken(http: Http, admin: Any, at: str) -> None:
    found = problem(await admin.get(at + "/nothing"), 404, "endpoint_not_found")
    assert "GET /orders/{orderId}" in found["detail"]
    refused = await admin.put(at + "/orders/7")
    problem(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "GET, HEAD, OPTIONS"
    told = await admin.options(at + "/orders/7")
    assert (told.status_code, told.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert problem(await admin.request("PROPFIND", at + "/orders/7"), 405, "method_not_allowed")
    problem(await admin.get(at + "/orders/%ff"), 400, "malformed_request")
    problem(await admin.get(at + "/orders/7?a=%ff"), 422, "invalid_input")
    problem(await admin.get(f"/api/v1/plugins/{MISSING}/http/orders/7"), 404, "not_found")
    assert http.world.executor.invocations == []


async def test_a_body_above_the_limit_is_refused(http: Http, admin: Any, at: str) -> None:
    problem(await admin.post(at + "/orders", content=b"x" * 1_000_001), 413, "too_large")
    # In the handler's input such a body would be six times as long.
    problem(await admin.post(at + "/orders", content=b"\x01" * 1_000_000), 413, "too_large")
    assert http.world.executor.invocations == []


@pytest.mark.parametrize(
    ("status", "code", "number"),
    [
        (ExecutionStatus.FAILED, "endpoint_failed", 502),
        (ExecutionStatus.OUT_OF_MEMORY, "endpoint_failed", 502),
        (ExecutionStatus.CPU_EXCEEDED, "endpoint_failed", 502),
        (ExecutionStatus.CRASHED, "endpoint_failed", 502),
        (ExecutionStatus.CANCELLED, "endpoint_failed", 502),
        (ExecutionStatus.TIMED_OUT, "endpoint_timed_out", 504),
    ],
)
async def test_an_execution_that_fails_is_a_problem_that_names_it(
    http: Http, admin: Any, at: str, status: ExecutionStatus, code: str, number: int
) -> None:
    http.world.executor.answer("add", failed(status))
    answer = await admin.post(at + "/orders")
    found = problem(answer, number, code)
    assert found["executionStatus"] == status.value
    assert found["executionId"] == answer.headers["plugyard-execution-id"]
    assert "it broke" in found["detail"]
    assert (await admin.get(f"/api/v1/executions/{found['executionId']}")).json()["status"] == status.value


async def test_an_answer_that_is_no_response_is_a_problem_with_every_fault(http: Http, admin: Any, at: str) -> None:
    _says(http, "add", status=7, headers={"Set-Cookie": "a=1"})
    answer = await admin.post(at + "/orders")
    found = problem(answer, 502, "endpoint_answer_invalid")
    assert pointers(found) == {"/status", "/headers/Set-Cookie"}
    assert found["executionId"] == answer.headers["plugyard-execution-id"]
    assert "set-cookie" not in answer.headers


async def test_who_may_not_execute_calls_no_endpoint(http: Http, admin: Any, at: str) -> None:
    async with http.client(Role.VIEWER) as viewer:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            assert (await viewer.request(method, at + "/orders/7")).status_code == 403
    async with http.client(None) as nobody:
        problem(await nobody.get(at + "/orders/7"), 401, "unauthenticated")
    await http.tenant("other")
    async with http.client(of="other") as stranger:
        problem(await stranger.get(at + "/orders/7"), 404, "not_found")


async def test_a_key_narrowed_to_functions_reaches_their_endpoints_alone(http: Http, admin: Any, at: str) -> None:
    _says(http, "show", status=200, headers={"Cache-Control": "public, max-age=60"})
    assert (await admin.get(at + "/orders/7")).status_code == 200
    plugin_id = at.split("/")[4]
    scopes = [{"actions": ["execute"], "plugin": plugin_id, "functions": ["add"]}]
    made = await admin.post("/api/v1/keys", json={"name": "narrow", "role": "developer", "scopes": scopes})
    narrow = {"Authorization": f"Bearer {made.json()['secret']}"}
    assert (await admin.post(at + "/orders", headers=narrow)).status_code == 204
    # Not even what is kept.
    problem(await admin.get(at + "/orders/7", headers=narrow), 403, "forbidden")


async def test_a_plugin_that_is_not_active_answers_nothing_not_even_what_is_kept(
    http: Http, admin: Any, at: str
) -> None:
    _says(http, "show", status=200, headers={"Cache-Control": "public, max-age=60"})
    assert (await admin.get(at + "/orders/7")).status_code == 200
    await admin.post(at.removesuffix("/http") + "/deactivate")
    http.world.clock.forward(seconds=2)
    problem(await admin.get(at + "/orders/7"), 409, "wrong_state")


async def test_what_says_that_it_is_public_is_executed_once(http: Http, admin: Any, at: str) -> None:
    _says(http, "show", status=200, headers={"Cache-Control": "public, max-age=60", "ETag": '"1"'}, json=[1])
    first = await admin.get(at + "/orders/7")
    http.world.clock.forward(seconds=10)
    again = await admin.get(at + "/orders/7")
    assert (again.content, again.headers["age"]) == (first.content, "10")
    assert "plugyard-execution-id" not in again.headers
    assert again.headers["cache-control"] == "public, max-age=60"
    known = await admin.get(at + "/orders/7", headers={"If-None-Match": '"1"'})
    assert (known.status_code, known.content) == (304, b"")
    assert "content-type" not in known.headers
    assert (await admin.head(at + "/orders/7")).headers["age"] == "10"
    assert len(http.world.executor.invocations) == 1
    for path in ("/orders/8", "/orders/7?a=1"):
        assert "age" not in (await admin.get(at + path)).headers
    assert "age" not in (await admin.get(at + "/orders/7", headers={"Cache-Control": "no-cache"})).headers
    assert len(http.world.executor.invocations) == 4


async def test_a_new_configuration_forgets_what_was_kept(http: Http, admin: Any, at: str) -> None:
    _says(http, "show", status=200, headers={"Cache-Control": "public, max-age=60"})
    await admin.get(at + "/orders/7")
    http.world.clock.forward(seconds=2)
    assert (await admin.patch(at.removesuffix("/http") + "/config", json={"a": 1})).is_success
    assert "age" not in (await admin.get(at + "/orders/7")).headers


async def test_what_changes_nothing_of_the_answer_forgets_nothing(http: Http, admin: Any, at: str) -> None:
    _says(http, "show", status=200, headers={"Cache-Control": "public, max-age=60"})
    await admin.get(at + "/orders/7")
    for change in ("deactivate", "activate"):
        await admin.post(at.removesuffix("http") + change)
    http.world.clock.forward(seconds=2)
    assert (await admin.get(at + "/orders/7")).headers["age"] == "2"


async def test_an_output_that_is_no_response_is_sent_as_json(http: Http, admin: Any, at: str) -> None:
    _says(http, "add", words=3)
    answer = await admin.post(at + "/orders")
    assert (answer.status_code, answer.json()) == (200, {"words": 3})
    http.world.executor.answer("add", succeeded())
    assert (await admin.post(at + "/orders")).status_code == 204


async def test_handlers_are_held_to_the_input_that_their_function_declares(http: Http, admin: Any) -> None:
    wanted = {"type": "object", "properties": {"query": {"type": "object", "required": ["q"]}}}
    plugin_id = await http.plugin(
        admin, "narrow", fields={**FIELDS, "functions": {"add": {"input": wanted}}}, exports=HANDLERS
    )
    found = problem(await admin.post(f"/api/v1/plugins/{plugin_id}/http/orders"), 422, "invalid_input")
    assert pointers(found) == {"/input/query"}
