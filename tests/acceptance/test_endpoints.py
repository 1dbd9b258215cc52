"""Plugins' own endpoints and webhooks in a real service, in both languages, and in an example as it is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from plugyard.cli import webhooks
from plugyard.cli.author import packed
from plugyard.cli.failure import Failure
from plugyard.cli.reach import Reach
from plugyard.domain.webhooks import sign
from tests.acceptance.test_path_of_a_package import package, upload
from tests.conftest import RunningService

EXAMPLE = Path(__file__).parents[2] / "examples" / "webhook-formatter"
PYTHON = """
import base64

def echo(request, context):
    kind = request["headers"].get("x-kind", "json")
    headers = {"X-Method": request["method"], "ETag": '"1"', "X-Many": ["a", "b"]}
    if kind == "bytes":
        return {"status": 201, "headers": headers, "bodyBase64": request["bodyBase64"]}
    if kind == "text":
        return {"status": 200, "headers": {**headers, "Content-Type": "text/plain"}, "body": request["params"]["id"]}
    return {"status": 200, "headers": headers, "json": request}

def plain(request, context):
    return {"by": context.user_id}

count = 0

def counted(request, context):
    global count
    count += 1
    return {"status": 200, "headers": {"Cache-Control": "public, max-age=60"}, "json": count}

def broken(request, context):
    raise ValueError("the inner reason")

def slow(request, context):
    while True:
        pass

def wrong(request, context):
    return {"status": 200, "headers": {"Set-Cookie": "a=1"}}
