"""What a package can do while its examples are rehearsed: reach nothing real, leave nothing, and take bounded time."""

import asyncio
import hashlib
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from plugyard.application.ports import ExampleRun, Rehearsal, Rehearsed
from plugyard.domain.errors import Overloaded
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.limits import EffectiveLimits
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.outside import rehearsal as stage
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.sandbox.services.base import Scope
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.registry import Services
from tests.escape.hostile import LIMITS, bundle, run, value

pytestmark = pytest.mark.usefixtures("unharmed")

PYTHON = """
import asyncio
seen = []

async def look(input, context):
    services = context.services
    found = {"seen": list(seen), "cached": await services.cache.get("left"), "files": await services.files.list()}
    seen.append(input)
    await services.cache.set("left", input)
    await services.files.write("left.txt", "here")
    found["written"] = await services.files.read("left.txt")
    found["rows"] = await services.database.query("select * from notes where owner = $1", ["ada"])
    async with services.database.transaction() as inside:
        await inside.execute("insert into notes (owner) values ($1)", ["ada"])
    await services.events.publish("invoice.created", {"total": 1})
    answer = await services.http.get("https://api.acme.com/v1/rates?key=secret")
    found["answer"] = [answer.status, answer.json()]
    return found

async def ask(input, context):
    answer = await context.services.http.get(input)
    return answer.status

async def copy(input, context):
    await context.services.database.execute("copy notes to program 'cat'")

async def forever(input, context):
    while True:
        await context.services.cache.get("x")

def spin(input, context):
    while True:
        pass

def eat(input, context):
    kept = []
    while True:
        kept.append(bytearray(1 << 20))

def fail(input, context):
    raise ValueError("no such rate")

def who(input, context):
    return [context.tenant_id, context.user_id, context.execution_id, context.configuration]
"""
JAVASCRIPT = """
let calls = 0;
export async function look(input: unknown, { services }: any) {
  calls += 1;
  const answer = await fetch("https://api.acme.com/v1/rates?key=secret", { method: "POST", body: "secret" });
  await services.cache.increment("n");
  return { calls, status: answer.status, body: await answer.json(), n: await services.cache.get("n") };
}
"""


@pytest.fixture
async def stocked(guests: Guests) -> AsyncIterator[Sandbox]:
    """A sandbox whose cache holds something of a real plugin."""
    services = Services()
    cache = CacheService()
    scope = Scope("acme", "notes", "e", Permission(Service.CACHE), time.monotonic() + 60)
    await cache.call(scope, "set", {"key": "left", "value": "of somebody"})
    services.offer("cache", cache)
    made = Sandbox(guests, PoolSettings(spares=1, max_environments=8), services=services)
    await made.start()
    yield made
    await made.close()
    await services.close()


async def rehearse(
    sandbox: Sandbox,
    *calls: tuple[str, Any],
    runtime: Runtime = Runtime.PYTHON,
    source: str = PYTHON,
    within_ms: int = 5_000,
    limits: EffectiveLimits = LIMITS,
    queue: str = "acme",
) -> tuple[Rehearsed, ...]:
    """Rehearse functions with inputs; ``acme`` and ``notes`` are the ids that somebody real has, too."""
    code = bundle(runtime, source)
    context = {"tenantId": "acme", "userId": "ada", "executionId": "e", "configuration": {"k": 1}, "trace": None}
    runs = [
        ExampleRun(
            uuid.uuid4().hex, "acme", "notes", function, json.dumps(given).encode(), json.dumps(context).encode()
        )
        for function, given in calls
    ]
    digest = hashlib.sha256(code).hexdigest()
    return tuple(
        await sandbox.rehearse(Rehearsal(queue, digest, "1.0.0", runtime, code, tuple(runs), limits, within_ms))
    )


def output(answer: Rehearsed) -> Any:
    assert answer.outcome is not None
    return value(answer.outcome)


async def test_every_service_answers_and_each_call_is_written_down_without_what_it_sends(stocked: Sandbox) -> None:
    (answer,) = await rehearse(stocked, ("look", "ada"))
    assert output(answer) == {
        "seen": [], "cached": None, "files": [], "written": "here", "rows": [], "answer": [200, {}],
    }  # fmt: skip
    told = [(use.service, use.method, use.target, use.refused) for use in answer.uses]
    assert ("http", "request", "GET https://api.acme.com/v1/rates", "") in told
    assert ("events", "publish", "invoice.created", "") in told
    assert {service for service, *_ in told} == {"http", "events", "files", "database", "cache"}
    assert "secret" not in repr(answer.uses)
    assert "notes" not in repr(answer.uses)
    assert answer.outcome is not None
    assert {right.service for right in answer.outcome.used} == set(Service)


async def test_what_one_example_leaves_is_not_there_for_the_next(stocked: Sandbox) -> None:
    answers = await rehearse(stocked, ("look", 1), ("look", 2), ("look", 3))
    found = [output(one) for one in answers]
    assert [(one["seen"], one["cached"], one["files"]) for one in found] == [([], None, [])] * 3


