"""The life of the embedded PostgreSQL: made, started, stopped, and ended with the service however that ends.

`plugyard.bootstrap` starts it before everything else and stops it last.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from plugyard.infrastructure.embedded import process
from plugyard.infrastructure.embedded.account import Account, postgres_account
from plugyard.infrastructure.embedded.credentials import Credentials
from plugyard.infrastructure.embedded.errors import (
    DataFolderInUseError,
    EmbeddedPostgresError,
    EmbeddedPostgresFailedError,
)
from plugyard.infrastructure.embedded.installation import cluster_for, programs_for
from plugyard.infrastructure.embedded.roles import (
    DATABASE,
    KEEPER,
    OWNER,
    PLUGINS_DATABASE,
    SERVICE,
    SUPERUSER,
)
from plugyard.infrastructure.postgres.urls import Urls

_LOG_LIMIT_BYTES = 16 * 1024 * 1024
_START_LIMIT_S = 120.0
"""Recovery after a crash replays the write-ahead log, which `max_wal_size` bounds; a slow disk may take its time."""

_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # Loopback with a password alone: a socket file would need a folder that both accounts can reach.
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "100",
    # One table of locks for all: a plugin that touches many tables in one transaction must not fill it.
    "max_locks_per_transaction": "256",
    # A query of a plugin may sort and join on disk, and not until the disk is full.
    "temp_file_limit": "1GB",
    # What a client no longer waits for is ended, not computed to its end.
    "client_connection_check_interval": "2s",
    "shared_buffers": "128MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    # One server, no standby: what is written ahead need only serve recovery.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "wal_compression": "on",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
    "checkpoint_timeout": "15min",
    # Plans of this service are short; compiling them costs more than it saves.
    "jit": "off",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u ",
    "log_min_messages": "warning",
    "log_min_error_statement": "panic",
    "logging_collector": "off",
    "idle_in_transaction_session_timeout": "60s",
}

Progress = Callable[[str], None]


@dataclass(frozen=True)
class _Place:
    """Where the programs and the cluster are, and who runs them."""

    programs: Path
    cluster: Path
    account: Account


class EmbeddedPostgres:
    """One PostgreSQL server for one data folder and one service."""

    def __init__(self, data: Path) -> None:
        self._data = data.absolute()
        self._log = self._data / "postgres.log"
        self._lock: int | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._place: _Place | None = None
        self._port = 0

    async def start(self, progress: Progress = lambda _: None) -> Urls:
        """Starts the server, making the cluster on the first start, and answers when it accepts connections.

        `progress` is told, in whole sentences, of steps that take long or put something in an unexpected place. Must
        run in the main thread. Raises `DataFolderInUseError` when another service runs on this folder and
        `EmbeddedPostgresFailedError` with PostgreSQL's own words when it does not come up.
        """
        try:
            self._data.mkdir(parents=True, exist_ok=True)
            self._lock = lock_folder(self._data)
        except OSError as error:
            raise EmbeddedPostgresError(f"The data folder {self._data} cannot be used: {error.strerror}.") from error
        try:
            account = postgres_account(self._data / "postgres")
            cluster = cluster_for(self._data, account, progress)
            if cluster != self._data / "postgres":
                account = postgres_account(cluster)
            programs = programs_for(account, progress)
            self._rotate_log()
            made = (cluster / "PG_VERSION").exists()
            credentials = Credentials.load_or_make(self._data, fresh=not made)
            if made:
                await self._recover(cluster, progress)
            else:
                progress("Making the database cluster")
                await _make_cluster(programs, cluster, account, credentials, self._log)
            self._place = _Place(programs, cluster, account)
            await self._launch(self._place, [_free_port() for _ in range(5)])
            if not credentials.prepared:
                # Imported here, because later starts have no need of it and of the database's client library.
                from plugyard.infrastructure.embedded.preparation import prepare_database

                await prepare_database(_url(SUPERUSER, credentials.superuser, self._port, "postgres"), credentials)
                credentials.mark_prepared(self._data)
        except BaseException:
            await self.stop()
            raise
        return Urls(
            _url(OWNER, credentials.owner, self._port),
            _url(SERVICE, credentials.service, self._port),
            _url(KEEPER, credentials.keeper, self._port, PLUGINS_DATABASE),
        )

    async def restart(self) -> None:
        """Starts a server that ended by itself again, on the same port, so that its URLs stay what they were.

        What was committed is there. Raises `EmbeddedPostgresFailedError` when it does not come up.
        """
        if self._place is None or self.running:
            return
        await self._recover(self._place.cluster, lambda _: None)
        await self._launch(self._place, [self._port])

    async def stop(self) -> None:
        """Stops the server and gives the data folder free; does nothing when it does not run."""
        if self._child is not None:
            await process.end(self._child)
            self._child = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def port(self) -> int:
        """Where it listens, on loopback; 0 before it was started."""
        return self._port

    @property
    def running(self) -> bool:
        """Whether the server's process lives."""
        return self._child is not None and self._child.poll() is None

    async def _recover(self, cluster: Path, progress: Progress) -> None:
        """Clears the way after a service that did not stop its server; a clean stop leaves nothing to clear."""
        stale = cluster / "postmaster.pid"
        if await process.end_leftovers(cluster) or stale.exists():
            progress("The last run did not end cleanly: PostgreSQL recovers")
        # Its number may meanwhile be that of another process, and PostgreSQL would then refuse to start.
        stale.unlink(missing_ok=True)

    async def _launch(self, place: _Place, ports: Sequence[int]) -> None:
        """Starts `postgres` on the first of the ports that is still free and waits until it accepts connections."""
        for port in ports:
            settings = [f"--{name}={value}" for name, value in {**_SETTINGS, "port": str(port)}.items()]
            begin = self._log.stat().st_size if self._log.exists() else 0
            with self._log.open("ab") as sink:
                arguments = ["-D", str(place.cluster), *settings]
                child = process.spawn(place.account, place.programs / "postgres", arguments, sink)
            self._child = child
            if await _ready(child, place.cluster):
                self._port = port
                return
            said = process.tail(self._log, max(1, self._log.stat().st_size - begin))
            await process.end(child)
            # Between the choice of a port and its use another program may take it.
            if "could not bind" not in said:
                raise EmbeddedPostgresFailedError(f"PostgreSQL did not start; {self._log} ends with:\n{said[-2000:]}")
        raise EmbeddedPostgresFailedError(f"PostgreSQL found none of the ports {list(ports)} free.")

    def _rotate_log(self) -> None:
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT_BYTES:
            self._log.replace(self._log.with_suffix(".log.1"))


