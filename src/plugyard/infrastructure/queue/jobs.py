"""procrastinate's job manager, by the batch: many jobs are fetched, started and given back in one statement each.

procrastinate fetches one job and finishes one job at a time, each in a transaction of its own, which is what bounds it
(docs/async.md has the figures). Here a worker asks for as many as it has room for, and the jobs come with the
executions that they are for, which run from then on. Their ends are written by the recorder, which takes the job away
in the same transaction; so the worker need not.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import psycopg
import structlog
from procrastinate import manager
from procrastinate.jobs import Job, Notification, Status
from procrastinate.psycopg_connector import PsycopgConnector
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from plugyard.domain.errors import PlugyardError
from plugyard.domain.queue import Delivery, QueuedExecution
from plugyard.infrastructure.postgres.errors import translated
from plugyard.infrastructure.postgres.queued import entry_of
from plugyard.infrastructure.postgres.statements import statements

QUEUE, TASK = "executions", "execute"
_SQL = statements("queued")
_MOST_AHEAD = 32
_SHORT_S, _TOO_LONG_S = 0.1, 0.5
_AGAIN_S, _COMPARE_S = 1.0, 5.0
log = structlog.get_logger("plugyard")
Pool = AsyncConnectionPool[psycopg.AsyncConnection[dict[str, Any]]]


class PostgresQueue:
    """`application.ports.Queue` for one worker: what it takes is marked with the worker's number."""

    def __init__(self, pool: Pool, *, per_plugin: int, worker: int | None = None) -> None:
        self._pool = pool
        self._per_plugin = per_plugin
        self.worker = worker

    async def take(self, at_most: int) -> Sequence[QueuedExecution]:
        """Takes what is next, at most so many; raises `StoreUnavailable`."""
        parameters = {"worker": self.worker, "at_most": at_most, "per_plugin": self._per_plugin}
        return [entry_of(row) for row in await self._all("take", parameters)]

    async def beat(self, worker: int) -> None:
        """Says that a worker lives, also where others took it for dead and forgot it."""
        await self._all("beat", {"worker": worker})

    async def held(self) -> Sequence[int]:
        """The jobs that this worker has by the database."""
        return [row["id"] for row in await self._all("jobs of a worker", {"worker": self.worker})]

    async def give_back(self, jobs: Sequence[int]) -> None:
        """Lets others take what this worker has taken and never began."""
        await self._all("give back what never began", {"jobs": list(jobs), "worker": self.worker})
        await self.wake()

    async def leave(self, jobs: Sequence[int]) -> None:
        """Lets others take what this worker began and could not end, as if it had died with them."""
        await self._all("give jobs back", {"jobs": list(jobs), "worker": self.worker})
        await self.wake()

    async def delete(self, jobs: Sequence[int]) -> None:
        """Takes jobs away whose executions are settled."""
        await self._all("delete jobs", {"jobs": list(jobs)})

    async def cancelled(self, execution_ids: Sequence[str]) -> Sequence[str]:
        """Those of the executions that somebody wants to end."""
        return [row["id"] for row in await self._all("cancelled meanwhile", {"ids": list(execution_ids)})]

    async def take_webhooks(self, at_most: int, of_one: int, under_way: Mapping[str, int]) -> Sequence[Delivery]:
        """Takes deliveries that are due, each for two minutes; raises `StoreUnavailable`.

        Of one tenant it is `of_one` at most, with those that are under way already.
        """
        parameters = {"at_most": at_most, "of_one": of_one, "under_way": Jsonb(dict(under_way))}
        return [Delivery(**row) for row in await self._all("take webhooks", parameters)]

    async def keep(self) -> None:
        """Lets wait again what is parked without need, and forgets what has served its time."""
        await self._all("keep the queue", {"per_plugin": self._per_plugin})

    async def revive(self, silent_s: float) -> int:
        """Lets others take what workers had that were not heard of for so long; how many there were."""
        found = await self._all("jobs of the dead", {"silent_s": silent_s})
        if found:
            await self.wake()
        return len(found)

    async def ping(self) -> None:
        """Raises `StoreUnavailable` where the database is away."""
        await self._all("is anybody there", {})

    async def wake(self) -> None:
        """Has all workers look."""
        await self._all("wake the workers", {})

    async def _all(self, statement: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
        with translated():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL[statement], parameters)
                return await cursor.fetchall() if cursor.description else []


