"""Every limit is met for real, in a running environment: the answer names it with its use, and nothing else is lost."""

import time
from collections.abc import AsyncIterator

import pytest

from plugyard.application.ports import LoadProbe
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.limits import LimitPolicy, RequestedLimits
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.registry import Services
from tests.unit.gate.component_samples import component

from . import test_components
from .hostile import bundle, run, value

PYTHON, JAVASCRIPT = Runtime.PYTHON, Runtime.JAVASCRIPT
GRANTS = (Permission(Service.CACHE),)
CALLER = {
    PYTHON: "import asyncio\n"
    "async def run(count, context):\n"
    "    keep = context.services.cache\n"
    "    await asyncio.gather(*(keep.set(str(n), 'x' * 100) for n in range(count)))\n",
    JAVASCRIPT: "export const run = (count, { services: { cache } }) =>\n"
    "  Promise.all([...Array(count).keys()].map((n) => cache.set(String(n), 'x'.repeat(100)))).then(() => null);\n",
}
SLOW_TO_LOAD = {
    PYTHON: "import time\ntime.sleep(0.6)\ndef run(): return 1\n",
    JAVASCRIPT: "const end = Date.now() + 600; while (Date.now() < end);\nexport const run = () => 1;\n",
}
# What neither language counts itself, so that only the stack of compiled code ends it.
DEEP = {
    PYTHON: "def run():\n    inner = []\n    for _ in range(100_000): inner = [inner]\n    return inner\n",
    JAVASCRIPT: "export const run = () => { const o = { toString() { return String(o); } }; return String(o); };\n",
}
RECURSIVE = {
    PYTHON: "def run():\n    def f(n): return f(n + 1)\n    return f(0)\n",
    JAVASCRIPT: "export const run = () => { const f = (n) => 1 + f(n + 1); return f(0); };\n",
}
CAUGHT = {
    PYTHON: "def run():\n    def f(n): return f(n + 1)\n    try: f(0)\n    except RecursionError: return 'caught'\n",
    JAVASCRIPT: "export const run = () => { const f = () => 1 + f(); try { f(); } catch { return 'caught'; } };\n",
}
BOTTOMLESS = "(call $dive (i32.const 0)) unreachable"
DIVE = "(func $dive (param i32) (result i32) (i32.add (call $dive (local.get 0)) (i32.const 1)))"

pytestmark = pytest.mark.usefixtures("unharmed")
RUNTIMES = pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])


@pytest.fixture(scope="module")
async def served(guests: Guests) -> AsyncIterator[Sandbox]:
    """A sandbox that offers a cache."""
    services = Services(calls_per_second=100_000)
    services.offer("cache", CacheService())
    sandbox = Sandbox(guests, PoolSettings(spares=1, max_environments=8), services=services)
    await sandbox.start()
    yield sandbox
    await sandbox.close()
    await services.close()


# At 512 KB the JavaScript engine's own count comes first, as in the test below.
@pytest.mark.parametrize(("runtime", "stack_kb"), [(PYTHON, 256), (PYTHON, 512), (JAVASCRIPT, 256)])
async def test_a_stack_that_runs_over_is_an_answer_that_names_it(
    sandbox: Sandbox, runtime: Runtime, stack_kb: int
) -> None:
    outcome = await run(sandbox, runtime, DEEP[runtime], stack_bytes=stack_kb << 10)
    assert outcome.status is ExecutionStatus.FAILED
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.limit) == ("stack_exceeded", stack_kb << 10)
    assert outcome.error.used == stack_kb << 10
    assert f"{stack_kb} KB" in outcome.error.message


@pytest.mark.parametrize("stack_kb", [128, 512, 2048])
async def test_a_components_stack_is_as_deep_as_it_was_asked_for(sandbox: Sandbox, stack_kb: int) -> None:
    outcome = await test_components.run(sandbox, _diving(BOTTOMLESS), stack_bytes=stack_kb << 10)
    assert outcome.status is ExecutionStatus.FAILED, outcome.error
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.limit) == ("stack_exceeded", stack_kb << 10)


def _diving(body: str, start: str = "") -> bytes:
    return component(body, start=DIVE + start)


async def test_a_component_that_runs_over_its_stack_at_its_start_is_answered_so(sandbox: Sandbox) -> None:
    binary = _diving("unreachable", "(func $s (drop (call $dive (i32.const 0)))) (start $s)")
    outcome = await test_components.run(sandbox, binary)
    assert outcome.error is not None
    assert outcome.error.code == "stack_exceeded"