async def _make_cluster(programs: Path, cluster: Path, account: Account, credentials: Credentials, log: Path) -> None:
    """Makes the cluster beside its place and renames it, so that an interrupted first start is simply done again."""
    draft = cluster.with_name(f"{cluster.name}.new")
    words = cluster.with_name(f"{cluster.name}.password")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    words.unlink(missing_ok=True)
    descriptor = os.open(words, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(credentials.superuser)
        if account.switched:
            os.chown(draft, account.uid, account.gid)
            os.chown(words, account.uid, account.gid)
        arguments = [
            f"--pgdata={draft}",
            f"--username={SUPERUSER}",
            f"--pwfile={words}",
            "--auth-host=scram-sha-256",
            "--auth-local=reject",
            "--encoding=UTF8",
            "--locale=C",
            # The same order on every machine and after every upgrade of its C library.
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--data-checksums",
        ]
        await process.run(account, programs / "initdb", arguments, log)
        draft.rename(cluster)
    finally:
        words.unlink(missing_ok=True)
        shutil.rmtree(draft, ignore_errors=True)


async def _ready(child: subprocess.Popen[bytes], cluster: Path) -> bool:
    """Waits until PostgreSQL writes `ready` into its lock file, as its own `pg_ctl` does; `False` when it ended."""
    status = cluster / "postmaster.pid"
    limit = time.monotonic() + _START_LIMIT_S
    while child.poll() is None and time.monotonic() < limit:
        try:
            lines = status.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            lines = []
        if len(lines) >= 8 and lines[0] == str(child.pid) and lines[7].strip() == "ready":
            return True
        await asyncio.sleep(0.005)
    return False


def lock_folder(data: Path) -> int:
    """Takes the data folder for this process; the kernel gives it free when the process ends, however it ends."""
    descriptor = os.open(data / "postgres.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise DataFolderInUseError(
            f"Another service (process {holder}) runs on {data}. Stop it, or choose another folder with --data."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _url(role: str, password: str, port: int, database: str = DATABASE) -> str:
    return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{port}/{database}"
