"""Workers on a real PostgreSQL: woken at once, each execution by one of them, and by another where one dies."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from plugyard.domain.errors import StoreUnavailable
from plugyard.domain.plugin import Plugin
from plugyard.domain.queue import Delivery, QueuedExecution, QueueState
from plugyard.infrastructure.queue.jobs import BatchedJobs
from plugyard.infrastructure.queue.worker import Worker
from tests.contract.given import a_stored_plugin, a_tenant, an_execution
from tests.contract.test_queue import an_end, an_entry_of
from tests.integration.conftest import Database

ROOT = Path(__file__).resolve().parents[3]


class Bench:
    """A plugin, workers for its executions, and what they began."""

    def __init__(self, database: Database, plugin: Plugin) -> None:
        self.database, self.plugin = database, plugin
        self.began: list[tuple[str, float]] = []
        self.cancelled: list[str] = []
        self.hold = asyncio.Event()
        self.hold.set()
        self.failing = 0

    async def work(self, entry: QueuedExecution) -> None:
        """Record that it ran."""
        self.began.append((entry.id, time.monotonic()))
        if self.failing:
            self.failing -= 1
            raise RuntimeError("nobody expected this")
        await self.hold.wait()
        state = QueueState.QUEUED if entry.id in self.cancelled else QueueState.ENDED
        end = an_end(entry, state, due_at=datetime.now(UTC) if state is QueueState.QUEUED else None)
        await self.database.recorder.record(an_execution(self.plugin, id=entry.id), [], [], [], end)

    def cancel(self, execution_id: str) -> None:
        """End what is held."""
        self.cancelled.append(execution_id)
        self.hold.set()

    @asynccontextmanager
    async def worker(self, **how: Any) -> AsyncIterator[Worker]:
        """A worker that runs."""
        worker = Worker(
            self.database.urls.service_url,
            self.work,
            cancel=self.cancel,
            cut=self.cancel,
            **{"concurrency": 4, "per_plugin": 0, "beat_s": 0.3, "silent_s": 1.5, **how},
        )
        await worker.open()
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            await worker.stop(5.0)
            await running
            await worker.close()

    async def queue(self, count: int = 1) -> list[str]:
        """Queue so many; their ids."""
        entries = [an_entry_of(self.plugin) for _ in range(count)]
        for first in range(0, count, 100):
            async with self.database.store.for_tenant(self.plugin.tenant_id) as tx:
                for entry in entries[first : first + 100]:
                    await tx.enqueue(entry)
        return [one.id for one in entries]

    def recorded(self) -> int:
        """How many records there are."""
        with self.database.as_owner() as owner:
            rows = owner.execute("select count(*) from plugin_executions where plugin_id = %s", [self.plugin.id])
            return int(rows.fetchone()[0])  # type: ignore[index]


async def until(holds: Callable[[], bool], within_s: float = 20.0) -> None:
    """Wait until something holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, "it did not come to hold in time"
        await asyncio.sleep(0.02)


@pytest.fixture
async def bench(database: Database) -> Bench:
    with database.as_owner() as owner:
        owner.execute("delete from queued_executions")
        owner.execute("delete from plugyard_queue.procrastinate_jobs")
        owner.execute("delete from plugyard_queue.procrastinate_workers")
    return Bench(database, await a_stored_plugin(database.store, (await a_tenant(database.store)).id))


async def test_a_worker_that_waits_is_woken_at_once(bench: Bench) -> None:
    async with bench.worker():
        await asyncio.sleep(1.0)
        waits = []
        for _ in range(10):
            queued_at = time.monotonic()
            (execution_id,) = await bench.queue()
            await until(lambda execution_id=execution_id: bench.began[-1:] != [] and bench.began[-1][0] == execution_id)  # type: ignore[misc]
            waits.append(bench.began[-1][1] - queued_at)
    # Without a notification it would be the poll's five seconds.
    assert sorted(waits)[5] < 0.5, waits


async def test_however_many_workers_there_are_each_execution_runs_once(bench: Bench) -> None:
    ids = await bench.queue(300)
    async with bench.worker(), bench.worker(), bench.worker():
        ids += await bench.queue(100)
        await until(lambda: bench.recorded() == 400)
    assert Counter(one for one, _ in bench.began) == dict.fromkeys(ids, 1)
    with bench.database.as_owner() as owner:
        assert owner.execute("select count(*) from plugyard_queue.procrastinate_jobs").fetchone() == (0,)


