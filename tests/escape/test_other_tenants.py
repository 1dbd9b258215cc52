"""Code in a guest against another tenant: no environment, no memory and no name is ever shared."""

import asyncio

import pytest

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox

from .hostile import run, value

pytestmark = pytest.mark.usefixtures("unharmed")

KEEP = {
    Runtime.PYTHON: "kept = []\ndef run(input):\n    kept.append(input)\n    return kept\n",
    Runtime.JAVASCRIPT: "const kept = [];\nexport const run = (input) => { kept.push(input); return kept; };\n",
}
SEARCH = """
import gc
def run(input):
    secret = "-".join(["correct", "horse"])
    return sum(isinstance(o, (list, dict, tuple)) and secret in repr(o)[:1_000_000] for o in gc.get_objects())
"""


@pytest.mark.parametrize("runtime", list(KEEP))
async def test_the_same_bytes_of_another_tenant_run_elsewhere(sandbox: Sandbox, runtime: Runtime) -> None:
    async def keep(tenant: str, secret: str) -> list[str]:
        found: list[str] = value(
            await run(sandbox, runtime, KEEP[runtime], plugin="same-id", tenant=tenant, fresh=False, input=secret)
        )
        return found

    assert await keep("acme", "a") == ["a"]
    assert await keep("globex", "b") == ["b"]
    assert await keep("acme", "c") == ["a", "c"]
    await sandbox.forget("same-id")


async def test_a_new_environment_holds_nothing_of_those_before_it(sandbox: Sandbox) -> None:
    for _ in range(3):
        await run(sandbox, Runtime.PYTHON, KEEP[Runtime.PYTHON], input=["correct-horse" * 1000])
    assert value(await run(sandbox, Runtime.PYTHON, SEARCH, tenant="globex")) == 0


async def test_a_tenants_loops_leave_another_tenant_its_turn(sandbox: Sandbox) -> None:
    loops = [
        asyncio.create_task(run(sandbox, Runtime.PYTHON, "def run():\n    while True: pass\n", timeout_ms=1500))
        for _ in range(6)
    ]
    await asyncio.sleep(0.3)
    began = asyncio.get_running_loop().time()
    for turn in range(5):
        assert (
            value(await run(sandbox, Runtime.PYTHON, "def run(input): return input\n", input=turn, tenant="globex"))
            == turn
        )
    assert asyncio.get_running_loop().time() - began < 1.2
    assert {(await loop).status for loop in loops} == {ExecutionStatus.TIMED_OUT}


async def test_an_execution_is_not_found_by_guessing_names(sandbox: Sandbox) -> None:
    assert not sandbox.cancel("globex")
    assert not sandbox.cancel("")
