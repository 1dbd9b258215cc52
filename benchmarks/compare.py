"""Measures Plugyard beside the classic alternative, in one run.

The alternative is Node with Fastify, isolated-vm and one PostgreSQL insert for each call.

    uv run python -m benchmarks.compare            # some minutes; fetches the alternative's packages from npm once
    uv run python -m benchmarks.compare --json

Plugyard authenticates each call, runs it behind two walls and answers when its record is durable; the alternative
checks no key and has V8 as its only wall. Both have a PostgreSQL of the same kind and the same load generator.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import uvloop

from benchmarks.service import Caller, Make, Service, many_callers, one_caller, plugin
from plugyard.infrastructure.embedded.server import EmbeddedPostgres

PEER = Path(__file__).resolve().parent / "peer"
CODE = "export const add = (input) => input.a + input.b;\n"
ROUNDS = 3


class Peer:
    """The alternative, in a process of its own, with a PostgreSQL of its own."""

    def __init__(self) -> None:
        self.data = Path(tempfile.mkdtemp(prefix="plugyard-peer-"))
        self.data.chmod(0o755)
        self.postgres = EmbeddedPostgres(self.data)

    async def start(self) -> None:
        """Install its packages where they are missing, and start it."""
        urls = await self.postgres.start()
        await asyncio.to_thread(self._start, urls.owner_url)

    def _start(self, database_url: str) -> None:
        programs = Path(sys.executable).parent
        environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
        if not (PEER / "node_modules").is_dir():
            command = [str(programs / "npm"), "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
            subprocess.run(command, cwd=PEER, env=environment, check=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        environment |= {"PEER_DATABASE_URL": database_url, "PEER_PORT": str(self.port), "NODE_ENV": "production"}
        command = [str(programs / "node"), "--no-node-snapshot", "server.mjs"]
        # The wheel's node is a script that starts the real one, so the whole session is ended at the end.
        self.process = subprocess.Popen(
            command, cwd=PEER, env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        if self.process.stdout is None or self.process.stdout.readline().strip() != b"ready":
            raise SystemExit("the alternative did not start")

    async def stop(self) -> None:
        """End it, and remove what it left."""
        os.killpg(self.process.pid, signal.SIGTERM)
        await asyncio.to_thread(self.process.wait, 10)
        await self.postgres.stop()
        shutil.rmtree(self.data, ignore_errors=True)

    def caller(self, path: str) -> Caller:
        """A connection that asks one of its two endpoints."""
        body = b'{"function":"add","input":{"a":1,"b":2}}'
        head = f"POST {path} HTTP/1.1\r\nHost: peer\r\nContent-Type: application/json\r\n"
        return Caller(("127.0.0.1", self.port), f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


async def measured(make: Make, calls: int, seconds: float, callers: int) -> tuple[float, float]:
    """The p50 in milliseconds of one caller, and the executions a second of many."""
    samples = await one_caller(make, calls)
    rate, _ = await many_callers(make, callers, seconds)
    return statistics.median(samples), rate


async def compare() -> dict[str, dict[str, dict[str, float]]]:
    """Both, warm and fresh, in turn; the medians of the rounds."""
    service, peer = Service(), Peer()
    service.start()
    await peer.start()
    try:
        ids = {
            "warm": service.upload(plugin("compare-warm", "javascript", CODE, "index.js")),
            "fresh": service.upload(
                plugin("compare-fresh", "javascript", CODE, "index.js", security={"isolation": "fresh"})
            ),
        }
        found: dict[str, dict[str, list[tuple[float, float]]]] = {}
        for _ in range(ROUNDS):
            for mode, calls in (("warm", 1500), ("fresh", 300)):
                for name, make in (
                    ("plugyard", partial(service.caller, ids[mode])),
                    ("isolated-vm", partial(peer.caller, f"/{mode}")),
                ):
                    figures = await measured(make, calls, 4, 32)
                    found.setdefault(mode, {}).setdefault(name, []).append(figures)
        return {
            mode: {
                name: {
                    "p50_ms": statistics.median(figure[0] for figure in figures),
                    "per_second": statistics.median(figure[1] for figure in figures),
                }
                for name, figures in by_name.items()
            }
            for mode, by_name in found.items()
        }
    finally:
        await peer.stop()
        service.stop()
        service.remove()


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    figures = uvloop.run(compare())
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    print(f"{'':8}{'':14}{'one caller, p50':>18}{'32 callers':>16}")
    for mode, by_name in figures.items():
        for name, values in by_name.items():
            print(f"{mode:8}{name:14}{values['p50_ms']:15.2f} ms{values['per_second']:14,.0f}/s")
        ours, theirs = by_name["plugyard"], by_name["isolated-vm"]
        slower, fewer = ours["p50_ms"] / theirs["p50_ms"], ours["per_second"] / theirs["per_second"]
        print(f"{mode:8}{'ratio':14}{slower:15.2f} x {fewer:14.2f} x")


if __name__ == "__main__":
    main()
