"""Backup and restore as docs/runbook.md tells: with PostgreSQL's own tools while the service runs, and by a cold copy.

What was acknowledged before the backup works after the restore: executions, plugins and their tables and files, API
keys, secrets that are sealed, and the trail that proves itself.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from plugyard.infrastructure.embedded.account import postgres_account
from plugyard.infrastructure.embedded.installation import programs_for
from plugyard.infrastructure.embedded.roles import DATABASE, PLUGINS_DATABASE, SUPERUSER
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from tests.acceptance.test_path_of_a_package import active, run
from tests.conftest import RunningService, reachable_folder, start_service

CODE = """
async def setup(input, context):
    await context.services.database.execute("create table notes (id int primary key, words text)")
    await context.services.database.execute("insert into notes values (1, $1)", [input])
    await context.services.files.write("note.txt", input)
    return "kept"

async def recall(input, context):
    rows = await context.services.database.query("select words from notes order by id")
    return {"rows": [row["words"] for row in rows], "file": await context.services.files.read("note.txt"),
            "secret": len(context.configuration["token"])}
"""
SCHEMA = {"type": "object", "properties": {"token": {"type": "string", "writeOnly": True}}}
TOKEN = "sealed-before-the-backup"
# What of a data folder is neither the database nor made anew by a start.
KEPT = ("keys.json", "postgres.secrets", "objects")


@dataclass
class Before:
    """What was there when the backup was made."""

    plugin: str
    execution: dict[str, Any]
    key: str
    trail: int


@dataclass
class Ended:
    """A service that was backed up while it ran and has ended since: its folder, its backup, and what was there."""

    data: Path
    backup: Path
    before: Before
    lost: str
    """An execution that came after the backup."""


def fill(running: RunningService) -> Before:
    """Have one thing of every kind that must come back."""
    with running.client() as client:
        plugin = active(
            client, "keeper", CODE, configuration=SCHEMA, security={"permissions": ["database", "filesystem"]}
        )
        answer = client.patch(f"/api/v1/plugins/{plugin}/config", json={"token": TOKEN})
        assert answer.status_code == 200, answer.text
        assert run(client, plugin, "setup", "remember me")["status"] == "succeeded"
        execution = run(client, plugin, "recall")
        assert execution["status"] == "succeeded", execution
        made = client.post("/api/v1/keys", json={"name": "of a caller", "role": "developer"})
        assert made.status_code == 201, made.text
        trail = len(client.get("/api/v1/audit", params={"limit": 100}).json()["items"])
    return Before(plugin, execution, made.json()["secret"], trail)


def check(running: RunningService, before: Before) -> None:
    """Everything is as it was, and works."""
    with running.client(before.key) as client:
        seen = client.get(f"/api/v1/executions/{before.execution['executionId']}").json()
        assert (seen["status"], seen["version"]) == ("succeeded", "1.0.0")
        again = run(client, before.plugin, "recall")
        assert again["output"] == {"rows": ["remember me"], "file": "remember me", "secret": len(TOKEN)}
    with running.client() as client:
        assert len(client.get("/api/v1/audit", params={"limit": 100}).json()["items"]) >= before.trail
        # Uploads go on as well: objects are read and written.
        assert run(client, active(client, "later"), "add", {"a": 1, "b": 2})["output"] == 3
    # The chain of the trail is followed by a program that believes nothing of what the service says.
    verify = [sys.executable, "-m", "plugyard.cli", "audit", "verify", "--data", str(running.data)]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def ended() -> Iterator[Ended]:
    """One for all: what they do is done to copies."""
    data, backup = reachable_folder(), reachable_folder()
    running = start_service(data)
    try:
        before = fill(running)
        back_up(data, backup)
        # What comes after the backup is not in it.
        with running.client() as client:
            lost = run(client, before.plugin, "recall")["executionId"]
        assert running.stop() == 0
        yield Ended(data, backup, before, lost)
    finally:
        stop(running)
        for folder in (data, backup):
            shutil.rmtree(folder, ignore_errors=True)


def stop(running: RunningService) -> None:
    if running.process.poll() is None:
        running.stop()


class Tools:
    """PostgreSQL's own programs for one server, as its superuser."""

    def __init__(self, data: Path) -> None:
        self._account = postgres_account(data / "postgres")
        self._programs = programs_for(self._account, lambda _: None)
        port = (data / "postgres" / "postmaster.pid").read_text().splitlines()[3]
        password = json.loads((data / "postgres.secrets").read_text())["superuser"]
        self._environment = {
            "PGHOST": "127.0.0.1",
            "PGPORT": port,
            "PGUSER": SUPERUSER,
            "PGPASSWORD": password,
            "PATH": os.defpath,
        }

    def __call__(self, program: str, *words: str, fails: bool = False) -> str:
        done = subprocess.run(
            [str(self._programs / program), *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert fails or done.returncode == 0, f"{program}: {done.stderr}"
        return done.stdout


def back_up(data: Path, backup: Path) -> None:
    """The steps of the runbook, while the service runs: the databases first, then what their rows name."""
    tools = Tools(data)
    (backup / "roles.sql").write_text(tools("pg_dumpall", "--roles-only", "--database=postgres"))
    for database in (DATABASE, PLUGINS_DATABASE):
        tools("pg_dump", "--format=custom", f"--file={backup / database}.dump", database)
    for name in KEPT:
        source = data / name
        if source.is_dir():
            shutil.copytree(source, backup / name)
        else:
            shutil.copy2(source, backup / name)


async def restore(backup: Path, data: Path) -> None:
    """The steps of the runbook, into an empty folder."""
    server = EmbeddedPostgres(data)
    await server.start()
    try:
        tools = Tools(data)
        for database in (DATABASE, PLUGINS_DATABASE):
            tools("dropdb", "--force", "--maintenance-db=postgres", database)
            tools("createdb", "--maintenance-db=postgres", database)
        # Roles that every server has are there already; their passwords become those of the backup all the same.
        tools("psql", "--quiet", "--dbname=postgres", f"--file={backup / 'roles.sql'}", fails=True)
        tools = Tools(_with_secrets(data, backup))
        for database in (DATABASE, PLUGINS_DATABASE):
            dump = str(backup / f"{database}.dump")
            tools("pg_restore", "--exit-on-error", "--clean", "--if-exists", "--create", "--dbname=postgres", dump)
    finally:
        await server.stop()
    for name in KEPT:
        source = backup / name
        if source.is_dir():
            shutil.copytree(source, data / name, dirs_exist_ok=True)
        else:
            shutil.copy2(source, data / name)


def _with_secrets(data: Path, backup: Path) -> Path:
    shutil.copy2(backup / "postgres.secrets", data / "postgres.secrets")
    return data


async def test_what_was_dumped_while_the_service_ran_comes_back(ended: Ended, data_folder: Path) -> None:
    await restore(ended.backup, data_folder)
    running = start_service(data_folder)
    try:
        check(running, ended.before)
        with running.client() as client:
            assert client.get(f"/api/v1/executions/{ended.lost}").status_code == 404
        with closing(_as_service(data_folder)) as connection:
            # The role of the service is still bound by row-level security: without a tenant it sees nothing.
            assert connection.execute("select count(*) from plugyard.plugins").fetchone() == (0,)
    finally:
        stop(running)


def _as_service(data: Path) -> psycopg.Connection[Any]:
    port = (data / "postgres" / "postmaster.pid").read_text().splitlines()[3]
    password = json.loads((data / "postgres.secrets").read_text())["service"]
    return psycopg.connect(
        host="127.0.0.1", port=int(port), user="plugyard_service", password=password, dbname=DATABASE
    )


def _copied(ended: Ended, elsewhere: Path) -> Path:
    # With owners and modes, for PostgreSQL runs as somebody else where the service is root.
    subprocess.run(["cp", "-a", f"{ended.data}/.", str(elsewhere)], check=True)
    return elsewhere


def test_a_copy_of_a_stopped_service_starts_elsewhere(ended: Ended, data_folder: Path) -> None:
    running = start_service(_copied(ended, data_folder))
    try:
        check(running, ended.before)
    finally:
        stop(running)


def test_without_its_keys_a_restored_database_opens_no_secret(ended: Ended, data_folder: Path) -> None:
    keys = _copied(ended, data_folder) / "keys.json"
    keys.write_text(json.dumps({**json.loads(keys.read_text()), "secrets": []}))
    running = start_service(data_folder)
    try:
        with running.client() as client:
            path = f"/api/v1/plugins/{ended.before.plugin}/execute"
            answer = client.post(path, json={"function": "recall", "input": None})
            assert (answer.status_code, answer.json()["code"]) == (503, "secrets_locked")
            assert _is_there(client, ended.before)
    finally:
        stop(running)


def _is_there(client: httpx.Client, before: Before) -> bool:
    return client.get(f"/api/v1/executions/{before.execution['executionId']}").json()["status"] == "succeeded"
