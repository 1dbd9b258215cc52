"""One function of an active plugin runs within its limits, and is answered only when its record is durable."""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from plugyard.application.activate import deactivate
from plugyard.application.executable import Call
from plugyard.application.execute import execute
from plugyard.application.platform import Policies
from plugyard.application.ports import Invocation, Outcome
from plugyard.application.tenants import deny_modules
from plugyard.application.upload import bundle_key
from plugyard.domain.errors import (
    FunctionNotFound,
    InvalidInput,
    NotFound,
    Overloaded,
    SandboxUnavailable,
    StoreUnavailable,
    WrongState,
)
from plugyard.domain.events import EventType
from plugyard.domain.execution import ExecutionStatus, LogLine, Violation
from plugyard.domain.identity import Caller, Role
from plugyard.domain.limits import LimitPolicy, RequestedLimits
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Permission, Service
from tests.memory.sandbox import USED, failed, succeeded
from tests.memory.world import World, as_role, manifest

INPUT = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "a/b": {"type": "array", "items": {"type": "integer"}}},
}


async def test_a_success_is_recorded_and_told(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    line = LogLine(world.clock(), "info", "called", {"by": "ada"})
    world.executor.answer("greet", succeeded(b'"hello"', logs=(line,)))
    done = await world.execute(admin, view, input=b'"ada"', trace="trace-1")
    execution = done.execution
    assert (done.output, done.replayed) == (b'"hello"', False)
    assert (execution.status, execution.usage, execution.error) == (ExecutionStatus.SUCCEEDED, USED, None)
    assert (execution.version, execution.function, execution.actor) == ("1.0.0", "greet", "key:admin")
    assert (execution.input_bytes, execution.output_bytes) == (5, 7)
    tables = world.store.tables
    assert tables.executions[execution.id] == execution
    assert [(row.execution_id, row.line) for row in tables.logs.values()] == [(execution.id, line)]
    assert world.event_types[-2:] == [EventType.EXECUTION_STARTED, EventType.EXECUTION_COMPLETED]
    assert world.heard == [execution]
    assert world.platform.running == {}


async def test_the_sandbox_is_given_all_that_one_execution_needs(world: World, admin: Caller) -> None:
    document = manifest(security={"isolation": "fresh", "permissions": ["cache"], "resourceLimits": {"memory": 64}})
    view = await world.active(admin, document)
    done = await world.execute(admin, view, input=b"[1]", trace="trace-1")
    (asked,) = world.executor.invocations
    assert (asked.execution_id, asked.tenant_id, asked.plugin_id) == (
        done.execution.id,
        admin.tenant_id,
        view.plugin.id,
    )
    assert (asked.function, asked.input, asked.fresh, asked.grants) == (
        "greet",
        b"[1]",
        True,
        (Permission(Service.CACHE),),
    )
    assert asked.digest == view.version.digest
    assert asked.limits.memory_bytes == 64 << 20
    assert await asked.bundle() == await world.objects.get(bundle_key(view.version.digest))
    context = json.loads(asked.context)
    assert context == {
        "tenantId": admin.tenant_id,
        "userId": "key:admin",
        "executionId": done.execution.id,
        "configuration": {},
        "deadline": (world.clock() + timedelta(seconds=30)).isoformat(),
        "trace": {"traceparent": "trace-1"},
    }
    assert datetime.fromisoformat(context["deadline"]).utcoffset() == timedelta(0)


async def test_the_lowest_of_manifest_call_and_policy_limits_the_execution(tmp_path: Path) -> None:
    world = World(tmp_path, Policies(limits=LimitPolicy(max_timeout_ms=9_000, max_memory_mb=100)))
    admin = await world.caller()
    limits = {"resourceLimits": {"memory": 500, "timeout": 20_000, "cpu": 4_000}}
    view = await world.active(admin, manifest(security=limits))
    await world.execute(admin, view)
    await world.execute(admin, view, timeout_ms=1_000)
    first, second = (one.limits for one in world.executor.invocations)
    assert (first.timeout_ms, first.memory_bytes, first.cpu_ms) == (9_000, 100 << 20, 4_000)
    assert second.timeout_ms == 1_000


async def test_a_calls_limits_lower_those_of_the_manifest_and_never_raise_them(tmp_path: Path) -> None:
    world = World(tmp_path, Policies(limits=LimitPolicy(log_lines=500)))
    admin = await world.caller()
    asked = {"output": 10, "logLines": 800, "serviceCalls": 20, "inFlight": 2, "stack": 256, "startup": 900}
    view = await world.active(admin, manifest(security={"resourceLimits": asked}))
    call = RequestedLimits(output_kb=20, log_lines=7, service_calls=30, in_flight=1, stack_kb=1024, startup_ms=400)
    await world.execute(admin, view)
    await world.execute(admin, view, limits=call, timeout_ms=300)
    first, second = (one.limits for one in world.executor.invocations)
    assert (first.output_bytes, first.log_lines, first.service_calls, first.in_flight) == (10_240, 500, 20, 2)
    assert (first.stack_bytes, first.startup_ms) == (256 << 10, 900)
    assert (second.output_bytes, second.log_lines, second.service_calls, second.in_flight) == (10_240, 7, 20, 1)
    assert (second.stack_bytes, second.startup_ms, second.timeout_ms) == (256 << 10, 300, 300)


async def test_the_sandbox_is_told_at_once_which_modules_the_tenant_is_denied(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(security={"modules": ["util"]}))
    await world.execute(admin, view)
    assert admin.tenant_id is not None
    await deny_modules(world.platform, as_role(Role.OPERATOR, None), admin.tenant_id, ["crypto"])
    await world.execute(admin, view)
    first, second = (one.modules for one in world.executor.invocations)
    assert first == ModuleRules(("util",), ())
    assert second == ModuleRules(("util",), ("crypto",))


@pytest.mark.parametrize("status", [one for one in ExecutionStatus if one.final][1:])
async def test_whatever_the_plugin_does_is_an_answer(world: World, admin: Caller, status: ExecutionStatus) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed(status))
    done = await world.execute(admin, view)
    assert (done.execution.status, done.output) == (status, None)
    assert done.execution.error is not None
    assert world.events[-1].type is EventType.EXECUTION_FAILED
    assert world.events[-1].data["status"] == status.value


