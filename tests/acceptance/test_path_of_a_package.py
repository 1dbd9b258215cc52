"""The main job over HTTP, as an author, an admin, another tenant and a caller meet it."""

import io
import json
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.conftest import RunningService

MANIFEST: dict[str, Any] = {"metadata": {"name": "sums", "version": "1.0.0"}, "runtime": "python"}
CODE = """import time
import asyncio

def add(input, context):
    context.services.logger.info("adding", a=input["a"])
    return input["a"] + input["b"]

def nap(input, context):
    time.sleep(input)
    return "rested"

def boom(input, context):
    raise ValueError("no such luck")

async def peek(input, context):
    return await context.services.cache.get("key")

def who(input, context):
    return {"tenant": context.tenant_id, "execution": context.execution_id, "configuration": context.configuration}
"""


def package(code: str = CODE, files: dict[str, str] | None = None, **manifest: Any) -> bytes:
    document = {**MANIFEST, **manifest}
    document["metadata"] = {**MANIFEST["metadata"], **manifest.get("metadata", {})}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in {"plugin.json": json.dumps(document), "main.py": code, **(files or {})}.items():
            archive.writestr(name, text)
    return packed.getvalue()


def upload(client: httpx.Client, data: bytes, **fields: str) -> httpx.Response:
    files = {"package": ("package", data, "application/octet-stream")}
    return client.post("/api/v1/plugins/upload", files=files, data=fields)


def active(client: httpx.Client, name: str, code: str = CODE, **manifest: Any) -> str:
    metadata = {"name": name, **manifest.pop("metadata", {})}
    answer = upload(client, package(code, metadata=metadata, **manifest), activate="true")
    assert answer.status_code == 201, answer.text
    assert answer.json()["plugin"]["status"] == "active", answer.text
    return str(answer.json()["plugin"]["id"])


def run(client: httpx.Client, plugin: str, function: str, value: Any = None, **more: Any) -> dict[str, Any]:
    answer = client.post(f"/api/v1/plugins/{plugin}/execute", json={"function": function, "input": value, **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.fixture(scope="module")
def client(service: RunningService) -> Any:
    with service.client() as client:
        yield client


def test_upload_activate_execute_observe(client: httpx.Client) -> None:
    plugin = active(client, "path-whole")
    done = run(client, plugin, "add", {"a": 1, "b": 2})
    assert done["status"] == "succeeded"
    assert done["output"] == 3
    assert done["version"] == "1.0.0"
    assert done["usage"]["peakMemoryBytes"] > 1 << 20
    logs = client.get(f"/api/v1/plugins/{plugin}/logs").json()["items"]
    assert [(line["message"], line["fields"]) for line in logs] == [("adding", {"a": 1})]
    kept = client.get(f"/api/v1/executions/{done['executionId']}").json()
    assert kept["status"] == "succeeded"
    metrics = client.get(f"/api/v1/plugins/{plugin}/metrics").json()
    assert (metrics["executions"], metrics["byStatus"]) == (1, {"succeeded": 1})


def test_a_tarball_with_a_dot_in_front_is_a_package_too(client: httpx.Client) -> None:
    packed = io.BytesIO()
    document = {**MANIFEST, "metadata": {"name": "path-tar", "version": "1.0.0"}}
    with tarfile.open(fileobj=packed, mode="w:gz") as tape:
        folder = tarfile.TarInfo(".")
        folder.type = tarfile.DIRTYPE
        tape.addfile(folder)
        for name, text in {"./plugin.json": json.dumps(document), "./main.py": CODE}.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            tape.addfile(member, io.BytesIO(text.encode()))
    answer = upload(client, packed.getvalue(), activate="true")
    assert answer.status_code == 201, answer.text


def test_the_stack_names_the_authors_file_and_line(client: httpx.Client) -> None:
    plugin = active(client, "path-stack")
    failed = run(client, plugin, "boom")
    assert failed["status"] == "failed"
    assert "no such luck" in failed["error"]["message"]
    line = CODE.splitlines().index('    raise ValueError("no such luck")') + 1
    assert "main.py" in failed["error"]["stack"]
    assert str(line) in failed["error"]["stack"]
    assert "guest" not in failed["error"]["stack"]


def test_a_typescript_stack_names_the_authors_file_and_line(client: httpx.Client) -> None:
    files = {
        "index.ts": 'import { fail } from "./deep/fail";\n\nexport function go(input: number): number {\n'
        "  return fail(input);\n}\n",
        "deep/fail.ts": "interface Never {\n  a: string;\n}\n\nexport const fail = (n: number): number => {\n"
        '  throw new RangeError("too deep");\n};\n',
    }
    plugin = active(client, "path-stack-ts", files=files, runtime="javascript")
    failed = run(client, plugin, "go", 1)
    assert failed["status"] == "failed"
    assert "deep/fail.ts:6" in failed["error"]["stack"], failed
    assert "index.ts:4" in failed["error"]["stack"], failed


def test_two_executions_of_one_plugin_run_at_the_same_time(client: httpx.Client) -> None:
    plugin = active(client, "path-two")
    run(client, plugin, "nap", 0)
    began = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: run(client, plugin, "nap", 1.0), range(2)))
    assert [one["status"] for one in both] == ["succeeded", "succeeded"]
    assert time.monotonic() - began < 1.9


