"""The only place where ports meet adapters: builds the embedded service out of its parts, starts and ends it.

``cli/running.py`` runs a ``Service`` in the foreground; the tests run one of their own.
"""

import asyncio
import contextlib
import gc
import json
import os
import secrets
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
import uuid_utils
from granian.constants import Interfaces
from granian.server.embed import Server
from litestar import Litestar

from plugyard import __version__
from plugyard.application.housekeeping import drop_data, sweep_orphans
from plugyard.application.keys import PREFIX, new_secret
from plugyard.application.observe import check_all_health
from plugyard.application.platform import Platform, Policies
from plugyard.application.publish import Published, publish
from plugyard.application.tenants import ensure_key, ensure_tenant
from plugyard.domain.errors import PlugyardError
from plugyard.domain.health import SuspensionRule
from plugyard.domain.identity import Role
from plugyard.domain.limits import LimitPolicy
from plugyard.domain.versions import Version
from plugyard.gate.jailed import JailedInspector
from plugyard.gate.limits import GateLimits
from plugyard.http.app import create_app, drain
from plugyard.infrastructure.embedded.errors import EmbeddedPostgresError
from plugyard.infrastructure.embedded.roles import SERVICE
from plugyard.infrastructure.embedded.server import EmbeddedPostgres, Urls
from plugyard.infrastructure.objects import FolderObjects
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.plugin_databases import PostgresPluginDatabases
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.telemetry import Telemetry, configure_logging
from plugyard.sandbox import jail
from plugyard.sandbox.outside.compiler import CompilerLimits
from plugyard.sandbox.outside.components import CompiledFolder
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import GuestBuildError, build_guests
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.sandbox.services.base import Scope
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.database import DatabaseLimits, DatabaseService
from plugyard.sandbox.services.database_connections import Connections
from plugyard.sandbox.services.events import EventsService
from plugyard.sandbox.services.files import FilesService
from plugyard.sandbox.services.http import HttpEgress
from plugyard.sandbox.services.registry import Services
from plugyard.settings import MEGABYTE, Settings

KEYS_FILE, SERVICE_FILE = "keys.json", "service.json"
DRAIN_S = 10.0
ACCEPTS_WITHIN_S = 10.0
MINIMUM_KEY_LENGTH = 32
Progress = Callable[[str, float | None], None]
T = TypeVar("T")
log = structlog.get_logger("plugyard")


class CannotStart(Exception):
    """The service cannot start; the message says what to do about it."""


@dataclass(frozen=True)
class Keys:
    """The secrets of one data folder: the pepper of all key hashes, and the two keys that the service itself makes."""

    pepper: str
    admin: str
    operator: str

    def __repr__(self) -> str:
        return "Keys(...)"

    @classmethod
    def of(cls, data: Path, admin_key: str | None) -> "Keys":
        """Those of the folder, made at the first start; an admin key that the settings name takes the place of ours."""
        file = data / KEYS_FILE
        if file.exists():
            kept = cls(**json.loads(file.read_text()))
        else:
            kept = cls(secrets.token_hex(32), new_secret(), new_secret())
        if admin_key is not None:
            if not admin_key.startswith(PREFIX) or len(admin_key) < len(PREFIX) + MINIMUM_KEY_LENGTH:
                raise CannotStart(
                    f"--admin-key must be {PREFIX} and at least {MINIMUM_KEY_LENGTH} characters that nobody can guess"
                )
            kept = cls(kept.pepper, admin_key, kept.operator)
        _write_private(file, json.dumps(kept.__dict__))
        return kept


