"""Secrets in a real service: planted, used in every way, and then looked for everywhere. And its trail, verified."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.acceptance.test_path_of_a_package import active, package, run, upload
from tests.conftest import RunningService, reachable_folder, start_service

PLANTED = "planted-secret-5Zr8"
INNER = "planted-inner-0Qx2"
SCHEMA = {
    "type": "object",
    "properties": {
        "token": {"type": "string", "writeOnly": True, "maxLength": 40},
        "account": {
            "type": "object",
            "writeOnly": True,
            "properties": {"password": {"type": "string"}},
            "additionalProperties": {"type": "integer"},
        },
        "region": {"type": "string", "maxLength": 5},
    },
}
CODE = """
def greet(input, context):
    context.services.logger.info("token is " + context.configuration["token"], inner=context.configuration["account"])
    return len(context.configuration["token"])

def fail(input, context):
    raise ValueError("refused: " + context.configuration["account"]["password"])

async def tell(input, context):
    await context.services.events.publish("told.all", {"all": [context.configuration["token"]]})
"""


@pytest.fixture(scope="module")
def own() -> Iterator[RunningService]:
    """A service of its own, because every row and file of it is looked at."""
    folder = reachable_folder()
    running = start_service(folder, "--log-level", "debug")
    yield running
    if running.process.poll() is None:
        running.stop()
    shutil.rmtree(folder, ignore_errors=True)


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "plugyard.cli", *words], check=False, capture_output=True, text=True, timeout=60
    )


def _use_in_every_way(client: httpx.Client) -> list[httpx.Response]:
    """Every answer that came while the secrets were set, used, told by the plugin, and wrong."""
    permissions = [{"service": "events", "topics": ["told.*"]}]
    plugin = active(client, "keeper", CODE, configuration=SCHEMA, security={"permissions": permissions})
    one = f"/api/v1/plugins/{plugin}"
    answers = [client.patch(f"{one}/config", json={"token": PLANTED, "account": {"password": INNER}, "region": "eu"})]
    for wrong in (
        {"token": PLANTED * 10},
        {"token": [PLANTED]},
        {"account": {"password": [INNER]}},
        {"account": {INNER: INNER}},
        {"region": "much too long"},
    ):
        answers.append(client.patch(f"{one}/config", json=wrong))
        assert answers[-1].status_code == 422, answers[-1].text
    assert run(client, plugin, "greet")["output"] == len(PLANTED)
    for function in ("greet", "fail", "tell"):
        answers.append(client.post(f"{one}/execute", json={"function": function}))
        assert answers[-1].status_code == 200
    newer = package(CODE + "\n", metadata={"name": "keeper", "version": "1.1.0"}, configuration={"type": "object"},
                    security={"permissions": permissions})  # fmt: skip
    answers += [upload(client, newer), client.post(f"{one}/upgrade", json={})]
    assert answers[-1].status_code == 200, answers[-1].text
    # A version that no longer marks them must not make them readable, not even after another change.
    answers.append(client.patch(f"{one}/config", json={"other": 1}))
    assert answers[-1].json()["configuration"]["token"] == "********"
    assert run(client, plugin, "greet")["output"] == len(PLANTED)
    paths = ("", "/logs", "/executions", "/versions", "/report", "/metrics")
    answers += [client.get(one + path) for path in paths]
    answers += [client.get(path) for path in ("/api/v1/plugins", "/api/v1/audit", "/api/v1/audit/export")]
    assert all(answer.status_code < 500 for answer in answers)
    return answers


def _dump(service: RunningService) -> Iterator[tuple[str, str]]:
    """Every row of every table of the service's database, as a superuser sees them."""
    password = json.loads((service.data / "postgres.secrets").read_text())["superuser"]
    cluster = service.data / "postgres"
    if not cluster.exists():
        cluster = Path((service.data / "postgres.location").read_text().strip())
    port = (cluster / "postmaster.pid").read_text().splitlines()[3]
    url = make_conninfo(host="127.0.0.1", port=port, user="plugyard_superuser", password=password, dbname="plugyard")
    with psycopg.connect(url) as connection:
        tables = connection.execute("select tablename from pg_tables where schemaname = 'plugyard'").fetchall()
        for (table,) in tables:
            rows = sql.SQL("select t::text from plugyard.{} t").format(sql.Identifier(table))
            for (row,) in connection.execute(rows):
                yield table, row


def test_a_planted_secret_is_nowhere_but_sealed(own: RunningService) -> None:
    with own.client() as client:
        answers = _use_in_every_way(client)
    rows = list(_dump(own))
    assert {"plugins", "audit_log", "outbox", "plugin_logs_default"} & {table for table, _ in rows}
    assert any("********" in row for table, row in rows if table.startswith("plugin_logs")), "the log has no mask"
    assert any("********" in row for table, row in rows if table == "outbox"), "the event has no mask"
    found = [table for table, row in rows if any(_has(row, secret) for secret in (PLANTED, INNER))]
    assert found == []
    told = [str(answer.request.url) for answer in answers if any(one in answer.text for one in (PLANTED, INNER))]
    assert told == []
    files = [path for path in own.data.rglob("*") if path.is_file() and "postgres/" not in str(path)]
    assert own.log in files
    holding = [path for path in files if any(one.encode() in path.read_bytes() for one in (PLANTED, INNER))]
    assert holding == []


def _has(row: str, secret: str) -> bool:
    return secret in row or secret.encode().hex() in row


def test_the_trail_of_a_real_service_verifies_and_a_change_in_it_is_found(own: RunningService) -> None:
    where = ("--data", str(own.data))
    with own.client() as client:
        active(client, "audited")
        noted = client.get("/api/v1/audit/head").json()
    head = f"{noted['sequence']}:{noted['hash']}"
    verified = command("audit", "verify", *where, "--json")
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout) == {"intact": True, "head": head, "entries": noted["sequence"]}
    assert command("audit", "verify", *where, "--since-head", head).returncode == 0
    assert command("audit", "verify", *where, "--platform").returncode == 0
    forged = f"{noted['sequence']}:{'ab' * 32}"
    refused = command("audit", "verify", *where, "--since-head", forged)
    assert refused.returncode == 1
    assert f"entry {noted['sequence']}" in refused.stderr


def test_secrets_are_rotated_by_the_command_line_over_a_restart_with_a_new_key(own: RunningService) -> None:
    key = command("secrets", "new-key", "--name", "second").stdout.strip()
    assert own.stop() == 0
    again = start_service(own.data, "--secret-keys", key)
    try:
        before = command("secrets", "keys", "--data", str(own.data)).stdout.splitlines()
        assert [line.split()[0] for line in before] == ["second", "made-at-first-start"]
        rotated = command("secrets", "rotate", "--data", str(own.data))
        assert rotated.returncode == 0, rotated.stderr
        after = command("secrets", "keys", "--data", str(own.data)).stdout.splitlines()
        assert int(after[0].split()[1]) >= 1
        assert int(after[1].split()[1]) == 0
        with again.client() as client:
            plugin = _named(client, "keeper")
            assert run(client, plugin, "greet")["output"] == len(PLANTED)
            platform = client.get("/api/v1/audit", headers={"Authorization": f"Bearer {again.operator_key}"}).json()
        assert platform["items"][0]["action"] == "secrets.rotated"
    finally:
        again.stop()


def _named(client: httpx.Client, name: str) -> str:
    plugins: list[dict[str, Any]] = client.get("/api/v1/plugins").json()["items"]
    return next(str(one["id"]) for one in plugins if one["name"] == name)