async def test_a_plugin_that_is_not_active_says_its_state_and_what_is_allowed(world: World, admin: Caller) -> None:
    view = (await world.upload(admin)).view
    with pytest.raises(WrongState) as caught:
        await world.execute(admin, view)
    assert (caught.value.state, caught.value.action) == ("installed", "execute")
    assert "activate" in caught.value.allowed
    assert world.executor.invocations == []


async def test_a_function_that_is_not_there_is_answered_with_those_that_are(world: World, admin: Caller) -> None:
    view = await world.active(admin, exports=("greet", "wave"))
    with pytest.raises(FunctionNotFound) as caught:
        await world.execute(admin, view, "shout")
    assert caught.value.available == ("greet", "wave")


async def test_only_declared_functions_may_be_called_where_any_are_declared(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(functions={"greet": {}}), exports=("greet", "internal"))
    with pytest.raises(FunctionNotFound):
        await world.execute(admin, view, "internal")


@pytest.mark.parametrize(
    ("text", "pointers"),
    [
        (b"{}", ["/input"]),
        (b'{"name": 3}', ["/input/name"]),
        (b'{"name": "ada", "a/b": [1, "x", 2, null]}', ["/input/a~1b/1", "/input/a~1b/3"]),
        (b"null", ["/input"]),
    ],
)
async def test_input_that_does_not_fit_is_refused_by_pointer(
    world: World, admin: Caller, text: bytes, pointers: list[str]
) -> None:
    view = await world.active(admin, manifest(functions={"greet": {"input": INPUT}}))
    with pytest.raises(InvalidInput) as caught:
        await world.execute(admin, view, input=text)
    assert [error.pointer for error in caught.value.errors] == pointers
    assert world.executor.invocations == []
    assert world.store.tables.executions == {}


async def test_input_that_fits_runs(world: World, admin: Caller) -> None:
    view = await world.active(admin, manifest(functions={"greet": {"input": INPUT}}))
    assert (await world.execute(admin, view, input=b'{"name": "ada"}')).execution.status is ExecutionStatus.SUCCEEDED


