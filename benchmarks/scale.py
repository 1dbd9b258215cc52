"""Measures the store on a database as a large installation has it, and says which statement misses its bound.

    uv run python -m benchmarks.scale                              # loads it (some minutes), then measures
    uv run python -m benchmarks.scale --data FOLDER --keep         # keeps what was loaded, to measure it again
    uv run python -m benchmarks.scale --small                      # as the test runs it

Every call goes through `PostgresStore`, over the service's own role. A statement that reads a table of 10,000 rows or
more from one end to the other is a failure, however quick it was. Ends with 1 where anything missed its bound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import uuid_utils

from benchmarks.plans import Witness
from benchmarks.scaledata import Size, a_manifest, load, small
from benchmarks.scalequeries import BY_ID_MS, Calls, Measured, samples
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion
from plugyard.domain.report import Report
from plugyard.infrastructure.embedded.roles import SERVICE
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.postgres.urls import Urls

_SEALS = ("1:" + "A" * 43 + "=",)


@dataclass(frozen=True)
class Figure:
    """One figure beside its bound; milliseconds or a number for each second, as the name says."""

    name: str
    median: float
    p95: float
    best: float
    bound: float
    kept: bool


@dataclass
class Result:
    """All figures of a run, and the statements that read large tables whole."""

    size: Size
    loaded: dict[str, float]
    figures: list[Figure] = field(default_factory=list)
    scans: list[str] = field(default_factory=list)

    @property
    def missed(self) -> list[str]:
        """What is not as promised."""
        return [one.name for one in self.figures if not one.kept] + [f"sequential scan: {one}" for one in self.scans]


async def _timed(measured: Measured, rounds: int) -> Figure:
    took = []
    # Of what is quick there are more calls, so that its 95th percentile is not its slowest.
    if measured.bound_ms <= BY_ID_MS:
        rounds *= 5
    for _ in range(rounds):
        for call in measured.calls:
            begin = time.perf_counter()
            await call()
            took.append((time.perf_counter() - begin) * 1e3)
    took.sort()
    p95 = took[math.ceil(0.95 * len(took)) - 1]
    figures = (statistics.median(took), p95, took[0])
    return Figure(measured.name, *(round(one, 2) for one in figures), measured.bound_ms, p95 <= measured.bound_ms)


async def measure(urls: Urls, size: Size, loaded: dict[str, float], rounds: int) -> Result:
    """Runs every call so many times for each sample, and looks at the plans of all statements that it met."""
    result = Result(size, loaded)
    store = PostgresStore(urls.service_url, Seals(_SEALS))
    await store.open()
    try:
        calls = Calls(store, samples(urls.owner_url))
        measured = [*calls.by_id(), *calls.whole(), *(await calls.pages())]
        witness = Witness()
        with witness.watching():
            for one in measured:
                for call in one.calls:
                    await call()
        for one in measured:
            result.figures.append(await _timed(one, rounds))
        plans = await asyncio.to_thread(witness.plans, urls.service_url, urls.owner_url)
        result.scans = sorted(f"{plan.title}: {', '.join(plan.scanned)}" for plan in plans if plan.scanned)
        result.figures.append(await _registration(store, calls.given[-1].tenant, size))
        result.figures += await _retention(store, size)
    finally:
        await store.close()
    return result


async def _registration(store: PostgresStore, tenant_id: str, size: Size) -> Figure:
    """Plugins that are registered in a second, a thousand in one transaction; the median of some rounds."""
    count, rates = min(1_000, size.plugins), []
    for round_ in range(5):
        given = [_plugin(tenant_id, round_ * count + number, datetime.now(UTC)) for number in range(count)]
        begin = time.perf_counter()
        async with store.for_tenant(tenant_id) as tx:
            await tx.add_plugins(given)
        rates.append(count / (time.perf_counter() - begin))
    rates.sort()
    median = statistics.median(rates)
    return Figure(
        "plugins registered a second", round(median), round(rates[0]), round(rates[-1]), 1_000, median >= 1_000
    )


def _plugin(tenant_id: str, number: int, at: datetime) -> tuple[Plugin, PluginVersion]:
    plugin_id, version_id = str(uuid_utils.uuid7()), str(uuid_utils.uuid7())
    manifest = a_manifest(1_000_000 + number, "1.0.0")
    name = f"bulk-{plugin_id}"
    digest = f"sha256:{version_id}"
    report = Report((), digest, "zip", 4_000, 9_000, 3, 1.5)
    version = PluginVersion(version_id, tenant_id, plugin_id, manifest, digest, report, ("run",), at)
    return Plugin(plugin_id, tenant_id, name, PluginState.VALIDATED, version_id, at, at), version


async def _retention(store: PostgresStore, size: Size) -> list[Figure]:
    """How long it takes until a day of executions and logs is gone, day by day."""
    took = []
    for kept in range(size.days - 1, max(size.days - 4, 1), -1):
        begin = time.perf_counter()
        gone = await store.clean_up(timedelta(days=kept), timedelta(days=kept))
        if gone.execution_days:
            took.append((time.perf_counter() - begin) * 1e3 / gone.execution_days)
    took.sort()
    if not took:
        return []
    figures = (round(statistics.median(took), 1), round(took[-1], 1), round(took[0], 1))
    return [Figure("retention drops a day, ms", *figures, 1_000, took[-1] < 1_000)]


def _reachable(data: Path) -> None:
    data.mkdir(parents=True, exist_ok=True)
    # The server's own account has to reach it.
    data.chmod(0o755)


async def run(data: Path, size: Size, rounds: int) -> Result:
    """Loads the database where that was not done, measures, and ends the server."""
    await asyncio.to_thread(_reachable, data)
    server = EmbeddedPostgres(data)
    urls = await server.start()
    try:
        await migrate(urls.owner_url, SERVICE)
        with psycopg.connect(urls.owner_url, options="-c plugyard.operator=on") as owner:
            there = owner.execute("select exists (select from plugyard.tenants)").fetchone()
        loaded = {}
        if not (there and there[0]):
            loaded = await asyncio.to_thread(load, urls.owner_url, size, lambda said: print(said, file=sys.stderr))
        return await measure(urls, size, loaded, rounds)
    finally:
        await server.stop()


def _table(result: Result) -> str:
    lines = [f"{'call':<48} {'median':>9} {'p95':>9} {'best':>9} {'bound':>7}"]
    for one in result.figures:
        mark = "" if one.kept else "  MISSED"
        lines.append(f"{one.name:<48} {one.median:>9} {one.p95:>9} {one.best:>9} {one.bound:>7g}{mark}")
    lines += [f"sequential scan: {one}" for one in result.scans]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="where the database is, or is made")
    parser.add_argument("--keep", action="store_true", help="leave the database there")
    parser.add_argument("--small", action="store_true", help="20,000 executions")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    for name in ("tenants", "plugins", "executions", "days"):
        parser.add_argument(f"--{name}", type=int)
    asked = parser.parse_args(arguments)
    size = small() if asked.small else Size()
    given = {name: getattr(asked, name) for name in ("tenants", "plugins", "executions", "days")}
    size = replace(size, **{name: value for name, value in given.items() if value is not None})
    data = asked.data or Path(tempfile.mkdtemp(prefix="plugyard-scale-", dir="/var/tmp"))
    try:
        result = asyncio.run(run(data, size, asked.rounds))
    finally:
        if not asked.keep:
            shutil.rmtree(data, ignore_errors=True)
    print(json.dumps({**asdict(result), "missed": result.missed}) if asked.json else _table(result))
    return 1 if result.missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
