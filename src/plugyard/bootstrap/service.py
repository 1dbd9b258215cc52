"""The life of the embedded service: what starts when, what is watched, and how everything ends.

``cli/running.py`` runs a ``Service`` in the foreground.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from plugyard.application.denials import write_denials
from plugyard.bootstrap.foresight import check_profile, check_settings
from plugyard.bootstrap.keys import CannotStart, Keys, write_private
from plugyard.bootstrap.limits import gate_limits, limit_policy, malware_file, pool_settings
from plugyard.domain.errors import PlugyardError
from plugyard.domain.rules import BadRuleSetting
from plugyard.infrastructure.embedded.errors import EmbeddedPostgresError
from plugyard.infrastructure.embedded.server import EmbeddedPostgres, lock_folder
from plugyard.infrastructure.logs import configure_logging
from plugyard.infrastructure.postgres.urls import Urls
from plugyard.sandbox import jail
from plugyard.sandbox.outside.compiler import CompilerLimits
from plugyard.sandbox.outside.components import CompiledFolder
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import GuestBuildError, build_guests
from plugyard.sandbox.outside.preparation import PreparedFolder
from plugyard.sandbox.services.registry import Services
from plugyard.settings import MEGABYTE, Settings

if TYPE_CHECKING:
    from plugyard.bootstrap.assembly import Assembled
    from plugyard.gate.jailed import JailedInspector
    from plugyard.infrastructure.postgres.external import ExternalPostgres
    from plugyard.infrastructure.postgres.store import PostgresStore

    Postgres = EmbeddedPostgres | ExternalPostgres

SERVICE_FILE = "service.json"
DRAIN_S, CUT_S = 10.0, 3.0
WORK_S = 5.0  # for what a worker runs; what takes longer is put back into the queue
DENIALS_WRITTEN_EVERY_S = 5.0
RESCANS_LOOKED_FOR_EVERY_S = 15.0
# What a kill loses at most of the uses of rights, which are counted in days.
USES_WRITTEN_EVERY_S = 60.0
EXECUTIONS_COUNTED_EVERY_S = 5.0
Progress = Callable[[str, float | None], None]
log = structlog.get_logger("plugyard")


class Service:
    """A service, or a worker, with all its parts, on the embedded PostgreSQL or on one that somebody else runs.

    ``start`` brings the parts up in the order of their need and ``stop`` takes down whatever is up, in reverse.
    """

    def __init__(
        self, settings: Settings, progress: Progress = lambda step, fraction: None, *, worker: bool = False
    ) -> None:
        self.settings = settings
        self._worker = worker
        self.url = ""
        self.admin_key = ""
        self._progress = progress
        self._parts = AsyncExitStack()
        self._failed = asyncio.Event()
        self._draining = False
        self._drain: Callable[[], None] = lambda: None

    async def start(self) -> None:
        """Start everything; raises ``CannotStart`` with what to do about it."""
        settings = self.settings
        configure_logging(settings.log_format, settings.log_level)
        check_profile(settings)
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
            await self._start(bound(settings.host, settings.port))
        except OSError as error:
            raise CannotStart(f"the data folder {settings.data} cannot be used: {error}") from error
        except (EmbeddedPostgresError, GuestBuildError) as error:
            raise CannotStart(str(error)) from error
        except PlugyardError as error:
            raise CannotStart(error.message) from error

    async def _start(self, listener: socket.socket) -> None:
        settings = self.settings
        self._parts.callback(listener.close)
        if settings.database_url is not None:
            # A database of its own would hold it: uploads under way, caches and the file below are one process's.
            self._parts.callback(os.close, lock_folder(settings.data))
        await self._look_at_namespaces()
        services = Services(settings.service_calls_per_s)
        keys = Keys.of(
            settings.data,
            settings.admin_key,
            settings.secret_keys,
            operator_key=settings.operator_key,
            pepper=settings.pepper,
            shared=settings.database_url is not None,
        )
        check_settings(settings, keys)
        # These know nothing of each other, so they come up side by side; the libraries that only this process needs
        # load meanwhile, which takes as long as the processes do.
        (postgres, urls), sandbox, inspector, assembly = await together(
            self._start_postgres(),
            self._start_sandbox(services, bytes.fromhex(keys.pepper)),
            self._start_gate(),
            asyncio.to_thread(_load_libraries, settings),
        )
        self.admin_key = keys.admin
        processes = assembly.Processes(sandbox, services, inspector, urls)

        async def ready(store: "PostgresStore") -> dict[str, str]:
            return await self._ready(store, postgres, sandbox, inspector)

        assembled = await assembly.assemble(settings, keys, processes, ready, self._parts, worker=self._worker)
        # Ends behind the server: by this session others see that what is claimed here is still carried out.
        self._run_beside(assembled.changes.run())
        await self._serve(assembled, listener)
        await self._start_worker(assembled, urls)
        for work in (
            self._watch(postgres),
            self._judge_health(assembled),
            self._count_executions(assembled),
            self._write_uses(assembled),
            self._write_denials(assembled),
            self._tidy(assembly, assembled),
            self._rescan(assembled),
        ):
            self._run_beside(work)
        write_private(settings.data / SERVICE_FILE, json.dumps({"url": self.url, "pid": os.getpid()}))
        self._parts.callback(lambda: (settings.data / SERVICE_FILE).unlink(missing_ok=True))
        # What lives now lives as long as the service. The collector need not walk through it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        assembled.egress.load()
        assembled.shared.load()
        log.info("ready", url=self.url, jail=not settings.unsafe_no_jail)
        if settings.unsafe_no_jail:
            log.warning("plugins run without the process jail (--unsafe-no-jail): WebAssembly alone holds them")

    async def _start_gate(self) -> "JailedInspector":
        settings = self.settings
        gate = await asyncio.to_thread(importlib.import_module, "plugyard.gate.jailed")
        try:
            inspector: JailedInspector = gate.JailedInspector(
                gate_limits(settings),
                enforced=not settings.unsafe_no_jail,
                rules=settings.gate_rules,
                malware=malware_file(settings),
            )
        except BadRuleSetting as error:
            raise CannotStart(f"--gate-rules: {error}") from error
        self._parts.push_async_callback(inspector.close)
        await inspector.start()
        return inspector

    async def _look_at_namespaces(self) -> None:
        """Say what this machine gives; raises ``CannotStart`` where the operator demands more."""
        required = self.settings.require_namespaces
        if self.settings.unsafe_no_jail:
            if required:
                raise CannotStart("--require-namespaces and --unsafe-no-jail exclude each other")
            return
        found = await asyncio.to_thread(jail.try_namespaces)
        if not found.missing:
            log.info("plugins run in namespaces of their own", namespaces=list(found.given))
            return
        missing = ", ".join(found.missing)
        if required:
            raise CannotStart(
                f"--require-namespaces is set and this machine does not give them all; missing: {missing} "
                f"({next(iter(found.missing.values()))}). `plugyard doctor` says how to get them"
            )
        log.warning("namespaces are missing; the steps of the jail hold without them", missing=missing)

    async def stop(self) -> None:
        """End everything that was started; what executes now may end first."""
        self._draining = True
        # Before anything else ends, so that a proxy sends nothing more here while work is still being put back.
        self._drain()
        await self._parts.aclose()

    async def failed(self) -> None:
        """Wait until a part that cannot be replaced has ended; the service should then be stopped."""
        await self._failed.wait()

    # --- the parts ---------------------------------------------------------------------------------------------------

    async def _start_postgres(self) -> tuple["Postgres", Urls]:
        if self.settings.database_url is not None:
            self._progress("looking at PostgreSQL", None)
            databases = await asyncio.to_thread(importlib.import_module, "plugyard.bootstrap.databases")
            external: Postgres = databases.external_postgres(self.settings)
            return external, await databases.looked_at(external)
        self._progress("starting PostgreSQL", None)
        postgres = EmbeddedPostgres(self.settings.data)
        self._parts.push_async_callback(postgres.stop)
        return postgres, await postgres.start(lambda sentence: self._progress(sentence, None))

    async def _start_sandbox(self, services: Services, secret: bytes) -> Sandbox:
        settings = self.settings
        guests = await build_guests(settings.guests, self._progress)
        # Behind the sandbox in the order of ends: what still runs may need them.
        self._parts.push_async_callback(services.close)
        compiled = CompiledFolder(settings.data / "compiled", secret, settings.compiled_cache_mb * MEGABYTE)
        prepared = PreparedFolder(settings.data / "prepared", secret, guests, settings.prepared_cache_mb * MEGABYTE)
        sandbox = Sandbox(
            guests,
            pool_settings(settings),
            services=services,
            enforced=not settings.unsafe_no_jail,
            compiled=compiled,
            compiling=CompilerLimits(timeout_s=settings.compile_timeout_s),
            prepared=prepared,
            modules_denied=settings.modules_denied,
            stack_bytes=limit_policy(settings).stack_bytes,
        )
        self._parts.push_async_callback(sandbox.close)
        await sandbox.start()
        return sandbox

    async def _ready(
        self, store: "PostgresStore", postgres: "Postgres", sandbox: Sandbox, inspector: "JailedInspector"
    ) -> dict[str, str]:
        """Each part's state, for the health report: ``ok``, a warning, or what is wrong."""
        parts = {"sandbox": "ok" if sandbox.alive else "away", "gate": "ok" if inspector.alive else "away"}
        try:
            async with asyncio.timeout(2):
                await store.ping()
            parts["database"] = "ok"
        except (PlugyardError, TimeoutError):
            parts["database"] = "slow" if postgres.running else "away"
        if self.settings.unsafe_no_jail:
            parts["jail"] = "warning: plugins run without the process jail (--unsafe-no-jail)"
        return parts

    async def _serve(self, assembled: "Assembled", listener: socket.socket) -> None:
        server = assembled.server
        serving = asyncio.create_task(server.serve([listener]))
        serving.add_done_callback(self._ended_by_itself)

        async def end() -> None:
            server.stop()
            # What executes now may end first; what takes longer is cut, recorded so, and its caller told.
            await asyncio.wait([serving], timeout=DRAIN_S)
            assembled.cut_executions()
            await asyncio.wait([serving], timeout=CUT_S)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

        self._parts.push_async_callback(end)
        self._drain = assembled.app.drain
        self.url = f"http://{shown(self.settings.host)}:{listener.getsockname()[1]}"
        listening = asyncio.create_task(server.listening.wait())
        await asyncio.wait((listening, serving), return_when=asyncio.FIRST_COMPLETED)
        listening.cancel()

    async def _start_worker(self, assembled: "Assembled", urls: Urls) -> None:
        """Take queued executions from now on, where this process does."""
        if self.settings.queue_workers == 0:
            return
        queue = await asyncio.to_thread(importlib.import_module, "plugyard.bootstrap.queue")
        worker = queue.worker_for(assembled.platform, urls.service_url, self.settings)
        self._parts.push_async_callback(worker.close)
        await worker.open()
        self._run_beside(worker.run())
        self._parts.push_async_callback(worker.stop, WORK_S)

    def _run_beside(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something until the service ends; that it ends by itself is an end of the service."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._ended_by_itself)

        async def end() -> None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        self._parts.push_async_callback(end)

    def _ended_by_itself(self, task: asyncio.Task[None]) -> None:
        if not self._draining and not task.cancelled():
            log.error("a part of the service has ended", part=task.get_coro(), error=repr(task.exception()))
            self._failed.set()

    async def _watch(self, postgres: "Postgres") -> None:
        """PostgreSQL died: start it again where it was; nothing that was acknowledged is lost by that."""
        while True:
            await asyncio.sleep(0.2)
            if not postgres.running and not self._draining:
                log.error("PostgreSQL has ended; starting it again")
                await postgres.restart()

    async def _judge_health(self, assembled: "Assembled") -> None:
        every = self.settings.health_interval_s
        while True:
            since = datetime.now(UTC) - timedelta(seconds=2 * every)
            await asyncio.sleep(every)
            with _logged("judging health"):
                async with assembled.store.alone("judging health") as mine:
                    if mine:
                        await assembled.judge_health(since)

    async def _count_executions(self, assembled: "Assembled") -> None:
        """Analytics count what is not in the rollups yet by itself, so nothing but their speed depends on this."""
        while True:
            await asyncio.sleep(EXECUTIONS_COUNTED_EVERY_S)
            with _logged("counting executions"):
                await assembled.store.fold_executions()

    async def _write_uses(self, assembled: "Assembled") -> None:
        while True:
            await asyncio.sleep(USES_WRITTEN_EVERY_S)
            with _logged("writing down which rights were used"):
                await assembled.write_uses()

    async def _write_denials(self, assembled: "Assembled") -> None:
        while True:
            await asyncio.sleep(DENIALS_WRITTEN_EVERY_S)
            with _logged("writing down what was denied"):
                await write_denials(assembled.platform)

    async def _rescan(self, assembled: "Assembled") -> None:
        """Check stored versions again that the rules of now have not seen; slowly, for nobody waits for it."""
        while True:
            await asyncio.sleep(self.settings.rescan_pause_s)
            found = False
            with _logged("checking a stored version again"):
                async with assembled.store.alone("checking stored versions again") as mine:
                    found = mine and await assembled.rescan_next()
            if not found:
                await asyncio.sleep(RESCANS_LOOKED_FOR_EVERY_S)

    async def _tidy(self, assembly: Any, assembled: "Assembled") -> None:
        while True:
            with _logged("tidying"):
                async with assembled.store.alone("tidying") as mine:
                    if mine:
                        await assembly.tidy(assembled, self.settings)
            await asyncio.sleep(3600)


def _load_libraries(settings: Settings) -> Any:
    assembly = importlib.import_module("plugyard.bootstrap.assembly")
    if settings.cache_url is not None:
        importlib.import_module("plugyard.infrastructure.valkey.link")
    return assembly


async def together(*works: Coroutine[Any, Any, Any]) -> list[Any]:
    """Run all at once; the first error cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


@contextlib.contextmanager
def _logged(work: str) -> Iterator[None]:
    """Work that is done again later anyway: an error is told, and ends nothing."""
    try:
        yield
    except PlugyardError as error:
        log.warning(f"{work} failed", error=error.message)
    except Exception:
        # A row or a right that nobody thought of is no reason for every replica in turn to end.
        log.exception(f"{work} failed")


def bound(host: str, port: int) -> socket.socket:
    """A socket on the port asked for, or on a free one for 0; it refuses connections until somebody listens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise CannotStart(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port"
        ) from error
    return listener


def shown(host: str) -> str:
    """The host as a client on this machine names it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
