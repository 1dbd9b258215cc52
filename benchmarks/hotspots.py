"""Where many meet at one place: recorders of several replicas, writers of one trail, and tenants on shards.

    uv run python -m benchmarks.hotspots

Starts a PostgreSQL of its own. The shards are a simulation; everything else is measured.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import uuid_utils

from benchmarks.scaledata import a_manifest
from plugyard.application.ports import AuditEntry
from plugyard.domain.execution import Execution, ExecutionStatus, Usage
from plugyard.domain.identity import Tenant
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion
from plugyard.domain.report import Report
from plugyard.infrastructure.embedded.roles import SERVICE
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore

_SECONDS, _ROUNDS = 2.0, 3


def an_id() -> str:
    """A UUID of version 7."""
    return str(uuid_utils.uuid7())


async def per_second(work: Callable[[int], Awaitable[None]], writers: int) -> float:
    """How often so many writers together do a work in a second: the median of some rounds."""
    rates = []
    for _ in range(_ROUNDS):
        done, end = 0, time.perf_counter() + _SECONDS

        async def one(number: int, until: float = end) -> int:
            count = 0
            while time.perf_counter() < until:
                await work(number)
                count += 1
            return count

        done = sum(await asyncio.gather(*map(one, range(writers))))
        rates.append(done / _SECONDS)
    return statistics.median(rates)


async def tenants_with_a_plugin(store: PostgresStore, count: int) -> list[Plugin]:
    """Tenants that are stored, each with one plugin."""
    made = []
    for number in range(count):
        now, tenant_id, plugin_id, version_id = datetime.now(UTC), an_id(), an_id(), an_id()
        report = Report((), f"sha256:{version_id}", "zip", 4_000, 9_000, 3, 1.5)
        manifest = a_manifest(number, "1.0.0")
        version = PluginVersion(version_id, tenant_id, plugin_id, manifest, report.digest, report, ("run",), now)
        plugin = Plugin(plugin_id, tenant_id, manifest.name, PluginState.ACTIVE, version_id, now, now)
        async with store.for_operator() as operator:
            await operator.add_tenant(Tenant(tenant_id, f"tenant-{tenant_id}", "A tenant", now))
        async with store.for_tenant(tenant_id) as tx:
            await tx.add_plugin(plugin, version)
        made.append(plugin)
    return made


def an_execution(plugin: Plugin) -> Execution:
    """An execution as most are."""
    now = datetime.now(UTC)
    return Execution(
        an_id(), plugin.tenant_id, plugin.id, "1.0.0", "run", ExecutionStatus.SUCCEEDED, now, now,
        Usage(1.6, 0.8, 6_291_456, 1, "warm"), None, "key:1", "request-1", 170, 420,
    )  # fmt: skip


async def measured(store: PostgresStore, url: str) -> None:
    """Prints what the recorders and the trails reach."""
    plugins = await tenants_with_a_plugin(store, 16)
    for replicas in (1, 2, 4):
        recorders = [PostgresRecorder(url) for _ in range(replicas)]
        for recorder in recorders:
            await recorder.open()

        async def record(number: int, given: list[PostgresRecorder] = recorders) -> None:
            await given[number % len(given)].record(an_execution(plugins[0]), [], [], [])

        rate = await per_second(record, 64)
        print(f"recorded a second, {replicas} recorders, 64 writers, one plugin: {rate:,.0f}")
        for recorder in recorders:
            await recorder.close()
    for chains in (1, 16):

        async def entry(number: int, of: int = chains) -> None:
            tenant_id = plugins[number % of].tenant_id
            async with store.for_tenant(tenant_id) as tx:
                now = datetime.now(UTC)
                await tx.audit(AuditEntry(an_id(), tenant_id, now, "key:1", "plugin.upload", "plugin:1", {}, "r"))

        print(f"entries of the trail a second, 16 writers, {chains} chains: {await per_second(entry, 16):,.0f}")
    begin = time.perf_counter()
    counted = await store.fold_executions()
    print(f"executions folded a second: {counted / (time.perf_counter() - begin):,.0f} ({counted:,})")


def simulated() -> None:
    """Prints how much more than its share the fullest shard has, where the largest tenants have most."""
    for tenants in (500, 10_000, 100_000):
        # The share of the tenant of rank n, as in `scaledata.py`: the largest of 500 has a fifth.
        edges = [(n / tenants) ** 0.25 for n in range(tenants + 1)]
        weights = [after - before for before, after in pairwise(edges)]
        for shards in (4, 16, 64):
            plain = [0.0] * shards
            for rank, weight in enumerate(weights):
                plain[int(hashlib.sha256(f"tenant-{rank}".encode()).hexdigest(), 16) % shards] += weight
            # The largest tenants are placed by hand, each on the emptiest shard; the rest goes by its hash.
            placed = [0.0] * shards
            for rank, weight in enumerate(weights):
                by_hand = rank < 4 * shards
                where = placed.index(min(placed)) if by_hand else 0
                if not by_hand:
                    where = int(hashlib.sha256(f"tenant-{rank}".encode()).hexdigest(), 16) % shards
                placed[where] += weight
            print(
                f"{tenants:>7,} tenants on {shards:>2} shards: largest tenant {weights[0]:.1%}; fullest shard to mean "
                f"{max(plain) * shards:.2f} by hash, {max(placed) * shards:.2f} with {4 * shards} tenants placed"
            )


async def main() -> None:
    """Measures, then simulates."""
    with tempfile.TemporaryDirectory(prefix="plugyard-hotspots-", dir="/var/tmp") as folder:
        await asyncio.to_thread(Path(folder).chmod, 0o755)
        server = EmbeddedPostgres(Path(folder))
        urls = await server.start()
        store = PostgresStore(urls.service_url, Seals(("1:" + "A" * 43 + "=",)))
        try:
            await migrate(urls.owner_url, SERVICE)
            await store.open()
            await measured(store, urls.service_url)
        finally:
            await store.close()
            await server.stop()
    simulated()


if __name__ == "__main__":
    asyncio.run(main())