class BatchedJobs(manager.JobManager):
    """A job manager that fetches ahead where jobs are short, and gives back what it cannot begin.

    `entries` are the executions of the jobs that were fetched, by job. Whoever runs one takes it out, and says by
    `settled` that its end is written.

    Nothing here raises because the database is away: procrastinate would stop beating and wait for all that runs, while
    others take that up. What this worker has by the database and knows nothing of, because an answer was lost or a
    giving back failed, is given back by `tidy`.
    """

    def __init__(self, connector: PsycopgConnector, queue: PostgresQueue, concurrency: int) -> None:
        super().__init__(connector)
        self.entries: dict[int, QueuedExecution] = {}
        self._queue = queue
        self._room = concurrency
        self._ahead = 0
        self._running = 0
        self._waiting: deque[Job] = deque()
        self._fetched_at = 0.0
        self._told = False
        self._settled: set[int] = set()
        # Of a job that others took for lost and that came back, this worker may have two runs.
        self._mine: Counter[int] = Counter()
        self._unended: set[int] = set()
        self._taking = asyncio.Lock()
        self._look_at = math.inf
        self._compare_at = 0.0
        self._look: Callable[[], Awaitable[None]] | None = None

    def settled(self, job_id: int) -> None:
        """The recorder has written the end of the job's execution, and taken the job away."""
        self._settled.add(job_id)

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> Job | None:
        """The next job, of those that are here or of the next batch; none where the database is away."""
        self._queue.worker = worker_id
        while not self._waiting:
            self._told = False
            self._ahead = self._next_ahead()
            free = max(1, self._room - self._running)
            try:
                taken = await self._take(free + self._ahead)
            except Exception as error:
                self._failed("executions could not be taken; they are asked for again", error)
                self._look_at = time.monotonic() + _AGAIN_S
                return None
            if not taken and not self._told:
                return None
        self._running += 1
        return self._waiting.popleft()

    async def _take(self, at_most: int) -> int:
        async with self._taking:
            taken = await self._queue.take(at_most)
            self._fetched_at = time.monotonic()
            for entry in taken:
                job = _job_of(entry)
                self.entries[job.id or 0] = entry
                self._mine[job.id or 0] += 1
                self._waiting.append(job)
        return len(taken)

    def _next_ahead(self) -> int:
        """How many more than there is room for: the more, the quicker the last batch was begun."""
        if self._fetched_at and time.monotonic() - self._fetched_at < _SHORT_S:
            return min(_MOST_AHEAD, max(4, self._ahead * 2))
        return 0

    async def tidy(self) -> None:
        """Give back what this worker should not have; called a few times a second."""
        if self._waiting and time.monotonic() - self._fetched_at > _TOO_LONG_S:
            await self.give_back()
        if time.monotonic() >= self._look_at and self._look is not None:
            self._look_at = math.inf
            await self._look()
        if time.monotonic() >= self._compare_at and self._queue.worker is not None:
            self._compare_at = time.monotonic() + _COMPARE_S
            try:
                await self._give_back_unknown()
            except Exception as error:
                self._failed("what this worker has could not be compared", error)

    async def give_back(self) -> None:
        """Give back all that was fetched and has not begun, so that other workers can have it."""
        jobs = [job.id for job in self._waiting if job.id is not None]
        self._waiting.clear()
        self._ahead = 0
        for job_id in jobs:
            self.entries.pop(job_id, None)
        self._mine.subtract(jobs)
        self._mine = +self._mine
        if jobs:
            try:
                await self._queue.give_back(jobs)
            except Exception as error:
                self._failed("what was fetched could not be given back; it is tried again", error)

    async def _give_back_unknown(self) -> None:
        async with self._taking:
            unknown = {job_id for job_id in await self._queue.held() if job_id not in self._mine}
            began = unknown & self._unended
            if began:
                await self._queue.leave(sorted(began))
            if unknown - began:
                await self._queue.give_back(sorted(unknown - began))
            self._unended -= began

    async def finish_job_by_id_async(self, job_id: int, status: Status, delete_job: bool) -> None:
        """The worker is through with a job. One whose end nobody wrote is for others to take."""
        self._running -= 1
        self.entries.pop(job_id, None)
        self._mine.subtract([job_id])
        self._mine = +self._mine
        if job_id in self._settled:
            self._settled.discard(job_id)
            return
        self._unended.add(job_id)
        try:
            await self._queue.leave([job_id])
        except Exception as error:
            self._failed("a job could not be left to others; it is tried again", error)
        else:
            self._unended.discard(job_id)

    def _failed(self, what: str, error: Exception) -> None:
        self._compare_at = min(self._compare_at, time.monotonic() + _AGAIN_S)
        if isinstance(error, PlugyardError):
            log.warning(what, error=error.message)
        else:
            log.error(what, exc_info=error)

    async def update_heartbeat(self, worker_id: int) -> None:
        """Say that this worker lives; where that fails, or somebody took it for dead, the next one says it."""
        try:
            await self._queue.beat(worker_id)
        except Exception as error:
            self._failed("a heartbeat failed", error)

    async def listen_for_jobs(
        self, *, on_notification: Callable[..., Awaitable[None]], queues: Iterable[str] | None = None
    ) -> None:
        """As it was, and again where it was cut off; what is told while a batch is fetched is not forgotten with it."""

        async def told(*, channel: str, notification: Notification) -> None:
            self._told = True
            await on_notification(channel=channel, notification=notification)

        async def look() -> None:
            await told(channel=QUEUE, notification={"type": "job_inserted", "job_id": 0})

        self._look = look
        while True:
            try:
                await super().listen_for_jobs(on_notification=told, queues=queues)
            except Exception as error:
                self._failed("nothing can be heard of the queue; it is tried again", error)
            await asyncio.sleep(_AGAIN_S)
            await look()


def _job_of(entry: QueuedExecution) -> Job:
    return Job(
        id=entry.job,
        status="doing",
        queue=QUEUE,
        priority=0,
        lock=None,
        queueing_lock=None,
        task_name=TASK,
        task_kwargs={},
    )
