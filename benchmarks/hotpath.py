"""Compares the hot path of this code, everything switched on, with that of another checkout, side by side in one run.

    git worktree add /tmp/before COMMIT && (cd /tmp/before && uv sync)
    uv run python -m benchmarks.hotpath --against /tmp/before

Both services run at the same time and are asked in turns, round by round, so that what else the machine does meets
both. A ratio is that of one round; what is printed is the median of the rounds, with the quartiles. Above 1 this
code is slower (latency, CPU), below 1 it does less (throughput). CPU is that of the serving process and of all that
it started, for one execution of 32 callers; it depends least on what else runs. Everything switched on: the gate
and the rehearsal at the upload, a key narrowed to the one function, rate limits, all five quotas, the audit trail,
sealed secrets, the rescan.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import uvloop

from benchmarks.service import Service, many_callers, one_caller, plugin

ON = (
    *("--rate-executions-per-key", "100000000", "--rate-executions-per-tenant", "100000000"),
    *("--quota-executions-per-minute", "100000000", "--quota-executions-per-day", "1000000000"),
    *("--quota-concurrent-executions", "1000"),
)
JAVASCRIPT = "export function add(input) { return input.a + input.b; }\n"


class Other(Service):
    """The service of another checkout, by the interpreter of its own environment."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def start(self) -> float:
        """Start it as the base does, with its interpreter."""
        import benchmarks.service as base

        own, base.sys = base.sys, _Interpreter(self.folder / ".venv" / "bin" / "python")  # type: ignore[assignment]
        try:
            return super().start()
        finally:
            base.sys = own


class _Interpreter:
    def __init__(self, path: Path) -> None:
        self.executable = str(path)


def _narrowed(service: Service, plugin_id: str) -> None:
    """From now on the service's callers hold a key that may execute the one function, and nothing else."""
    body = {
        "name": "hot path",
        "role": "developer",
        "scopes": [{"actions": ["execute"], "plugin": plugin_id, "functions": ["add"]}],
    }
    made = service.http.post("/api/v1/keys", json=body)
    made.raise_for_status()
    service.key = made.json()["secret"]


def _round(service: Service, plugin_id: str, calls: int, seconds: float) -> dict[str, float]:
    make = partial(service.caller, plugin_id)
    samples = uvloop.run(one_caller(make, calls))
    before = _cpu_s(service)
    rate, counted = uvloop.run(many_callers(make, 32, seconds))
    # The second before the count begins is work as well; the rate tells how much.
    cpu = (_cpu_s(service) - before) * 1e3 / (len(counted) + rate)
    return {"cpu": cpu, "p50": statistics.median(samples), "p95": statistics.quantiles(samples, n=20)[18], "rate": rate}


def _cpu_s(service: Service) -> float:
    """CPU seconds of the service and of everything that it started, what has ended included."""
    total = 0.0
    root = psutil.Process(service.process.pid)
    for one in (root, *root.children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _compared(against: Path, rounds: int, calls: int, seconds: float) -> dict[str, Any]:
    found: dict[str, Any] = {}
    own, other = Service(*ON), Other(against)
    try:
        starts = {"own": own.start(), "other": other.start()}
        for runtime, code, entry in (("python", None, "main.py"), ("javascript", JAVASCRIPT, "index.js")):
            package = plugin(f"hot-{runtime}", runtime, **({"code": code} if code else {}), entry=entry)
            ids = {"own": own.upload(package), "other": other.upload(package)}
            key = own.key
            _narrowed(own, ids["own"])
            kept: list[dict[str, dict[str, float]]] = []
            for number in range(rounds):
                sides = [("own", own), ("other", other)]
                # Who goes first changes, for the second finds the machine warmer.
                both = {
                    name: _round(side, ids[name], calls, seconds) for name, side in sides[:: -1 if number % 2 else 1]
                }
                kept.append(both)
            own.key = key
            found[runtime] = kept
        own.stop()
        other.stop()
        starts = {"own": own.start(), "other": other.start()}
        found["later start"] = starts
        return found
    finally:
        for service in (own, other):
            service.stop()
            service.remove()


def main() -> None:
    """Run it and print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, required=True, help="another checkout, with its .venv")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--calls", type=int, default=600, help="calls of the lone caller in a round")
    parser.add_argument("--seconds", type=float, default=2.0, help="of 32 callers in a round")
    parser.add_argument("--json", action="store_true", help="print JSON")
    asked = parser.parse_args()
    found = _compared(asked.against.resolve(), asked.rounds, asked.calls, asked.seconds)
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    commit = subprocess.run(
        ["git", "-C", str(asked.against), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    print(f"against {commit or asked.against}, {asked.rounds} rounds; medians, and the quartiles of the ratio")
    for runtime in ("python", "javascript"):
        for name, unit in (("p50", "ms"), ("p95", "ms"), ("cpu", "ms"), ("rate", "/s")):
            own = [one["own"][name] for one in found[runtime]]
            other = [one["other"][name] for one in found[runtime]]
            ratios = [a / b for a, b in zip(own, other, strict=True)]
            low, middle, high = statistics.quantiles(ratios, n=4)
            print(
                f"{runtime:10}  {name:4}  {statistics.median(own):8.2f} {unit}  before {statistics.median(other):8.2f} "
                f"{unit}  ratio {middle:.3f}  ({low:.3f} to {high:.3f})"
            )
    starts = found["later start"]
    print(f"later start  {starts['own']:.2f} s  before {starts['other']:.2f} s")


if __name__ == "__main__":
    main()
