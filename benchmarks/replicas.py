"""Compares the throughput of two replicas with that of one of them, on the real stack, side by side in one run.

    uv run python -m benchmarks.replicas           # about two minutes; starts a stack of its own
    uv run python -m benchmarks.replicas --json

PostgreSQL, Valkey, S3, the broker, the relay and both replicas run all the time; the same number of callers executes at
the first replica alone, at the second alone, and half of them at each, in turns. A ratio is that of one round: both
together over the better of the two alone. Where one replica keeps all cores busy, two can do no more; what they lose is
what they share and wait for.
"""

import argparse
import asyncio
import json
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path

import httpx
import uvloop

from benchmarks.service import Service, many_callers, plugin
from plugyard.bootstrap.stack.running import Shape, Stack


class Replica(Service):
    """A replica of the stack, as its callers meet it."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=120)


async def _rates(replicas: list[Replica], plugin_id: str, callers: int, seconds: float) -> float:
    """Executions a second of all that are asked together."""
    share = callers // len(replicas)
    made = [many_callers(partial(one.caller, plugin_id), share, seconds) for one in replicas]
    return sum(rate for rate, _ in await asyncio.gather(*made))


async def _measured(stack: Stack, rounds: int, seconds: float, callers: int) -> list[dict[str, float]]:
    replicas = [Replica(stack.parts[f"replica {number}"].at, stack.plan.admin_key) for number in (1, 2)]
    plugin_id = await asyncio.to_thread(replicas[0].upload, plugin("adder"))
    kinds = {"first": replicas[:1], "second": replicas[1:], "both": replicas}
    for asked in kinds.values():
        await _rates(asked, plugin_id, callers, 2)
    found = []
    for number in range(rounds):
        # Whoever comes last in a round meets what the others have left to do, so the order changes.
        names = list(kinds)[number % 3 :] + list(kinds)[: number % 3]
        found.append({name: await _rates(kinds[name], plugin_id, callers, seconds) for name in names})
    return found


async def _run(folder: Path, rounds: int, seconds: float, callers: int) -> list[dict[str, float]]:
    quotas = ("--rate-executions-per-key", "100000000", "--rate-executions-per-tenant", "100000000")
    stack = Stack(folder, Shape(replicas=2, workers=1), flags=quotas)
    await stack.start()
    try:
        return await _measured(stack, rounds, seconds, callers)
    finally:
        await stack.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--callers", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="plugyard-replicas-"))
    try:
        found = uvloop.run(_run(folder, asked.rounds, asked.seconds, asked.callers))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ratios = [one["both"] / max(one["first"], one["second"]) for one in found]
    low, middle, high = statistics.quantiles(ratios, n=4)
    medians = {name: statistics.median(one[name] for one in found) for name in ("first", "second", "both")}
    if asked.json:
        print(json.dumps({"executions_per_s": medians, "ratio": middle, "quartiles": [low, high], "rounds": found}))
        return
    print("| executions a second | median |\n|---|---|")
    print(f"| one replica, the first | {medians['first']:,.0f} |")
    print(f"| one replica, the second | {medians['second']:,.0f} |")
    print(f"| both | {medians['both']:,.0f} |")
    print(f"| both over the better one, by the round | {middle:.2f} ({low:.2f} to {high:.2f}) |")


if __name__ == "__main__":
    main()
