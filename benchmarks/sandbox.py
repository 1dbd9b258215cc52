"""What the sandbox costs without HTTP: cold, spare and warm executions of both runtimes, and parallel throughput.

Run: python benchmarks/sandbox.py [GUESTS_FOLDER]. It shows the wall time of `Sandbox.execute`, and the CPU time that a
warm call costs the service.
"""

import asyncio
import json
import statistics
import sys
import time
from pathlib import Path

import platformdirs

from plugyard.application.ports import Invocation, Outcome
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.limits import LimitPolicy
from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import build_guests
from plugyard.sandbox.outside.pool import PoolSettings

SOURCES = {
    Runtime.PYTHON: {
        "entry": "main.py",
        "files": {"main.py": "def handle(input, context):\n    return input['a'] + 1\n"},
    },
    Runtime.JAVASCRIPT: {
        "entry": "index.ts",
        "files": {"index.ts": "export const handle = (input: {a: number}) => input.a + 1;\n"},
    },
}


async def run(sandbox: Sandbox, runtime: Runtime, plugin: str) -> Outcome:
    """One execution; a plugin's name that was not used before needs an environment of its own."""

    async def bundle() -> bytes:
        return json.dumps(SOURCES[runtime]).encode()

    invocation = Invocation(
        execution_id=f"{time.perf_counter_ns()}",
        tenant_id="tenant",
        plugin_id=plugin,
        version="1.0.0",
        digest=runtime.value,
        runtime=runtime,
        function="handle",
        input=b'{"a": 1}',
        context=b'{"tenantId": "tenant"}',
        limits=LimitPolicy().effective(),
        grants=(),
        fresh=False,
        bundle=bundle,
    )
    outcome = await sandbox.execute(invocation)
    if outcome.status is not ExecutionStatus.SUCCEEDED:
        raise RuntimeError(f"{outcome.error}")
    return outcome


async def measure(sandbox: Sandbox, runtime: Runtime, label: str, pause_s: float) -> None:
    """Starts of new environments."""
    taken = []
    for number in range(20):
        await asyncio.sleep(pause_s)
        began = time.perf_counter()
        outcome = await run(sandbox, runtime, f"{label}{number}")
        taken.append((time.perf_counter() - began) * 1000)
        memory = outcome.usage.peak_memory_bytes
        await sandbox.forget(f"{label}{number}")
    took = f"p50 {statistics.median(taken):6.2f} ms"
    print(f"{runtime:11} {label:6} {took}   memory {memory / 1e6:.1f} MB ({outcome.usage.start})")


async def main() -> None:
    """Print the table."""
    default = Path(platformdirs.user_cache_dir("plugyard", appauthor=False)) / "guests"
    guests = await build_guests(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
    for spares, label, pause_s in ((0, "cold", 0.0), (2, "spare", 0.15)):
        sandbox = Sandbox(guests, PoolSettings(spares=spares))
        began = time.perf_counter()
        await sandbox.start()
        print(f"started in {(time.perf_counter() - began) * 1000:.0f} ms with {spares} spares of each runtime")
        for runtime in SOURCES:
            await measure(sandbox, runtime, label, pause_s)
        if spares:
            for runtime in SOURCES:
                await warm(sandbox, runtime)
        await sandbox.close()


async def warm(sandbox: Sandbox, runtime: Runtime) -> None:
    """Calls of a plugin that is loaded: one caller, then 32."""
    await run(sandbox, runtime, "warm")
    taken = []
    cpu = time.process_time()
    for _ in range(1000):
        began = time.perf_counter()
        await run(sandbox, runtime, "warm")
        taken.append((time.perf_counter() - began) * 1000)
    cpu = (time.process_time() - cpu) / len(taken) * 1000
    print(f"{runtime:11} warm   p50 {statistics.median(taken):6.2f} ms   service CPU {cpu:.3f} ms a call")

    async def caller() -> None:
        for _ in range(60):
            await run(sandbox, runtime, "warm")

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(32)))
    rate = 32 * 60 / (time.perf_counter() - began)
    print(f"{runtime:11} 32 callers: {rate:.0f} executions a second, {dict(sandbox.environments())}")


if __name__ == "__main__":
    asyncio.run(main())
