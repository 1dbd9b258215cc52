"""What must hold after every attack: the service answers, another tenant runs, and nothing of the attack is left."""

import asyncio
import time
from dataclasses import dataclass

import psutil

from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox

from .hostile import run, value

NEIGHBOURS = {
    Runtime.PYTHON: "def run(input): return input * 2\n",
    Runtime.JAVASCRIPT: "export const run = (input) => input * 2;\n",
}
PATIENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Stillness:
    """The service while nothing runs: its own descriptors, and its environments."""

    descriptors: int
    environments: int


def _environments(sandbox: Sandbox) -> int:
    found = sandbox.environments()
    return found["idle"] + found["spare"]


def _children(sandbox: Sandbox) -> list[psutil.Process]:
    pid = sandbox._zygote.pid
    return [] if pid is None else psutil.Process(pid).children(recursive=True)


async def still(sandbox: Sandbox) -> Stillness:
    """Wait until nothing runs and every spare stands; every process then is an environment that the pool knows."""
    end = time.monotonic() + PATIENCE_S
    seen: object = None
    while time.monotonic() < end:
        found = sandbox.environments()
        quiet = not found["running"] and not found["starting"] and not found["queued"]
        now = (psutil.Process().num_fds(), _environments(sandbox), len(_children(sandbox)))
        if quiet and now == seen and now[1] == now[2]:
            return Stillness(now[0], now[1])
        seen = now
        await asyncio.sleep(0.03)
    raise AssertionError(
        f"the sandbox did not come to rest: {sandbox.environments()}, {len(_children(sandbox))} processes"
    )


async def unharmed_since(sandbox: Sandbox, before: Stillness) -> None:
    """Raise AssertionError unless all is as it was, and other tenants are served."""
    for runtime, source in NEIGHBOURS.items():
        assert value(await run(sandbox, runtime, source, input=21, tenant="globex")) == 42
    after = await still(sandbox)
    assert after.descriptors - before.descriptors <= 3 * max(0, after.environments - before.environments)
    for process in _children(sandbox):
        assert process.net_connections("inet") == []
        assert all(file.path.endswith(".cwasm") for file in process.open_files())
        assert process.num_fds() <= 2  # its socket, and what new instances are mapped from
        assert process.num_threads() == 1