"""
JAVASCRIPT = """
export function echo(request) {
  const kind = request.headers["x-kind"] ?? "json";
  const headers = {"X-Method": request.method, ETag: '"1"', "X-Many": ["a", "b"]};
  if (kind === "bytes") return {status: 201, headers, bodyBase64: request.bodyBase64};
  const text = {...headers, "Content-Type": "text/plain"};
  if (kind === "text") return {status: 200, headers: text, body: request.params.id};
  return {status: 200, headers, json: request};
}
export function plain(request, context) { return {by: context.userId}; }
let count = 0;
export function counted() {
  return {status: 200, headers: {"Cache-Control": "public, max-age=60"}, json: ++count};
}
export function broken() { throw new Error("the inner reason"); }
export function slow() { for (;;); }
export function wrong() { return {status: 200, headers: {"Set-Cookie": "a=1"}}; }
"""
ENDPOINTS = [
    {"method": method, "path": path, "handler": handler}
    for method, path, handler in (
        ("GET", "/things/{id}", "echo"),
        ("POST", "/things/{id}", "echo"),
        ("PUT", "/plain", "plain"),
        ("GET", "/counted", "counted"),
        ("POST", "/broken", "broken"),
        ("POST", "/slow", "slow"),
        ("POST", "/wrong", "wrong"),
    )
]


@pytest.fixture(scope="module")
def client(service: RunningService) -> Any:
    with service.client() as client:
        yield client


@pytest.fixture(scope="module", params=["python", "javascript"])
def plugin(client: httpx.Client, request: pytest.FixtureRequest) -> str:
    """The address of a plugin with endpoints."""
    manifest = {
        "metadata": {"name": f"endpoints-{request.param}"},
        "runtime": request.param,
        "api": {"endpoints": ENDPOINTS},
        "security": {"permissions": [], "resourceLimits": {"timeout": 1000}},
    }
    if request.param == "python":
        data = package(PYTHON, **manifest)
    else:
        data = package(files={"index.js": JAVASCRIPT}, **manifest)
    answer = upload(client, data, activate="true")
    assert answer.status_code == 201, answer.text
    assert answer.json()["plugin"]["status"] == "active", answer.text
    return f"/api/v1/plugins/{answer.json()['plugin']['id']}"


def test_a_request_and_its_answer_come_through_whole(client: httpx.Client, plugin: str) -> None:
    at = plugin + "/http/things/a%2Fb%20%C3%A9"
    answer = client.get(at + "?tag=1&tag=2", headers=[("X-Tag", "a"), ("X-Tag", "b"), ("Cookie", "c=1")])
    assert answer.status_code == 200, answer.text
    request = answer.json()
    assert (request["method"], request["path"]) == ("GET", "/things/a%2Fb%20%C3%A9")
    assert request["params"] == {"id": "a/b é"}
    assert request["query"] == {"tag": ["1", "2"]}
    assert request["headers"]["x-tag"] == ["a", "b"]
    assert not {"authorization", "cookie"} & request["headers"].keys()
    assert (request["body"], request["bodyBase64"]) == (None, None)
    assert answer.headers.get_list("x-many") == ["a", "b"]
    record = client.get(f"/api/v1/executions/{answer.headers['plugyard-execution-id']}").json()
    assert (record["function"], record["status"]) == ("echo", "succeeded")


def test_bytes_text_and_json_go_both_ways(client: httpx.Client, plugin: str) -> None:
    every = bytes(range(256)) * 400
    answer = client.post(plugin + "/http/things/7", content=every, headers={"X-Kind": "bytes"})
    assert (answer.status_code, answer.content) == (201, every)
    answer = client.post(plugin + "/http/things/7", json={"é": [1, None]})
    assert answer.json()["body"] == {"é": [1, None]}
    assert base64.b64decode(answer.json()["bodyBase64"]) == answer.request.content
    answer = client.get(plugin + "/http/things/%C3%A9", headers={"X-Kind": "text"})
    assert (answer.text, answer.headers["content-type"]) == ("é", "text/plain")
    assert client.head(plugin + "/http/things/7").headers["x-method"] == "HEAD"
    assert client.get(plugin + "/http/things/7", headers={"If-None-Match": '"1"'}).status_code == 304
    assert client.put(plugin + "/http/plain").json()["by"].startswith("key:")
    refused = client.delete(plugin + "/http/plain")
    assert (refused.status_code, refused.headers["allow"]) == (405, "OPTIONS, PUT")


def test_a_public_answer_is_executed_once(client: httpx.Client, plugin: str) -> None:
    first = client.get(plugin + "/http/counted")
    again = client.get(plugin + "/http/counted")
    assert first.json() == again.json() == 1
    assert "plugyard-execution-id" in first.headers
    assert "age" in again.headers
    assert client.get(plugin + "/http/counted", headers={"Cache-Control": "no-cache"}).json() == 2


@pytest.mark.parametrize(
    ("path", "status", "code", "says"),
    [
        ("/broken", 502, "endpoint_failed", "the inner reason"),
        ("/slow", 504, "endpoint_timed_out", ""),
        ("/wrong", 502, "endpoint_answer_invalid", "Set-Cookie"),
        ("/nothing", 404, "endpoint_not_found", "/things/{id}"),
    ],
)
def test_a_plugin_that_fails_is_a_clear_problem(
    client: httpx.Client, plugin: str, path: str, status: int, code: str, says: str
) -> None:
    answer = client.post(plugin + "/http" + path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert says in answer.text
    assert ("plugyard-execution-id" in answer.headers) == (code != "endpoint_not_found")


def test_a_sender_without_a_key_signs(client: httpx.Client, plugin: str, service: RunningService) -> None:
    made = client.post(plugin + "/webhooks", json={"name": "shop", "path": "/things/web"}).json()
    body = b'{"order": 7}'
    headers = {"Plugyard-Signature": sign(made["secret"], datetime.now(UTC), body), "Content-Type": "application/json"}
    with httpx.Client(base_url=service.url, timeout=60) as sender:
        answer = sender.post(made["address"], content=body, headers=headers)
        assert (answer.status_code, answer.json()["body"]) == (200, {"order": 7})
        assert answer.json()["params"] == {"id": "web"}
        assert sender.post(made["address"], content=body, headers=headers).json()["code"] == "delivery_repeated"
        assert sender.post(made["address"], content=body).json()["code"] == "delivery_refused"
        assert client.delete(f"{plugin}/webhooks/{made['id']}").is_success
        assert sender.post(made["address"], content=body, headers=headers).status_code == 404


def test_an_admin_makes_rotates_and_revokes_webhooks_on_the_command_line(
    client: httpx.Client, plugin: str, service: RunningService, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = client.get(plugin).json()["name"]
    reached: dict[str, Any] = {"reach": Reach(service.url, service.admin_key), "as_json": True}

    def said(command: Callable[..., None], *given: str, **more: Any) -> Any:
        command(named, *given, **reached, **more)
        return json.loads(capsys.readouterr().out)

    (tmp_path / "secret.txt").write_text("made-by-the-sender\n")
    made = said(webhooks.create, "/things/cli", name="shop", secret_file=tmp_path / "secret.txt")
    assert made["secret"] == "made-by-the-sender"
    assert made["address"].startswith(f"{service.url}/hooks/")
    body = b"{}"
    for secret in (made["secret"], said(webhooks.rotate, made["id"], overlap_seconds=0)["secret"]):
        headers = {"Plugyard-Signature": sign(secret, datetime.now(UTC), body), "Content-Type": "application/json"}
        answer = httpx.post(made["address"], content=body, headers=headers, timeout=60)
        assert answer.status_code == (401 if secret == made["secret"] else 200)
    assert said(webhooks.revoke, made["id"])["revokedAt"] is not None
    assert made["id"] in {one["id"] for one in said(webhooks.list_webhooks)}
    webhooks.list_webhooks(named, **{**reached, "as_json": False})
    assert f"{made['id']}  plugyard  /things/cli  shop  revoked" in capsys.readouterr().out
    with pytest.raises(Failure, match="secret-file"):
        said(webhooks.create, "/things/cli", name="shop", secret_file=tmp_path / "nothing.txt")


def test_the_example_answers_what_github_sends(client: httpx.Client, service: RunningService, tmp_path: Path) -> None:
    # As everybody packs it: the demonstration uploads the same bytes to the same service.
    archive = packed(EXAMPLE, tmp_path / "example.zip")
    uploaded = upload(client, archive.read_bytes(), activate="true").json()
    plugin = f"/api/v1/plugins/{uploaded['plugin']['id']}"
    asked = {"name": "pushes", "path": "/github", "scheme": "github"}
    made = client.post(plugin + "/webhooks", json=asked).json()
    body = json.dumps(json.loads((EXAMPLE / "example-input.json").read_text())["input"]["payload"]).encode()
    headers = {
        "X-Hub-Signature-256": "sha256=" + hmac.new(made["secret"].encode(), body, hashlib.sha256).hexdigest(),
        "X-GitHub-Event": "push",
        "Content-Type": "application/json",
    }
    answer = httpx.post(service.url + made["address"], content=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json()["source"] == "github"
    assert "acme/rockets" in answer.json()["text"]
