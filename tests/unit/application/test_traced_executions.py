"""What an execution says of itself in a trace, and how the trace goes on when it waits."""

from dataclasses import replace

import pytest

from plugyard.application.enqueue import enqueue
from plugyard.application.executable import Call
from plugyard.application.tracing import within
from plugyard.application.work import work_on
from plugyard.domain.errors import SandboxUnavailable
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Caller
from tests.memory.sandbox import failed, succeeded
from tests.memory.tracing import MemoryTracing
from tests.memory.world import World


@pytest.fixture
def tracing(world: World) -> MemoryTracing:
    found = MemoryTracing()
    world.platform = replace(world.platform, tracing=found)
    return found


async def test_an_execution_and_its_record_are_spans_of_the_request(
    world: World, admin: Caller, tracing: MemoryTracing
) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b'"hello"'))
    with within(tracing.begin("request", "server", None)):
        done = await world.execute(admin, view, input=b'"swordfish"')
    request, execute, record = tracing.spans
    assert (execute.name, execute.parent, record.name, record.parent) == (
        "execute",
        request.traceparent,
        "record",
        execute.traceparent,
    )
    assert execute.attributes == {
        "plugyard.tenant.id": admin.tenant_id,
        "plugyard.plugin.id": view.plugin.id,
        "plugyard.plugin.version": "1.0.0",
        "plugyard.function": "greet",
        "plugyard.execution.id": done.execution.id,
        "plugyard.status": "succeeded",
    }
    assert "swordfish" not in str(tracing.spans)


async def test_what_fails_is_told_by_its_status_and_what_could_not_run_by_the_errors_name(
    world: World, admin: Caller, tracing: MemoryTracing
) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed(ExecutionStatus.FAILED, "swordfish"))
    with within(tracing.begin("request", "server", None)):
        await world.execute(admin, view)
    assert tracing.spans[1].failed == "failed"
    assert "swordfish" not in str(tracing.spans)
    world.executor.failing = SandboxUnavailable("swordfish")
    with within(tracing.begin("request", "server", None)), pytest.raises(SandboxUnavailable):
        await world.execute(admin, view)
    assert tracing.spans[-1].failed == "SandboxUnavailable"


async def test_a_queued_execution_runs_in_the_trace_that_queued_it(
    world: World, admin: Caller, tracing: MemoryTracing
) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b"1"))
    with within(tracing.begin("request", "server", None)) as request:
        queued = await enqueue(world.platform, admin, view.plugin.id, Call("greet", trace="a caller's"))
    assert await world.work() == 1
    work = next(span for span in tracing.spans if span.name == "queue.run")
    assert (work.kind, work.parent, work.ended, tracing.believed) == (
        "consumer",
        request.traceparent,
        True,
        [False, True],
    )
    assert work.attributes == {
        "plugyard.tenant.id": admin.tenant_id,
        "plugyard.execution.id": queued.execution.id,
        "plugyard.queue.origin": "call",
        "plugyard.queue.attempt": 1,
    }
    execute = next(span for span in tracing.spans if span.name == "execute")
    assert execute.parent == work.traceparent


async def test_what_an_event_started_names_the_execution_that_published_it(
    world: World, admin: Caller, tracing: MemoryTracing
) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b"1"))
    await enqueue(world.platform, replace(admin, request_id="chosen"), view.plugin.id, Call("greet"))
    (called,) = await world.store.take(world.clock(), 1, 1)
    by_event = replace(called, call=replace(called.call, origin="event", request_id="execution-1"))
    await work_on(world.platform, called)
    await work_on(world.platform, by_event)
    # Of a call, the id is whatever its caller sent.
    found = [span.attributes.get("plugyard.published_by") for span in tracing.spans if span.name == "queue.run"]
    assert found == [None, "execution-1"]


async def test_without_tracing_a_callers_parent_is_passed_on(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", succeeded(b"1"))
    await enqueue(world.platform, admin, view.plugin.id, Call("greet", trace="given"))
    (entry,) = await world.store.take(world.clock(), 1, 1)
    assert entry.call.trace == "given"