@RUNTIMES
async def test_a_larger_stack_holds_what_a_smaller_one_does_not(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "def run(n): return eval('(' * n + '3' + ')' * n)\n",
        JAVASCRIPT: "export const run = (n) => {\n"
        "  const o = { toString() { return n-- > 0 ? String(o) : 'end'; } }; return String(o).length;\n};\n",
    }[runtime]
    depth = {PYTHON: 90, JAVASCRIPT: 120}[runtime]
    small = await run(sandbox, runtime, source, input=depth, stack_bytes=128 << 10)
    large = await run(sandbox, runtime, source, input=depth, stack_bytes=1024 << 10)
    assert small.error is not None
    assert small.error.code == "stack_exceeded", small.error
    assert value(large) == 3


@RUNTIMES
async def test_an_environment_with_a_stack_of_its_own_is_kept_and_serves_no_other_stack(
    sandbox: Sandbox, runtime: Runtime
) -> None:
    source = {PYTHON: "def run(): return 1\n", JAVASCRIPT: "export const run = () => 1;\n"}[runtime]
    plugin = f"stacks-{runtime}"
    starts = [
        (await run(sandbox, runtime, source, plugin=plugin, fresh=False, stack_bytes=size << 10)).usage.start
        for size in (256, 256, 1024, 512, 256)
    ]
    assert starts == ["cold", "warm", "cold", starts[3], "warm"]
    assert starts[3] != "warm"
    await sandbox.forget(plugin)


@RUNTIMES
async def test_calls_that_nest_too_deep_are_an_error_that_a_plugin_can_catch(
    sandbox: Sandbox, runtime: Runtime
) -> None:
    assert value(await run(sandbox, runtime, CAUGHT[runtime])) == "caught"
    outcome = await run(sandbox, runtime, RECURSIVE[runtime], plugin=f"deep-{runtime}", fresh=False)
    assert outcome.status is ExecutionStatus.FAILED
    assert outcome.error is not None
    assert outcome.error.code == "recursion_exceeded"
    assert "recursion" in outcome.error.message
    assert outcome.error.stack is not None
    assert outcome.error.limit == (1000 if runtime is PYTHON else None)
    again = await run(sandbox, runtime, RECURSIVE[runtime], plugin=f"deep-{runtime}", fresh=False)
    assert again.usage.start == "warm"
    await sandbox.forget(f"deep-{runtime}")


@RUNTIMES
async def test_code_that_loads_for_too_long_is_ended_and_the_answer_says_so(sandbox: Sandbox, runtime: Runtime) -> None:
    outcome = await run(sandbox, runtime, SLOW_TO_LOAD[runtime], startup_ms=200)
    assert outcome.status is ExecutionStatus.TIMED_OUT
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.limit) == ("startup_exceeded", 200)
    assert outcome.error.used is not None
    assert 200 <= outcome.error.used < 600
    assert value(await run(sandbox, runtime, SLOW_TO_LOAD[runtime], startup_ms=5000)) == 1


async def test_a_component_that_begins_for_too_long_is_ended_too(sandbox: Sandbox) -> None:
    binary = component(start="(func $s (loop $on (br $on))) (start $s)")
    outcome = await test_components.run(sandbox, binary, startup_ms=200)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.limit) == ("startup_exceeded", 200)


@RUNTIMES
async def test_a_warm_environment_has_no_start_up(sandbox: Sandbox, runtime: Runtime) -> None:
    plugin = f"slow-start-{runtime}"
    assert value(await run(sandbox, runtime, SLOW_TO_LOAD[runtime], plugin=plugin, fresh=False)) == 1
    outcome = await run(sandbox, runtime, SLOW_TO_LOAD[runtime], plugin=plugin, fresh=False, startup_ms=1)
    assert (value(outcome), outcome.usage.start) == (1, "warm")
    await sandbox.forget(plugin)


async def _probe(sandbox: Sandbox, runtime: Runtime, source: str, asked: RequestedLimits) -> LoadProbe:
    digest = f"{runtime}{hash((source, asked))}"
    return await sandbox.probe(runtime, digest, bundle(runtime, source), LimitPolicy().effective(asked))