async def test_what_a_killed_worker_had_is_taken_up_and_recorded_once(bench: Bench) -> None:
    ids = await bench.queue(2)
    victim = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.integration.queue.victim", bench.database.urls.service_url, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert victim.stdout is not None
    had = {(await asyncio.wait_for(victim.stdout.readline(), 20)).decode().strip() for _ in range(2)}
    assert had == set(ids)
    victim.kill()
    await victim.wait()
    killed_at = time.monotonic()
    async with bench.worker():
        await until(lambda: bench.recorded() == 2, within_s=10)
        assert time.monotonic() - killed_at < 6
    assert sorted(one for one, _ in bench.began) == sorted(ids)


async def test_what_runs_elsewhere_is_ended_when_somebody_asks(bench: Bench) -> None:
    bench.hold.clear()
    (execution_id,) = await bench.queue()
    async with bench.worker():
        await until(lambda: len(bench.began) == 1)
        async with bench.database.store.for_tenant(bench.plugin.tenant_id) as tx:
            await tx.ask_to_cancel(execution_id)
        await until(lambda: bench.cancelled == [execution_id], within_s=5)


async def test_an_execution_that_nobody_settled_is_taken_again(bench: Bench) -> None:
    bench.failing = 2
    (execution_id,) = await bench.queue()
    async with bench.worker():
        await until(lambda: bench.recorded() == 1)
    assert [one for one, _ in bench.began] == [execution_id] * 3


async def test_a_worker_that_stops_puts_back_what_it_cannot_end(bench: Bench) -> None:
    bench.hold.clear()
    ids = await bench.queue(3)
    async with bench.worker(concurrency=2) as worker:
        await until(lambda: len(bench.began) == 2)
        await worker.stop(0.2)
    assert bench.recorded() == 0
    bench.cancelled.clear()
    async with bench.worker():
        await until(lambda: bench.recorded() == 3)
    assert {one for one, _ in bench.began} == set(ids)


async def test_a_worker_goes_on_when_its_connections_were_lost(bench: Bench, superuser_url: str) -> None:
    async with bench.worker():
        await bench.queue()
        await until(lambda: bench.recorded() == 1)
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = 'plugyard_service' and pid <> pg_backend_pid()"
            )
        await asyncio.sleep(0.5)
        await bench.queue(5)
        await until(lambda: bench.recorded() == 6, within_s=30)


async def test_what_runs_while_connections_are_lost_runs_once(bench: Bench, superuser_url: str) -> None:
    bench.hold.clear()
    await bench.queue()
    async with bench.worker(), bench.worker():
        await until(lambda: len(bench.began) == 1)
        with psycopg.connect(superuser_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where usename = 'plugyard_service' and pid <> pg_backend_pid()"
            )
        await asyncio.sleep(4.0)
        assert len(bench.began) == 1
        # Both are woken at once, as before.
        began_at = time.monotonic()
        await bench.queue()
        await until(lambda: len(bench.began) == 2)
        assert bench.began[1][1] - began_at < 1.0
        bench.hold.set()
        await until(lambda: bench.recorded() == 2)
    assert len(bench.began) == 2


async def test_a_worker_goes_on_beating_while_it_cannot_take(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.hold.clear()
    await bench.queue()
    async with bench.worker() as worker, bench.worker(concurrency=1):
        await until(lambda: len(bench.began) == 1)
        monkeypatch.setattr(worker.queue, "take", failing(worker.queue.take, 2))
        await bench.queue(4)
        await asyncio.sleep(4.0)
        assert len(bench.began) == 5
        bench.hold.set()
        await until(lambda: bench.recorded() == 5)
    assert len(bench.began) == 5


async def test_a_worker_that_was_taken_for_dead_beats_again(bench: Bench) -> None:
    async with bench.worker():
        await bench.queue()
        await until(lambda: bench.recorded() == 1)
        with bench.database.as_owner() as owner:
            owner.execute("delete from plugyard_queue.procrastinate_workers")
        bench.hold.clear()
        await bench.queue()
        await until(lambda: len(bench.began) == 2)
        await asyncio.sleep(3.0)
        bench.hold.set()
        await until(lambda: bench.recorded() == 2)
    assert len(bench.began) == 2


@pytest.mark.parametrize("answer", [StoreUnavailable(), ZeroDivisionError()])
async def test_what_could_not_be_given_back_is_given_back_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, answer: Exception
) -> None:
    monkeypatch.setattr(BatchedJobs, "_next_ahead", lambda jobs: 4)
    bench.hold.clear()
    await bench.queue(5)
    async with bench.worker(concurrency=1) as worker:
        monkeypatch.setattr(worker.queue, "give_back", failing(worker.queue.give_back, 2, answer))
        await until(lambda: len(bench.began) == 1)
        async with bench.worker(concurrency=5):
            await until(lambda: len(bench.began) == 5, within_s=8)
            bench.hold.set()
            await until(lambda: bench.recorded() == 5)
    assert len(bench.began) == 5