async def test_javascript_is_rehearsed_in_new_memory_each_time_as_well(stocked: Sandbox) -> None:
    answers = await rehearse(stocked, ("look", 1), ("look", 2), runtime=Runtime.JAVASCRIPT, source=JAVASCRIPT)
    assert [output(one) for one in answers] == [{"calls": 1, "status": 200, "body": {}, "n": 1}] * 2
    assert [use.target for use in answers[0].uses if use.service == "http"] == ["POST https://api.acme.com/v1/rates"]


async def test_the_cache_of_a_real_plugin_is_out_of_reach_and_stays_as_it_was(stocked: Sandbox) -> None:
    (answer,) = await rehearse(stocked, ("look", "mine"))
    assert output(answer)["cached"] is None
    real = "async def peek(input, context): return await context.services.cache.get('left')"
    grants = (Permission(Service.CACHE),)
    outcome = await run(stocked, Runtime.PYTHON, real, "peek", grants=grants, tenant="acme", plugin="notes")
    assert value(outcome) == "of somebody"


@pytest.mark.parametrize("host", ["127.0.0.1", "2130706433", "0x7f.1", "[::1]", "localhost", "[::ffff:127.0.0.1]"])
async def test_nothing_connects_to_a_socket_that_listens_and_the_attempt_is_on_record(
    sandbox: Sandbox, host: str
) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.setblocking(False)
        (answer,) = await rehearse(sandbox, ("ask", f"http://{host}:{listener.getsockname()[1]}/"))
        assert output(answer) == 200
        with pytest.raises(BlockingIOError):
            listener.accept()
    (use,) = answer.uses
    assert use.host is not None
    assert use.host.inside


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "metadata.google.internal", "10.0.0.7", "db.internal", "[fd00::1]"]
)
async def test_addresses_inside_are_told_from_those_outside(sandbox: Sandbox, host: str) -> None:
    inside, outside = await rehearse(sandbox, ("ask", f"http://{host}/latest"), ("ask", "https://example.com/latest"))
    assert [use.host is not None and use.host.inside for use in (*inside.uses, *outside.uses)] == [True, False]


async def test_a_statement_that_no_plugin_may_send_is_a_violation(sandbox: Sandbox) -> None:
    (answer,) = await rehearse(sandbox, ("copy", None))
    assert answer.outcome is not None
    assert [one.kind for one in answer.outcome.violations] == ["permission_denied"]
    assert [use.refused for use in answer.uses] == ["permission_denied"]


@pytest.mark.parametrize(
    ("function", "status"),
    [
        ("spin", ExecutionStatus.TIMED_OUT),
        ("eat", ExecutionStatus.OUT_OF_MEMORY),
        ("fail", ExecutionStatus.FAILED),
        ("forever", ExecutionStatus.FAILED),
    ],
)
async def test_what_ends_badly_is_told_and_the_next_example_runs_all_the_same(
    sandbox: Sandbox, function: str, status: ExecutionStatus
) -> None:
    began = time.monotonic()
    limits = replace(LIMITS, service_calls=50)
    bad, good = await rehearse(sandbox, (function, None), ("who", None), within_ms=6_000, limits=limits)
    assert bad.outcome is not None
    # A loop may meet the limit of CPU time a moment before that of time, which is the same here.
    same = {ExecutionStatus.TIMED_OUT: ExecutionStatus.CPU_EXCEEDED}
    assert bad.outcome.status in (status, same.get(status)), bad.outcome.error
    assert output(good) == ["acme", "ada", "e", {"k": 1}]
    assert time.monotonic() - began < 12


async def test_many_examples_that_loop_take_the_time_of_the_package_and_no_more(sandbox: Sandbox) -> None:
    began = time.monotonic()
    answers = await rehearse(sandbox, *[("spin", None)] * 20, within_ms=600)
    assert time.monotonic() - began < 5
    assert len(answers) == 20
    assert answers[-1].outcome is None, "there was no time left for it"


async def test_packages_that_loop_do_not_hold_up_anybodys_executions(sandbox: Sandbox) -> None:
    loops = [
        asyncio.create_task(rehearse(sandbox, ("spin", None), within_ms=1_500, queue=f"tenant {number % 3}"))
        for number in range(6)
    ]
    await asyncio.sleep(0.3)
    assert sandbox.environments()["running"] <= 3, "a tenant has one at a time"
    honest = "def greet(input, context): return 'hello'"
    for _ in range(3):
        assert value(await run(sandbox, Runtime.PYTHON, honest, "greet", tenant="other")) == "hello"
    assert not all(loop.done() for loop in loops)
    await asyncio.gather(*loops)


async def test_whoever_waits_too_long_for_a_turn_is_told_to_come_again(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "_WAITS_S", 0.2)
    loop = asyncio.create_task(rehearse(sandbox, ("spin", None), within_ms=1_000))
    await asyncio.sleep(0.05)
    with pytest.raises(Overloaded):
        await rehearse(sandbox, ("who", None))
    await loop


async def test_a_rehearsal_that_is_given_up_leaves_no_environment(sandbox: Sandbox) -> None:
    loop = asyncio.create_task(rehearse(sandbox, ("spin", None), within_ms=30_000))
    await asyncio.sleep(0.5)
    loop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loop
    assert sandbox.environments()["running"] == 0
