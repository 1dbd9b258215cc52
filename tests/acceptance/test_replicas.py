"""Two replicas on one PostgreSQL that somebody else runs: prepared by the command line, served by both."""

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from plugyard.infrastructure.embedded.roles import SUPERUSER
from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from tests.acceptance.test_path_of_a_package import active, package, run, upload
from tests.conftest import RunningService, reachable_folder, start_service


@dataclass
class Cluster:
    """A PostgreSQL of its own, and what the replicas have to be told."""

    folder: Path
    superuser_url: str
    variables: dict[str, str]

    def start(self, name: str, *flags: str) -> RunningService:
        """A replica with a data folder of its own."""
        data = self.folder / name
        data.mkdir(exist_ok=True)
        data.chmod(0o755)
        settings = {**self.variables, **dict(zip(flags[::2], flags[1::2], strict=True))}
        words = [word for name, value in settings.items() for word in (_flag(name), value)]
        running = start_service(data, *words)
        running.admin_key = self.variables["PLUGYARD_ADMIN_KEY"]
        running.operator_key = self.variables["PLUGYARD_OPERATOR_KEY"]
        return running


def _flag(name: str) -> str:
    return "--" + name.removeprefix("PLUGYARD_").lower().replace("_", "-") if name.startswith("PLUGYARD_") else name


def _plugyard(*words: str, fails: bool = False, **variables: str) -> str:
    command = [sys.executable, "-m", "plugyard.cli", *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **variables}
    )
    assert (done.returncode != 0) == fails, done.stdout + done.stderr
    return done.stderr if fails else done.stdout


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    folder = reachable_folder()
    server = EmbeddedPostgres(folder / "database")
    (folder / "database").mkdir()
    (folder / "database").chmod(0o755)
    asyncio.run(server.start())
    password = json.loads((folder / "database" / "postgres.secrets").read_text())["superuser"]
    url = f"postgresql://{SUPERUSER}:{password}@127.0.0.1:{server.port}/postgres"
    try:
        made = json.loads(_plugyard("database", "prepare", "--superuser-url", url, "--json"))
        assert "is at revision" in _plugyard("migrate", **made)
        assert "nothing to do" in _plugyard("migrate", **made)
        owner = made.pop("PLUGYARD_DATABASE_OWNER_URL")
        assert "plugyard_owner" in owner
        variables = {
            **made,
            "PLUGYARD_PEPPER": secrets.token_hex(32),
            "PLUGYARD_ADMIN_KEY": "plugyard_" + secrets.token_urlsafe(32),
            "PLUGYARD_OPERATOR_KEY": "plugyard_" + secrets.token_urlsafe(32),
            "PLUGYARD_SECRET_KEYS": "one:" + "A" * 43 + "=",
        }
        yield Cluster(folder, url, variables)
    finally:
        asyncio.run(server.stop())


@pytest.fixture(scope="module")
def replicas(cluster: Cluster) -> Iterator[tuple[RunningService, RunningService]]:
    one = cluster.start("one")
    # Without a bucket the packages are in a folder, which the second shares.
    (cluster.folder / "two").mkdir()
    (cluster.folder / "two" / "objects").symlink_to(cluster.folder / "one" / "objects")
    two = cluster.start("two")
    yield one, two
    for each in (one, two):
        each.stop()


def _within(seconds: float, seen: Any) -> float:
    began = time.monotonic()
    while not seen():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.005)
    return time.monotonic() - began


def test_what_one_replica_installs_another_executes(replicas: tuple[RunningService, RunningService]) -> None:
    one, two = replicas
    with one.client() as first, two.client() as second:
        plugin = active(first, "shared")
        assert run(second, plugin, "add", {"a": 1, "b": 2})["output"] == 3
        execution = run(first, plugin, "add", {"a": 2, "b": 2})["executionId"]
        assert second.get(f"/api/v1/executions/{execution}").json()["status"] == "succeeded"


def test_changes_reach_the_other_replica_within_a_second(replicas: tuple[RunningService, RunningService]) -> None:
    one, two = replicas
    with one.client() as first, two.client() as second:
        plugin = active(first, "changing")
        path = f"/api/v1/plugins/{plugin}"
        call = {"function": "add", "input": {"a": 1, "b": 2}}

        def calls() -> int:
            return second.post(path + "/execute", json=call).status_code

        assert calls() == 200
        assert first.post(path + "/deactivate").status_code == 200
        took = _within(1, lambda: calls() == 409)
        assert took < 1
        assert first.post(path + "/activate").status_code == 200
        _within(1, lambda: calls() == 200)
        newer = package(
            "def add(input, context):\n    return 'newer'\n", metadata={"name": "changing", "version": "2.0.0"}
        )
        assert upload(first, newer, activate="true").json()["plugin"]["version"] == "2.0.0"
        _within(1, lambda: second.post(path + "/execute", json=call).json()["output"] == "newer")
        made = first.post("/api/v1/keys", json={"name": "short", "role": "viewer"}).json()
        with two.client(made["secret"]) as holder:
            assert holder.get("/api/v1/me").status_code == 200
            first.delete(f"/api/v1/keys/{made['id']}")
            _within(1, lambda: holder.get("/api/v1/me").status_code == 401)


