"""Native code that holds an environment against the service: whatever it says ends its own execution and no other."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from plugyard.application.ports import ExampleRun, Rehearsal
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings

from . import impostor
from .aftermath import PATIENCE_S
from .hostile import LIMITS, bundle, run, value

NEIGHBOUR = "export const run = (input) => input * 2;\n"
# What an execution that ends well says is the plugin's own business: it may say anything that has the right form.
MAY_SUCCEED = {name for name in impostor.LIES if name.startswith(("a call", "tickets", "one byte", "done"))}


@pytest.fixture(scope="module")
async def sandbox(guests: Guests) -> AsyncIterator[Sandbox]:
    """A sandbox whose Python environments lie."""
    sandbox = Sandbox(guests, PoolSettings(spares=1, max_environments=6))
    _, *artefacts = [argument for argument in sandbox._zygote._argv if argument != "-m"]
    sandbox._zygote._argv = (str(Path(impostor.__file__)), *artefacts)
    await sandbox.start()
    yield sandbox
    await sandbox.close()


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


@pytest.mark.parametrize("lie", impostor.LIES)
async def test_a_lie_ends_one_execution(sandbox: Sandbox, lie: str) -> None:
    zygotes, before = sandbox._zygote.starts, resident()
    outcome = await run(sandbox, Runtime.PYTHON, f"# {lie}", input=lie, timeout_ms=1000)
    if outcome.status is ExecutionStatus.SUCCEEDED:
        assert lie in MAY_SUCCEED
        assert outcome.output == b'"forged"'
    else:
        assert outcome.error is not None
        assert len(outcome.error.message) < 70_000
    assert len(outcome.logs) <= 51
    assert resident() - before < 32 << 20
    await unharmed(sandbox)
    assert sandbox._zygote.starts == zygotes


@pytest.mark.parametrize("lie", ["ready again", "a length without end", "a frame that nests", "a fork"])
async def test_a_breach_is_on_record(sandbox: Sandbox, lie: str) -> None:
    outcome = await run(sandbox, Runtime.PYTHON, f"# {lie}", input=lie, timeout_ms=1000)
    assert outcome.status is ExecutionStatus.CRASHED
    assert outcome.error is not None
    assert outcome.error.code == "protocol_violation"
    assert [violation.kind for violation in outcome.violations] == ["protocol"]


@pytest.mark.parametrize("lie", ["ready again", "a frame that nests", "calls without end", "a call of another tenant"])
async def test_a_liar_that_is_rehearsed_ends_with_its_example_and_is_on_record(sandbox: Sandbox, lie: str) -> None:
    code = f"# {lie}, rehearsed"
    (answer,) = await sandbox.rehearse(
        Rehearsal(
            "acme",
            hashlib.sha256(code.encode()).hexdigest(),
            "1.0.0",
            Runtime.PYTHON,
            bundle(Runtime.PYTHON, code),
            (ExampleRun("e", "acme", "liar", "run", json.dumps(lie).encode(), b"{}"),),
            LIMITS,
            3_000,
        )
    )
    assert answer.outcome is not None
    assert answer.outcome.violations or answer.outcome.error is not None or lie == "a call of another tenant"
    if lie in ("ready again", "a frame that nests"):
        assert [violation.kind for violation in answer.outcome.violations] == ["protocol"]
    await unharmed(sandbox)


async def test_a_call_gets_the_grant_of_the_services_record(sandbox: Sandbox) -> None:
    lie = "a call of another tenant"
    outcome = await run(sandbox, Runtime.PYTHON, f"# {lie}", input=lie)
    assert [violation.kind for violation in outcome.violations] == ["permission_denied"]


async def test_a_liar_that_is_kept_warm_is_not_met_by_others(sandbox: Sandbox) -> None:
    lie = "done twice"
    first = await run(sandbox, Runtime.PYTHON, "# warm", input=lie, plugin="liar", fresh=False, timeout_ms=1000)
    second = await run(
        sandbox, Runtime.PYTHON, "# warm", input="one byte at a time", plugin="liar", fresh=False, timeout_ms=1000
    )
    assert first.status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.CRASHED)
    assert second.usage.start != "warm"
    await sandbox.forget("liar")
    await unharmed(sandbox)


async def test_fifty_lies_at_once_leave_the_neighbour_its_answers(sandbox: Sandbox) -> None:
    names = [name for name in impostor.LIES if name not in ("silence", "calls without end")]
    lies = [
        asyncio.create_task(run(sandbox, Runtime.PYTHON, f"# {name}", input=name, timeout_ms=500))
        for name in (names * 2)[:50]
    ]
    for turn in range(20):
        assert value(await run(sandbox, Runtime.JAVASCRIPT, NEIGHBOUR, input=turn, tenant="globex")) == turn * 2
    await asyncio.gather(*lies)
    await unharmed(sandbox)


async def unharmed(sandbox: Sandbox) -> None:
    """Another tenant is served, and no process is left that the pool does not know."""
    assert value(await run(sandbox, Runtime.JAVASCRIPT, NEIGHBOUR, input=21, tenant="globex")) == 42
    pid = sandbox._zygote.pid
    assert pid is not None
    for _ in range(int(PATIENCE_S / 0.03)):
        found = sandbox.environments()
        children = psutil.Process(pid).children(recursive=True)
        if not found["running"] and not found["starting"] and len(children) == found["idle"] + found["spare"]:
            break
        await asyncio.sleep(0.03)
    else:
        raise AssertionError(f"processes are left: {found}, {children}")
    assert all(
        process.net_connections("inet") == [] and all(file.path.endswith(".cwasm") for file in process.open_files())
        for process in children
    )