@pytest.mark.parametrize(
    "text",
    [b"", b"NaN", b"[Infinity]", b"-Infinity", b"1e999", b'"\xff"', b'"\\ud800"', b"{'a': 1}", b"1 2", b"[" * 100_000],
)
async def test_what_is_no_json_is_refused(world: World, admin: Caller, text: bytes) -> None:
    view = await world.active(admin)
    with pytest.raises(InvalidInput) as caught:
        await world.execute(admin, view, input=text)
    assert caught.value.errors[0].pointer == "/input"


async def test_input_may_nest_as_deep_as_the_policy_says_and_no_deeper(tmp_path: Path) -> None:
    world = World(tmp_path, Policies(max_input_depth=5))
    admin = await world.caller()
    view = await world.active(admin)
    await world.execute(admin, view, input=b"[" * 5 + b"]" * 5)
    await world.execute(admin, view, input=b"[[],[],[],[],[],{},{}]")
    await world.execute(admin, view, input=b'"[[[[[[[[[["')
    for text in (b"[" * 6 + b"]" * 6, b'{"a":' * 6 + b"1" + b"}" * 6):
        with pytest.raises(InvalidInput, match="nests too deep"):
            await world.execute(admin, view, input=text)


async def test_violations_are_told_as_events_and_kept_in_the_trail(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    tried = (Violation("service_denied", "network: evil.com"), Violation("service_denied", "database"))
    world.executor.answer("greet", failed(violations=tried))
    done = await world.execute(admin, view)
    told = [event for event in world.events if event.type is EventType.SECURITY_VIOLATED]
    assert [event.data["detail"] for event in told] == ["network: evil.com", "database"]
    trail = [one for one in world.store.tables.audit if one.action == "security.violated"]
    assert [(one.target, one.detail["executionId"]) for one in trail] == [(view.plugin.id, done.execution.id)] * 2


async def test_without_a_durable_record_there_is_no_answer_and_nothing_runs_on(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.recorder.failing = StoreUnavailable()
    with pytest.raises(StoreUnavailable):
        await world.execute(admin, view)
    assert world.platform.running == {}
    assert world.store.tables.executions == {}
    assert world.heard == []


@pytest.mark.parametrize("error", [Overloaded(), SandboxUnavailable()])
async def test_a_sandbox_that_refuses_records_nothing(world: World, admin: Caller, error: Exception) -> None:
    view = await world.active(admin)
    world.executor.failing = error
    with pytest.raises(type(error)):
        await world.execute(admin, view)
    assert world.platform.running == {}
    assert world.store.tables.executions == {}


async def test_an_execution_is_known_as_running_while_it_runs(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    began, go_on = asyncio.Event(), asyncio.Event()

    async def wait(invocation: Invocation) -> Outcome:
        began.set()
        await go_on.wait()
        return succeeded()

    world.executor.scripts["greet"] = wait
    task = asyncio.create_task(world.execute(admin, view))
    await began.wait()
    (running,) = world.platform.running.values()
    assert (running.status, running.ended_at) == (ExecutionStatus.RUNNING, None)
    world.clock.forward(seconds=2)
    go_on.set()
    done = await task
    assert (done.execution.started_at, done.execution.ended_at) == (running.started_at, world.clock())
    assert world.events[-2].occurred_at == running.started_at


async def test_another_tenant_s_plugin_is_a_missing_one(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    stranger = await world.caller("other")
    with pytest.raises(NotFound) as foreign:
        await world.execute(stranger, view)
    with pytest.raises(NotFound) as missing:
        await execute(world.platform, stranger, "no-such-id", Call("greet"))
    assert foreign.value.message == missing.value.message


async def test_a_plugin_is_read_once_and_again_when_its_copy_is_old(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.execute(admin, view)
    # Another process deactivates it, so nothing here is told.
    plugin, _ = view.plugin.deactivated(world.clock())
    async with world.store.for_tenant(view.plugin.tenant_id) as tx:
        await tx.save_plugin(plugin)
    await world.execute(admin, view)
    world.clock.forward(seconds=world.policies.plugin_cache_s)
    with pytest.raises(WrongState):
        await world.execute(admin, view)


async def test_a_change_in_this_process_counts_at_once(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.execute(admin, view)
    await deactivate(world.platform, admin, view.plugin.id)
    with pytest.raises(WrongState):
        await world.execute(admin, view)