def test_what_another_replica_executes_of_a_tenant_that_is_suspended_is_cancelled(
    replicas: tuple[RunningService, RunningService], cluster: Cluster
) -> None:
    one, two = replicas
    with one.client(cluster.variables["PLUGYARD_OPERATOR_KEY"]) as operator, ThreadPoolExecutor(1) as pool:
        made = operator.post("/api/v1/tenants", json={"slug": "elsewhere", "name": "Elsewhere"}).json()
        with two.client(made["key"]["secret"]) as theirs:
            plugin = active(theirs, "lingering")
            napping = pool.submit(run, theirs, plugin, "nap", 20)
            assert run(theirs, plugin, "nap", 0.2)["output"] == "rested"
            began = time.monotonic()
            answer = operator.post(
                f"/api/v1/tenants/{made['tenant']['id']}/suspend", json={"reason": "The contract ends."}
            )
            assert answer.status_code == 200, answer.text
            assert napping.result()["status"] == "cancelled"
            assert time.monotonic() - began < 2
            assert theirs.get("/api/v1/plugins").json()["code"] == "tenant_suspended"


def test_a_lost_notification_costs_no_more_than_the_copys_age(
    replicas: tuple[RunningService, RunningService], cluster: Cluster
) -> None:
    one, two = replicas
    with one.client() as first, two.client() as second:
        plugin = active(first, "unheard")
        path, call = f"/api/v1/plugins/{plugin}", {"function": "add", "input": {"a": 1, "b": 2}}
        assert second.post(path + "/execute", json=call).status_code == 200
        with psycopg.connect(cluster.superuser_url, autocommit=True) as connection:
            listening = "application_name = 'plugyard changes'"
            ended = connection.execute(
                f"select pg_terminate_backend(pid) from pg_stat_activity where {listening}"
            ).rowcount
        assert ended >= 2, "both listen"
        assert first.post(path + "/deactivate").status_code == 200
        _within(1.5, lambda: second.post(path + "/execute", json=call).status_code == 409)


def test_a_rolling_restart_loses_no_request(replicas: tuple[RunningService, RunningService], cluster: Cluster) -> None:
    """A client that goes to whichever replica is ready meets no error while one after the other is replaced."""
    one, _ = replicas
    with one.client() as first:
        plugin = active(first, "rolling")
    (cluster.folder / "three").mkdir()
    (cluster.folder / "three" / "objects").symlink_to(cluster.folder / "one" / "objects")
    third = cluster.start("three")
    key = {"Authorization": f"Bearer {cluster.variables['PLUGYARD_ADMIN_KEY']}"}
    body = {"function": "add", "input": {"a": 1, "b": 2}}
    answers: list[int] = []
    with httpx.Client(timeout=20) as client:
        third.process.send_signal(signal.SIGTERM)
        ends = time.monotonic() + 3
        while time.monotonic() < ends:
            # As a balancer does: only a replica that says it is ready is asked.
            for url in (third.url, one.url):
                try:
                    ready = client.get(f"{url}/health/ready").status_code == 200
                except httpx.HTTPError:
                    continue
                if ready:
                    answers.append(
                        client.post(f"{url}/api/v1/plugins/{plugin}/execute", json=body, headers=key).status_code
                    )
                    break
    assert third.process.wait(20) == 0
    assert len(answers) > 20
    assert set(answers) == {200}


def test_what_a_replica_that_ends_still_executes_is_not_taken_over(
    replicas: tuple[RunningService, RunningService], cluster: Cluster
) -> None:
    """What it holds under a key is its own until it has answered."""
    one, _ = replicas
    with one.client() as first:
        slow = "import asyncio\nasync def slow(input, context):\n    await asyncio.sleep(6)\n    return 3\n"
        plugin = active(first, "lasting", slow)
    (cluster.folder / "four").mkdir()
    (cluster.folder / "four" / "objects").symlink_to(cluster.folder / "one" / "objects")
    ending = cluster.start("four")
    path, body, key = f"/api/v1/plugins/{plugin}/execute", {"function": "slow"}, {"Idempotency-Key": "lasting"}
    with ThreadPoolExecutor(1) as pool, ending.client() as asked, one.client() as other:
        under_way = pool.submit(asked.post, path, json=body, headers=key)
        claimed = "select count(*) from plugyard.idempotency_keys where key = 'lasting'"
        with psycopg.connect(cluster.superuser_url.rpartition("/")[0] + "/plugyard", autocommit=True) as connection:
            _within(30, lambda: connection.execute(claimed).fetchone() == (1,))
        ending.process.send_signal(signal.SIGTERM)
        repeated = other.post(path, json=body, headers=key)
        while repeated.status_code == 409:
            assert repeated.json()["code"] == "idempotency_in_progress"
            time.sleep(0.2)
            repeated = other.post(path, json=body, headers=key)
        answers = [under_way.result(), repeated]
    assert ending.process.wait(20) == 0
    assert [one.status_code for one in answers] == [200, 200]
    assert len({one.json()["executionId"] for one in answers}) == 1, "executed once"


def test_a_database_that_would_not_bind_the_service_is_refused(cluster: Cluster) -> None:
    data = cluster.folder / "unfit"
    data.mkdir()
    refused = {**cluster.variables, "PLUGYARD_DATABASE_URL": cluster.superuser_url}
    said = _plugyard("serve", "--port", "0", "--data", str(data), fails=True, **refused)
    assert "is a superuser" in said
    assert cluster.superuser_url.split("@")[0].split(":")[-1] not in said, "no password in what is said"
    without = {name: value for name, value in cluster.variables.items() if name != "PLUGYARD_PEPPER"}
    said = _plugyard("serve", "--port", "0", "--data", str(data), fails=True, **without)
    assert "missing: --pepper" in said
    alone = {name: value for name, value in cluster.variables.items() if name != "PLUGYARD_PLUGINS_DATABASE_URL"}
    said = _plugyard("serve", "--port", "0", "--data", str(data), fails=True, **alone)
    assert "go together" in said