class Service:
    """The embedded service: everything on one machine, started and ended together.

    ``start`` brings the parts up in the order of their need and ``stop`` takes down whatever is up, in reverse.
    """

    def __init__(self, settings: Settings, progress: Progress = lambda step, fraction: None) -> None:
        self.settings = settings
        self.url = ""
        self.admin_key = ""
        self._progress = progress
        self._parts = AsyncExitStack()
        self._failed = asyncio.Event()
        self._draining = False

    async def start(self) -> None:
        """Start everything; raises ``CannotStart`` with what to do about it."""
        settings = self.settings
        configure_logging(settings.log_format, settings.log_level)
        try:
            settings.data.mkdir(parents=True, exist_ok=True)
            port = _listening_port(settings.host, settings.port)
            await self._start(port)
        except OSError as error:
            raise CannotStart(f"the data folder {settings.data} cannot be used: {error}") from error
        except (EmbeddedPostgresError, GuestBuildError) as error:
            raise CannotStart(str(error)) from error
        except PlugyardError as error:
            raise CannotStart(error.message) from error

    async def _start(self, port: int) -> None:
        settings = self.settings
        await self._look_at_namespaces()
        # The database and the sandbox know nothing of each other, so they come up side by side.
        inspector = JailedInspector(_gate_limits(settings), enforced=not settings.unsafe_no_jail)
        self._parts.push_async_callback(inspector.close)
        services = Services(settings.service_calls_per_s)
        keys = Keys.of(settings.data, settings.admin_key)
        (store, recorder, postgres, urls), sandbox, _ = await together(
            self._start_store(), self._start_sandbox(services, bytes.fromhex(keys.pepper)), inspector.start()
        )
        self.admin_key = keys.admin
        telemetry = Telemetry(sandbox.environments)
        objects = FolderObjects(settings.data / "objects")
        databases = PostgresPluginDatabases(urls.keeper_url, bytes.fromhex(keys.pepper))
        platform = Platform(
            store,
            objects,
            recorder,
            inspector,
            sandbox,
            databases,
            lambda: datetime.now(UTC),
            lambda: str(uuid_utils.uuid7()),
            bytes.fromhex(keys.pepper),
            _policies(settings),
            telemetry.execution,
        )
        self._parts.push_async_callback(platform.settle)
        offer_services(services, platform, databases, settings)
        await self._make_keys_known(platform, keys)
        app = create_app(
            platform,
            telemetry=telemetry,
            ready=partial(self._ready, store, postgres, sandbox, inspector),
            upload_folder=settings.data / "uploads",
            max_upload_bytes=settings.max_package_mb * MEGABYTE,
            version=__version__,
        )
        await self._serve(app, port)
        for work in (self._watch(postgres), self._judge_health(platform), self._tidy(platform, store)):
            self._run_beside(work)
        _write_private(settings.data / SERVICE_FILE, json.dumps({"url": self.url, "pid": os.getpid()}))
        self._parts.callback(lambda: (settings.data / SERVICE_FILE).unlink(missing_ok=True))
        # What lives now lives as long as the service. The collector need not walk through it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        log.info("ready", url=self.url, jail=not settings.unsafe_no_jail)
        if settings.unsafe_no_jail:
            log.warning("plugins run without the process jail (--unsafe-no-jail): WebAssembly alone holds them")

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
        await self._parts.aclose()

    async def failed(self) -> None:
        """Wait until a part that cannot be replaced has ended; the service should then be stopped."""
        await self._failed.wait()

    # --- the parts ---------------------------------------------------------------------------------------------------

    async def _start_store(self) -> tuple[PostgresStore, PostgresRecorder, EmbeddedPostgres, Urls]:
        self._progress("starting PostgreSQL", None)
        postgres = EmbeddedPostgres(self.settings.data)
        self._parts.push_async_callback(postgres.stop)
        urls = await postgres.start(lambda sentence: self._progress(sentence, None))
        await migrate(urls.owner_url, SERVICE)
        store, recorder = PostgresStore(urls.service_url), PostgresRecorder(urls.service_url)
        await store.open()
        self._parts.push_async_callback(store.close)
        await recorder.open()
        self._parts.push_async_callback(recorder.close)
        await store.ensure_partitions()
        return store, recorder, postgres, urls

    async def _start_sandbox(self, services: Services, secret: bytes) -> Sandbox:
        settings = self.settings
        guests = await build_guests(settings.guests, self._progress)
        # Behind the sandbox in the order of ends: what still runs may need them.
        self._parts.push_async_callback(services.close)
        compiled = CompiledFolder(settings.data / "compiled", secret, settings.compiled_cache_mb * MEGABYTE)
        sandbox = Sandbox(
            guests,
            _pool_settings(settings),
            services=services,
            enforced=not settings.unsafe_no_jail,
            compiled=compiled,
            compiling=CompilerLimits(timeout_s=settings.compile_timeout_s),
            modules_denied=settings.modules_denied,
        )
        self._parts.push_async_callback(sandbox.close)
        await sandbox.start()
        return sandbox

    async def _make_keys_known(self, platform: Platform, keys: Keys) -> None:
        tenant = await ensure_tenant(platform, self.settings.tenant, self.settings.tenant.capitalize())
        name = "the service's own admin key"
        await ensure_key(platform, keys.admin, name=name, role=Role.ADMIN, tenant_id=tenant.id)
        await ensure_key(platform, keys.operator, name="operator key", role=Role.OPERATOR, tenant_id=None)

    async def _ready(
        self, store: PostgresStore, postgres: EmbeddedPostgres, sandbox: Sandbox, inspector: JailedInspector
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

    async def _serve(self, app: Litestar, port: int) -> None:
        server = Server(app, self.settings.host, port, interface=Interfaces.ASGI, log_enabled=False, backlog=1024)
        serving = asyncio.create_task(server.serve())
        serving.add_done_callback(self._ended_by_itself)

        async def end() -> None:
            drain(app)
            server.stop()  # type: ignore[no-untyped-call]
            # What executes now may end; what takes longer is cut, and its caller's connection with it.
            await asyncio.wait([serving], timeout=DRAIN_S)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

        self._parts.push_async_callback(end)
        self.url = f"http://{_shown(self.settings.host)}:{port}"
        await asyncio.to_thread(_wait_until_it_accepts, self.settings.host, port)

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

    async def _watch(self, postgres: EmbeddedPostgres) -> None:
        """PostgreSQL died: start it again where it was; nothing that was acknowledged is lost by that."""
        while True:
            await asyncio.sleep(0.2)
            if not postgres.running and not self._draining:
                log.error("PostgreSQL has ended; starting it again")
                await postgres.restart()

    async def _judge_health(self, platform: Platform) -> None:
        every = self.settings.health_interval_s
        while True:
            since = datetime.now(UTC) - timedelta(seconds=2 * every)
            await asyncio.sleep(every)
            with _logged("judging health"):
                await check_all_health(platform, ran_since=since)

    async def _tidy(self, platform: Platform, store: PostgresStore) -> None:
        kept = timedelta(days=self.settings.retention_days)
        while True:
            with _logged("tidying"):
                swept = await sweep_orphans(platform)
                dropped = await drop_data(platform, timedelta(days=self.settings.plugin_data_retention_days))
                await store.ensure_partitions()
                await store.clean_up(kept, kept)
                log.debug("tidied", orphans=swept, uninstalled=dropped)
            await asyncio.sleep(3600)


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


def _listening_port(host: str, port: int) -> int:
    """The port to listen on: the one asked for, if it is free, or a free one for 0."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --port"
            ) from error
        return int(probe.getsockname()[1])


def _wait_until_it_accepts(host: str, port: int) -> None:
    """Wait until the server listens: it tells nobody when it does."""
    ends = time.monotonic() + ACCEPTS_WITHIN_S
    while True:
        try:
            socket.create_connection((_shown(host).strip("[]"), port), timeout=1).close()
        except OSError as error:
            if time.monotonic() > ends:
                raise CannotStart(f"the server does not listen on {host} port {port}: {error}") from error
            time.sleep(0.005)
        else:
            return


def _shown(host: str) -> str:
    """The host as a client on this machine names it."""
    if host in ("0.0.0.0", "::", ""):  # noqa: S104 - compared, not bound
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _write_private(file: Path, text: str) -> None:
    """Write a file that only this user can read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "w") as open_file:
            open_file.write(text)
            open_file.flush()
            os.fsync(open_file.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _policies(settings: Settings) -> Policies:
    return Policies(
        LimitPolicy(
            settings.default_memory_mb,
            settings.max_memory_mb,
            settings.default_timeout_ms,
            settings.max_timeout_ms,
            settings.max_cpu_ms,
            settings.max_output_kb * 1024,
            settings.max_log_lines,
            settings.max_log_kb * 1024,
            settings.max_service_calls,
            settings.max_service_mb * MEGABYTE,
        ),
        SuspensionRule(settings.suspend_minimum, settings.suspend_ratio, settings.suspend_window_s),
        settings.health_window_s,
        platform_version=Version.parse(__version__),
    )


def offer_services(
    services: Services, platform: Platform, databases: PostgresPluginDatabases, settings: Settings
) -> None:
    """What plugins may call of this server."""
    limits = DatabaseLimits(statement_ms=settings.plugin_statement_ms)
    session = limits.session_settings()
    connections = Connections(
        databases.provide,
        lambda tenant_id, plugin_id: databases.address(tenant_id, plugin_id, session),
        at_most=settings.plugin_connections,
        per_tenant=settings.plugin_connections_per_tenant,
    )

    async def write(scope: Scope, topic: str, payload: Any, hops: int) -> None:
        said = Published(topic, payload, hops)
        await publish(platform, scope.tenant_id, scope.plugin_id, scope.execution_id, said)

    services.offer("database", DatabaseService(connections, limits))
    services.offer(
        "cache",
        CacheService(plugin_bytes=settings.cache_mb_per_plugin * MEGABYTE, total_bytes=settings.cache_mb * MEGABYTE),
    )
    services.offer("events", EventsService(write))
    services.offer("http", HttpEgress())
    services.offer("files", FilesService(platform.objects, plugin_bytes=settings.files_mb_per_plugin * MEGABYTE))


def _gate_limits(settings: Settings) -> GateLimits:
    return GateLimits(
        packed_bytes=settings.max_package_mb * MEGABYTE,
        unpacked_bytes=settings.max_unpacked_mb * MEGABYTE,
        entry_bytes=min(settings.max_unpacked_mb, 100) * MEGABYTE,
        entries=settings.max_entries,
        bundle_bytes=settings.max_bundle_mb * MEGABYTE,
        deadline_s=settings.gate_timeout_s,
    )


def _pool_settings(settings: Settings) -> PoolSettings:
    return PoolSettings(
        spares=settings.spares,
        max_environments=settings.max_environments,
        memory_bytes=settings.environment_memory_mb * MEGABYTE,
        queue_per_tenant=settings.queue_per_tenant,
        idle_s=settings.idle_s,
        max_age_s=settings.max_age_s,
    )
