"""One worker: takes executions whose turn has come and has them run, until it is stopped. Made by ``bootstrap``.

It beats every two seconds. What a worker had that was not heard of for ten is taken up by others; where that one lives
after all, its word no longer counts (``run`` of a queued execution). While the
database is away nobody is silent.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
import psycopg
import structlog
from procrastinate import App, PsycopgConnector
from procrastinate.job_context import JobContext
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool

from plugyard.domain.errors import PlugyardError
from plugyard.domain.queue import Delivery, QueuedExecution
from plugyard.infrastructure.postgres.errors import translated
from plugyard.infrastructure.postgres.silence import SEEN_HERE, SEEN_THERE
from plugyard.infrastructure.queue.jobs import QUEUE, TASK, BatchedJobs, Pool, PostgresQueue

BEAT_S, SILENT_S = 2.0, 10.0
_UPKEEP_S, _POLL_S = 1.0, 5.0
_PAUSE_S = 1.0
_TELL_S, _TOLD_AT_ONCE, _TOLD_OF_ONE = 0.5, 32, 4
_BESIDE_S, _MUCH = 0.5, 50
_OPTIONS = "-c search_path=plugyard_queue -c timezone=UTC -c statement_timeout=30s" + SEEN_THERE
log = structlog.get_logger("plugyard")
Work = Callable[[QueuedExecution], Awaitable[None]]


class Worker:
    """Runs at most `concurrency` executions at a time, by `work`. `open` it, `run` it, `close` it.

    `cancel` ends one that runs here, by its id, because somebody asked for it; `cut` because this worker ends.
    `tell` tells somebody of an end, and `beside` is done twice a second; each says how much it found.
    `per_plugin` is how many of a plugin may run everywhere, 0 for any number.
    """

    def __init__(
        self,
        service_url: str,
        work: Work,
        *,
        cancel: Callable[[str], None],
        cut: Callable[[str], None],
        concurrency: int,
        per_plugin: int,
        beat_s: float = BEAT_S,
        silent_s: float = SILENT_S,
        tell: Callable[[Delivery], Awaitable[object]] | None = None,
        beside: Sequence[Callable[[], Awaitable[int]]] = (),
    ) -> None:
        self._url = service_url
        self._work = work
        self._cancel, self._cut = cancel, cut
        self._concurrency = concurrency
        self._tell, self._beside = tell, beside
        self._beat_s, self._silent_s = beat_s, silent_s
        self._pool: Pool = pool_of(service_url)
        self.queue = PostgresQueue(self._pool, per_plugin=per_plugin)
        self._running: dict[str, QueuedExecution] = {}
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._jobs: BatchedJobs | None = None
        self.taken_up = 0

    async def open(self) -> None:
        """Connect; raises `StoreUnavailable`."""
        # What procrastinate says of each job is said better by the execution's own record.
        logging.getLogger("procrastinate").setLevel(logging.CRITICAL)
        with translated():
            await self._pool.open(wait=True, timeout=10.0)

    async def run(self) -> None:
        """Work until `stop`; where the database is away at the start, begin anew when it is back."""
        upkeep = [asyncio.create_task(self._keep())]
        if self._tell is not None:
            upkeep.append(asyncio.create_task(self._tell_for_ever(self._tell)))
        upkeep += [asyncio.create_task(self._again_and_again(work)) for work in self._beside]
        try:
            while not self._stopping:
                self._task = asyncio.create_task(self._run_once())
                await asyncio.wait([self._task])
                error = None if self._task.cancelled() else self._task.exception()
                if not self._stopping:
                    log.warning("the worker begins anew", error=repr(error) if error else "it lost its connection")
                    await asyncio.sleep(_PAUSE_S)
        finally:
            for task in upkeep:
                task.cancel()
            await asyncio.gather(*upkeep, return_exceptions=True)

    async def stop(self, within_s: float) -> None:
        """Take nothing more, and let what runs end within so many seconds."""
        self._stopping = True
        if self._task is None:
            return
        self._task.cancel()
        if self._jobs is not None:
            await self._jobs.give_back()
        await asyncio.wait([self._task], timeout=within_s)
        for execution_id in list(self._running):
            self._cut(execution_id)
        await asyncio.wait([self._task], timeout=3.0)

    async def close(self) -> None:
        """Disconnect."""
        await self._pool.close(timeout=5.0)

    async def _run_once(self) -> None:
        connector = PsycopgConnector(
            conninfo=self._url,
            kwargs={"options": _OPTIONS, **SEEN_HERE},
            min_size=1,
            max_size=2,
            reconnect_timeout=60.0,
        )
        app = App(connector=connector)
        self._jobs = jobs = BatchedJobs(connector, self.queue, self._concurrency)
        app.job_manager = jobs

        @app.task(name=TASK, queue=QUEUE, pass_context=True)
        async def execute(context: JobContext) -> None:
            await self._execute(jobs, context)

        async with app.open_async():
            tidying = asyncio.create_task(self._tidy(jobs))
            try:
                await app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=self._concurrency,
                    fetch_job_polling_interval=_POLL_S,
                    install_signal_handlers=False,
                    update_heartbeat_interval=self._beat_s,
                    stalled_worker_timeout=self._silent_s,
                )
            finally:
                tidying.cancel()
                await asyncio.gather(tidying, return_exceptions=True)
                await jobs.give_back()

    async def _execute(self, jobs: BatchedJobs, context: JobContext) -> None:
        job_id = context.job.id or 0
        entry = jobs.entries.pop(job_id)
        self._running[entry.id] = entry
        try:
            await self._work(entry)
            jobs.settled(job_id)
        except Exception:
            log.exception("an execution could not be settled; it is taken up again", executionId=entry.id)
        finally:
            self._running.pop(entry.id, None)

    async def _tidy(self, jobs: BatchedJobs) -> None:
        while True:
            await asyncio.sleep(0.25)
            await jobs.tidy()

    async def _tell_for_ever(self, tell: Callable[[Delivery], Awaitable[object]]) -> None:
        """Tell whoever wants to know of ends, each by itself, so that one who is slow holds up its own tenant alone."""
        under_way: dict[asyncio.Task[None], str] = {}
        try:
            while True:
                deliveries: Sequence[Delivery] = ()
                room = _TOLD_AT_ONCE - len(under_way)
                try:
                    if room:
                        busy = Counter(under_way.values())
                        deliveries = await self.queue.take_webhooks(room, _TOLD_OF_ONE, busy)
                except PlugyardError as error:
                    log.debug("webhooks could not be taken", error=error.message)
                except Exception:
                    log.exception("webhooks could not be taken")
                for one in deliveries:
                    under_way[asyncio.create_task(_told(tell, one))] = one.tenant_id
                # One that ends makes room at once; nobody says when something comes due.
                if under_way:
                    ended, _ = await asyncio.wait(under_way, timeout=_TELL_S, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        del under_way[task]
                else:
                    await asyncio.sleep(_TELL_S)
        finally:
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def _again_and_again(self, work: Callable[[], Awaitable[int]]) -> None:
        """Do something twice a second, and at once again while there is much of it."""
        while True:
            found = 0
            try:
                found = await work()
            except PlugyardError as error:
                log.debug("work beside the queue failed", work=getattr(work, "func", work), error=error.message)
            except Exception:
                log.exception("work beside the queue failed", work=getattr(work, "func", work))
            if found < _MUCH:
                await asyncio.sleep(_BESIDE_S)

    async def _keep(self) -> None:
        """End what somebody cancelled through another process, and take up what dead workers had."""
        kept_at, away_at = 0.0, -math.inf
        while True:
            await asyncio.sleep(_UPKEEP_S)
            try:
                if self._running:
                    for execution_id in await self.queue.cancelled(list(self._running)):
                        self._cancel(execution_id)
                # Nobody could beat while the database was away; those who live have the time to say so.
                if time.monotonic() - away_at > self._silent_s:
                    self.taken_up += await self.queue.revive(self._silent_s)
                else:
                    await self.queue.ping()
                if time.monotonic() - kept_at > 5:
                    await self.queue.keep()
                    kept_at = time.monotonic()
            except PlugyardError as error:
                away_at = time.monotonic()
                log.debug("the queue's upkeep failed", error=error.message)
            except Exception:
                log.exception("the queue's upkeep failed")


async def _told(tell: Callable[[Delivery], Awaitable[object]], delivery: Delivery) -> None:
    try:
        await tell(delivery)
    except Exception as error:
        log.warning("a webhook could not be settled; it is told again", error=repr(error))


def pool_of(service_url: str) -> Pool:
    """A pool whose rows are as the store's: ids are text."""

    async def configure(connection: psycopg.AsyncConnection[Any]) -> None:
        connection.adapters.register_loader("uuid", TextLoader)
        set_json_loads(msgspec.json.decode, connection)

    return AsyncConnectionPool(
        service_url,
        connection_class=psycopg.AsyncConnection[dict[str, Any]],
        kwargs={"autocommit": True, "row_factory": dict_row, "options": _OPTIONS, **SEEN_HERE},
        configure=configure,
        check=AsyncConnectionPool.check_connection,
        min_size=1,
        max_size=5,
        timeout=5.0,
        # By itself a pool waits twice as long before each try; so it gives up soon, and whoever asks begins anew.
        reconnect_timeout=3.0,
        open=False,
    )