async def test_what_was_taken_and_the_answer_lost_is_given_back_and_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: list[int] = []

    async def take_and_fail(at_most: int) -> list[QueuedExecution]:
        taken = await take(at_most)
        if taken and not lost:
            lost.extend(one.lost for one in taken)
            raise StoreUnavailable()
        return list(taken)

    ids = await bench.queue(3)
    async with bench.worker() as worker:
        take = worker.queue.take
        monkeypatch.setattr(worker.queue, "take", take_and_fail)
        await until(lambda: bench.recorded() == 3, within_s=8)
    assert lost == [0, 0, 0]
    assert Counter(one for one, _ in bench.began) == dict.fromkeys(ids, 1)
    with bench.database.as_owner() as owner:
        assert owner.execute("select sum(lost) from queued_executions").fetchone() == (0,)


async def test_what_could_not_be_left_to_others_is_left_later_and_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.failing = 1
    (execution_id,) = await bench.queue()
    async with bench.worker() as worker:
        monkeypatch.setattr(worker.queue, "leave", failing(worker.queue.leave, 2))
        await until(lambda: bench.recorded() == 1, within_s=8)
    assert [one for one, _ in bench.began] == [execution_id] * 2
    with bench.database.as_owner() as owner:
        assert owner.execute("select lost from queued_executions").fetchall() == [(1,)]


async def test_nobody_is_taken_for_dead_just_because_the_database_was_away(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hold.clear()
    await bench.queue()
    async with bench.worker(beat_s=1.0) as worker, bench.worker(beat_s=1.0) as other:
        await until(lambda: len(bench.began) == 1)
        for one in (worker, other):
            monkeypatch.setattr(one.queue, "beat", failing(one.queue.beat, 3))
            monkeypatch.setattr(one.queue, "revive", failing(one.queue.revive, 2))
            monkeypatch.setattr(one.queue, "ping", failing(one.queue.ping, 1))
        await asyncio.sleep(6.0)
        bench.hold.set()
        await until(lambda: bench.recorded() == 1)
    assert len(bench.began) == 1


async def test_who_never_answers_holds_up_no_other_tenants_webhooks(bench: Bench) -> None:
    calm = await a_stored_plugin(bench.database.store, (await a_tenant(bench.database.store)).id)
    told: list[str] = []

    async def tell(delivery: Delivery) -> None:
        told.append(delivery.tenant_id)
        if delivery.tenant_id == bench.plugin.tenant_id:
            await asyncio.sleep(60)
        async with bench.database.store.for_tenant(delivery.tenant_id) as tx:
            await tx.webhook_told(delivery.execution_id)

    with bench.database.as_owner() as owner:
        owner.execute("delete from webhook_deliveries")
        for plugin, count, age in ((bench.plugin, 100, "1 hour"), (calm, 20, "0")):
            owner.execute(
                "insert into webhook_deliveries (execution_id, tenant_id, plugin_id, url, due_at) select "
                "gen_random_uuid(), %s, %s, 'https://hooks.example', now() - %s::interval from generate_series(1, %s)",
                [plugin.tenant_id, plugin.id, age, count],
            )
    async with bench.worker(tell=tell):
        await until(lambda: told.count(calm.tenant_id) == 20, within_s=5)
        assert told.count(bench.plugin.tenant_id) == 4


def failing(work: Callable[..., Any], times: int, answer: Exception | None = None) -> Callable[..., Any]:
    """The same, after so many calls that fail."""
    left = times

    async def maybe(*how: Any) -> Any:
        nonlocal left
        if left > 0:
            left -= 1
            raise answer or StoreUnavailable()
        return await work(*how)

    return maybe


async def test_a_plugins_number_holds_for_all_workers_together(bench: Bench) -> None:
    bench.hold.clear()
    await bench.queue(12)
    async with bench.worker(per_plugin=3), bench.worker(per_plugin=3):
        await until(lambda: len(bench.began) == 3)
        await asyncio.sleep(1.5)
        assert len(bench.began) == 3
        bench.hold.set()
        await until(lambda: bench.recorded() == 12)