@RUNTIMES
async def test_an_upload_meets_the_limits_that_its_executions_will_have(sandbox: Sandbox, runtime: Runtime) -> None:
    slow = await _probe(sandbox, runtime, SLOW_TO_LOAD[runtime], RequestedLimits(startup_ms=200))
    assert slow.error is not None
    assert (slow.error.code, slow.error.limit) == ("startup_exceeded", 200)
    assert (slow.error.used or 0) >= 200
    large = {
        PYTHON: "held = bytearray(200 << 20)\ndef run(): return 1\n",
        JAVASCRIPT: "const held = new Uint8Array(200 << 20).fill(1);\nexport const run = () => held.length;\n",
    }[runtime]
    full = await _probe(sandbox, runtime, large, RequestedLimits(memory_mb=64))
    assert full.error is not None
    assert full.error.code == "out_of_memory", full.error
    deep = DEEP[runtime].replace("return inner", "return repr(inner)") + (
        "run()\n" if runtime is PYTHON else "run();\n"
    )
    over = await _probe(sandbox, runtime, deep, RequestedLimits(stack_kb=256))
    assert over.error is not None
    assert (over.error.code, over.error.limit) == ("stack_exceeded", 256 << 10)


@RUNTIMES
@pytest.mark.parametrize(
    ("limits", "count", "code", "limit"),
    [
        ({"service_calls": 5}, 20, "service_calls_exceeded", 5),
        ({"service_bytes": 1024}, 20, "service_bytes_exceeded", 1024),
    ],
)
async def test_service_calls_beyond_their_limit_end_the_execution(
    served: Sandbox, runtime: Runtime, limits: dict[str, int], count: int, code: str, limit: int
) -> None:
    outcome = await run(served, runtime, CALLER[runtime], input=count, grants=GRANTS, **limits)
    assert outcome.status is ExecutionStatus.FAILED
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.limit) == (code, limit)
    assert outcome.error.used is not None
    assert outcome.error.used > limit


@RUNTIMES
@pytest.mark.parametrize(("limits", "waits"), [({"service_rate": 20}, True), ({"in_flight": 1}, False), ({}, False)])
async def test_service_calls_beyond_their_rate_or_number_at_a_time_only_wait(
    served: Sandbox, runtime: Runtime, limits: dict[str, int], waits: bool
) -> None:
    began = time.perf_counter()
    outcome = await run(served, runtime, CALLER[runtime], input=30, grants=GRANTS, **limits)
    assert outcome.status is ExecutionStatus.SUCCEEDED, outcome.error
    assert outcome.usage.service_calls == 30
    # Twenty begin at once, and ten follow, one each twentieth of a second.
    assert (time.perf_counter() - began > 0.45) is waits


@RUNTIMES
@pytest.mark.parametrize(
    ("limits", "kept", "named"), [({"log_lines": 3}, 3, "3 lines"), ({"log_bytes": 40}, 4, "40 bytes")]
)
async def test_the_line_that_stands_for_what_was_cut_names_the_limit(
    sandbox: Sandbox, runtime: Runtime, limits: dict[str, int], kept: int, named: str
) -> None:
    source = {
        PYTHON: "def run():\n    for _ in range(50): print('12345678')\n",
        JAVASCRIPT: "export const run = () => { for (let i = 0; i < 50; i++) console.log('12345678'); };\n",
    }[runtime]
    outcome = await run(sandbox, runtime, source, **limits)
    assert outcome.status is ExecutionStatus.SUCCEEDED
    assert len(outcome.logs) == kept + 1
    assert f"its limit of {named}" in outcome.logs[-1].message


@RUNTIMES
async def test_an_output_beyond_what_was_asked_for_is_named_with_its_size(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {PYTHON: "def run(): return 'x' * 3000\n", JAVASCRIPT: "export const run = () => 'x'.repeat(3000);\n"}
    outcome = await run(sandbox, runtime, source[runtime], output_bytes=2048)
    assert outcome.error is not None
    assert (outcome.error.code, outcome.error.limit, outcome.error.used) == ("output_too_large", 2048, 3002)


@RUNTIMES
async def test_a_call_may_ask_for_less_memory_than_its_plugin(sandbox: Sandbox, runtime: Runtime) -> None:
    source = {
        PYTHON: "def run(): return len(bytearray(60 << 20))\n",
        JAVASCRIPT: "export const run = () => new Uint8Array(60 << 20).fill(1).length;\n",
    }[runtime]
    plugin = f"memory-{runtime}"
    assert value(await run(sandbox, runtime, source, plugin=plugin, fresh=False)) == 60 << 20
    less = await run(sandbox, runtime, source, plugin=plugin, fresh=False, memory_bytes=48 << 20)
    assert less.status is ExecutionStatus.OUT_OF_MEMORY
    assert less.error is not None
    assert less.error.limit == 48 << 20
    assert value(await run(sandbox, runtime, source, plugin=plugin, fresh=False)) == 60 << 20
    await sandbox.forget(plugin)
