"""Limits over HTTP, end to end: the manifest asks, the call lowers, and the answer and the record name what was met."""

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import active
from tests.conftest import RunningService

PYTHON = """
import ast
import asyncio

def log(input, context):
    for number in range(input):
        context.services.logger.info(f"line {number}")

def spin(input):
    while True:
        pass

def fill(input):
    return "x" * input

def deep(input):
    return ast.literal_eval("(" * input + "1" + ")" * input)

async def call(input, context):
    await asyncio.gather(*(context.services.cache.set(str(n), n) for n in range(input)))
"""
ASKED = {"cpu": 2000, "output": 4, "logLines": 5, "serviceCalls": 10, "stack": 1024, "memory": 64}


@pytest.fixture(scope="module")
def limited(service: RunningService) -> str:
    """The id of a plugin whose manifest asks for limits of its own."""
    security = {"permissions": ["cache"], "resourceLimits": ASKED}
    with service.client() as client:
        plugin = active(client, "limited", PYTHON, security=security)
        shown = client.get(f"/api/v1/plugins/{plugin}").json()["limits"]
    assert {name: value for name, value in shown.items() if value is not None} == ASKED
    return plugin


@pytest.mark.parametrize(
    ("function", "input", "limits", "code", "limit"),
    [
        ("spin", None, {"cpu": 150}, "cpu_exceeded", 150),
        ("spin", None, {"timeout": 200}, "timed_out", 200),
        ("spin", None, {"timeout": 200, "cpu": 60_000}, "timed_out", 200),
        ("fill", 5_000, {}, "output_too_large", 4096),
        ("fill", 5_000, {"output": 16}, "output_too_large", 4096),
        ("fill", 3_000, {"output": 2}, "output_too_large", 2048),
        ("deep", 90, {"stack": 128}, "stack_exceeded", 128 << 10),
        ("call", 20, {}, "service_calls_exceeded", 10),
        ("call", 8, {"serviceCalls": 3}, "service_calls_exceeded", 3),
        ("fill", 60_000_000, {"memory": 48}, "out_of_memory", 48 << 20),
    ],
)
def test_the_answer_and_the_record_name_the_lowest_limit_that_was_asked_for(
    service: RunningService,
    limited: str,
    function: str,
    input: int | None,
    limits: dict[str, int],
    code: str,
    limit: int,
) -> None:
    with service.client() as client:
        body = {"function": function, "input": input, "limits": limits}
        answer = client.post(f"/api/v1/plugins/{limited}/execute", json=body)
        assert answer.status_code == 200, answer.text
        executed = answer.json()
        error = executed["error"]
        assert (error["code"], error["limit"]) == (code, limit)
        assert error["used"] is not None
        kept = client.get(f"/api/v1/executions/{executed['executionId']}").json()
        assert (kept["status"], kept["error"]) == (executed["status"], error)


def test_the_cut_of_a_log_names_its_limit(service: RunningService, limited: str) -> None:
    with service.client() as client:
        for lines, named in ((None, "5 lines"), (2, "2 lines")):
            body = {"function": "log", "input": 9, **({"limits": {"logLines": lines}} if lines else {})}
            executed = client.post(f"/api/v1/plugins/{limited}/execute", json=body).json()
            assert executed["status"] == "succeeded"
            where = f"/api/v1/plugins/{limited}/logs"
            logged = client.get(where, params={"executionId": executed["executionId"]}).json()["items"]
            assert len(logged) == (lines or 5) + 1
            assert f"its limit of {named}" in logged[0]["message"]


def test_a_repeat_with_other_limits_is_another_request(service: RunningService, limited: str) -> None:
    with service.client() as client:
        client.headers["Idempotency-Key"] = "limits-1"

        def ask(**limits: int) -> httpx.Response:
            body = {"function": "fill", "input": 3, "limits": limits}
            return client.post(f"/api/v1/plugins/{limited}/execute", json=body)

        assert ask(cpu=500).status_code == 200
        assert ask(cpu=500).headers["idempotency-replayed"] == "true"
        assert ask(cpu=400).json()["code"] == "idempotency_mismatch"