def test_a_deadline_kills_even_a_plugin_that_sleeps(client: httpx.Client) -> None:
    plugin = active(client, "path-deadline")
    late = run(client, plugin, "nap", 30, timeoutMs=300)
    assert late["status"] == "timed_out"
    assert late["error"]["limit"] == 300
    assert late["error"]["used"] >= 300
    assert run(client, plugin, "add", {"a": 1, "b": 1})["output"] == 2


def test_a_service_that_was_not_granted_is_a_permission_error_and_leaves_a_trace(client: httpx.Client) -> None:
    plugin = active(client, "path-denied")
    denied = run(client, plugin, "peek")
    assert denied["status"] == "failed"
    assert "PermissionError" in denied["error"]["stack"] + denied["error"]["message"]
    trail = client.get("/api/v1/audit").json()["items"]
    assert any(entry["action"] == "security.violated" and entry["target"] == plugin for entry in trail)


def test_the_same_bytes_answer_200_and_other_bytes_409(client: httpx.Client) -> None:
    data = package(metadata={"name": "path-again"})
    first, second = upload(client, data), upload(client, data)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["plugin"]["id"] == second.json()["plugin"]["id"]
    other = upload(client, package(CODE + "\n", metadata={"name": "path-again"}))
    assert other.status_code == 409
    assert other.json()["code"] == "version_exists"


def test_all_findings_come_at_once_and_nothing_is_left(service: RunningService, client: httpx.Client) -> None:
    before = sorted(str(file) for file in (service.data / "objects").rglob("*") if file.is_file())
    wrong = package(
        metadata={"name": "Bad Name", "version": "1.0"}, colour="red", files={"../evil.py": "x", "a.py": "", "A.py": ""}
    )
    answer = upload(client, wrong)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["code"] == "package_refused"
    where = {finding["where"] for finding in problem["findings"]}
    assert {"plugin.json#/metadata/name", "plugin.json#/metadata/version"} <= where
    assert len(problem["findings"]) >= 5
    assert all(finding["what"] and finding["why"] and finding["mend"] for finding in problem["findings"])
    after = sorted(str(file) for file in (service.data / "objects").rglob("*") if file.is_file())
    assert after == before
    assert not list((service.data / "uploads").iterdir())


def test_code_that_does_not_load_is_refused_with_its_line(client: httpx.Client) -> None:
    answer = upload(client, package("def f(input, context):\n    return (\n", metadata={"name": "path-syntax"}))
    assert answer.status_code == 422
    (finding,) = [one for one in answer.json()["findings"] if one["rule"] == "code.does-not-load"]
    assert finding["rule"] == "code.does-not-load"
    assert "line 2" in finding["what"] or "main.py:2" in finding["what"], finding


def test_an_unknown_function_answers_with_those_there_are(client: httpx.Client) -> None:
    plugin = active(client, "path-function")
    answer = client.post(f"/api/v1/plugins/{plugin}/execute", json={"function": "ad"})
    assert answer.status_code == 404
    assert "add" in answer.text


def test_another_tenant_sees_nothing_and_may_install_what_is_published(
    service: RunningService, client: httpx.Client
) -> None:
    metadata = {"description": "Adds.", "author": "Ada", "category": "math"}
    plugin = active(client, "path-market", metadata=metadata)
    with service.client(service.operator_key) as operator:
        made = operator.post("/api/v1/tenants", json={"slug": "globex", "name": "Globex"})
        assert made.status_code == 201, made.text
        key = made.json()["key"]["secret"]
    with service.client(key) as other:
        foreign, missing = (
            other.get(f"/api/v1/plugins/{id_}") for id_ in (plugin, "0190c000-0000-7000-8000-000000000000")
        )
        assert foreign.status_code == missing.status_code == 404
        assert foreign.json()["detail"] == missing.json()["detail"]
        listing = client.post(f"/api/v1/plugins/{plugin}/publish", json={})
        assert listing.status_code in (200, 201), listing.text
        found = other.get("/api/v1/plugins/marketplace", params={"q": "adds"}).json()["items"]
        assert [one["name"] for one in found] == ["path-market"]
        installed = other.post(f"/api/v1/plugins/marketplace/{found[0]['id']}/install", json={"activate": True})
        assert installed.status_code in (200, 201), installed.text
        assert run(other, installed.json()["id"], "add", {"a": 2, "b": 2})["output"] == 4
        rated = other.put(
            f"/api/v1/plugins/marketplace/{found[0]['id']}/rating", json={"stars": 5, "review": "Adds up."}
        )
        assert rated.status_code == 200, rated.text
        featured = other.get("/api/v1/plugins/marketplace/featured").json()["items"]
        assert featured[0]["rating"] == 5.0
        withdrawn = client.post(f"/api/v1/plugins/{plugin}/withdraw")
        assert withdrawn.status_code == 200, withdrawn.text
        assert other.get("/api/v1/plugins/marketplace").json()["items"] == []
        assert run(other, installed.json()["id"], "add", {"a": 2, "b": 2})["output"] == 4
