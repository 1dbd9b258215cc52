"""Two services that share a Valkey: limits, quotas and the cache hold for both together, and its loss fails nobody."""

import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import package, upload
from tests.conftest import RunningService, reachable_folder, start_service
from tests.valkeys import Valkey

CODE = """
async def run(input, context):
    cache = context.services.cache
    return {"n": await cache.increment("n"), "kept": await cache.get("kept"), "set": await cache.set("kept", input)}

async def nothing(input, context):
    return None
"""
PASSWORD = "hunter2-of-the-tests"
# Generous, because tests share two cores with much else; what counts is that waiting is bounded.
FLAGS = ("--cache-command-ms", "300", "--cache-connect-ms", "500", "--quota-executions-per-minute", "40")
FLAGS += ("--rate-writes-per-key", "30")
# One for each test that counts.
TENANTS = 5


@dataclass
class Replicas:
    """Two services with the same tenants, keys and plugins, their Valkey, and the tenant that a test acts as."""

    server: Valkey
    services: list[RunningService]
    plugin_id: str
    key: str
    clients: list[httpx.Client]

    def execute(self, number: int, function: str = "nothing", value: object = None) -> httpx.Response:
        body = {"function": function, "input": value}
        return self.clients[number % 2].post(f"/api/v1/plugins/{self.plugin_id}/execute", json=body)

    def metric(self, number: int, name: str) -> float:
        lines = self.clients[number].get("/metrics").text.splitlines()
        return float(next(line.split()[1] for line in lines if line.startswith(f"{name} ")))

    def until(self, up: bool, within_s: float) -> float:
        """Wait until both know; after how many seconds."""
        began = time.monotonic()
        while time.monotonic() - began < within_s:
            if all(self.metric(number, "plugyard_valkey_up") == up for number in range(2)):
                return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"not both have plugyard_valkey_up={up} after {within_s} s")


@dataclass
class Pair:
    """Two services with the same data and their Valkey, and tenants that no test has acted as, each with its plugin."""

    server: Valkey
    services: list[RunningService]
    tenants: list[tuple[str, str]]
    """The key of a tenant's admin, and its plugin."""


def _tenant_with_plugin(service: RunningService, operator: httpx.Client, slug: str) -> tuple[str, str]:
    key = operator.post("/api/v1/tenants", json={"slug": slug, "name": slug.title()}).json()["key"]["secret"]
    with service.client(key) as client:
        answer = upload(client, package(CODE, security={"permissions": ["cache"]}))
        assert answer.status_code == 201, answer.text
        plugin_id = answer.json()["plugin"]["id"]
        for step in ("install", "activate"):
            assert client.post(f"/api/v1/plugins/{plugin_id}/{step}").status_code == 200
    return key, plugin_id


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    # A service keeps its database in its own folder; a copy of it has the same tenants, keys and plugins.
    folders = [reachable_folder(), reachable_folder()]
    running: list[RunningService] = []
    with Valkey(password=PASSWORD) as server:
        try:
            first = start_service(folders[0])
            running.append(first)
            with first.client(first.operator_key) as operator:
                tenants = [_tenant_with_plugin(first, operator, f"tenant-{number}") for number in range(TENANTS)]
            first.stop()
            subprocess.run(["cp", "-a", f"{folders[0]}/.", str(folders[1])], check=True)
            for folder in folders:
                running.append(start_service(folder, "--cache-url", server.url, *FLAGS))
            yield Pair(server, running[1:], tenants)
        finally:
            for one in running:
                if one.process.poll() is None:
                    one.stop()
            for folder in folders:
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh(pair: Pair) -> Iterator[Replicas]:
    """With the server there and empty, as a tenant of whom nothing is counted, not late in a minute."""
    key, plugin_id = pair.tenants.pop()
    clients = [service.client(key) for service in pair.services]
    replicas = Replicas(pair.server, pair.services, plugin_id, key, clients)
    try:
        pair.server.ask("FLUSHALL")
        replicas.until(True, 10)
        left = 60 - time.time() % 60
        if left < 12:
            time.sleep(left + 0.1)
        yield replicas
    finally:
        for client in clients:
            client.close()


def _first_next_and_back(fresh: Replicas) -> tuple[float, float, float]:
    """Seconds of the first request to a server that hangs, of those after it (median), and until it is known again."""
    assert fresh.execute(0).status_code == 200
    fresh.server.freeze()
    try:
        took = []
        for _ in range(8):
            began = time.monotonic()
            assert fresh.execute(0).status_code == 200
            took.append(time.monotonic() - began)
    finally:
        fresh.server.thaw()
    return took[0], sorted(took[1:])[3], fresh.until(True, 10)


def test_a_hanging_server_costs_a_request_a_bounded_time_and_the_next_ones_nothing(fresh: Replicas) -> None:
    # What else the machine does may hold up one request; it does not hold up the first of each of three.
    tried = [_first_next_and_back(fresh) for _ in range(3)]
    # The first waits for the quota's answer, as long as a command may take, and then asks no more.
    assert min(first for first, _, _ in tried) < 1.2
    assert min(rest for _, rest, _ in tried) < 0.2
    assert min(back for _, _, back in tried) < 2.5


def test_a_quota_and_the_cache_hold_for_both_together(fresh: Replicas) -> None:
    counted = [fresh.execute(number, "run", number).json()["output"] for number in range(6)]
    assert [one["n"] for one in counted] == [1, 2, 3, 4, 5, 6]
    assert [one["kept"] for one in counted] == [None, 0, 1, 2, 3, 4]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(fresh.execute, range(60)))
    assert sorted({one.status_code for one in answers}) == [200, 429]
    assert sum(one.status_code == 200 for one in answers) == 40 - 6
    refused = next(one.json() for one in answers if one.status_code == 429)
    assert (refused["code"], refused["quota"], refused["limit"]) == ("quota_exceeded", "executionsPerMinute", 40)
    shown = fresh.clients[0].get("/api/v1/tenant").json()["quotas"]["executionsPerMinute"]
    assert shown["used"] == 40


def test_one_rate_limit_holds_for_both_and_each_header_field_tells_of_it(fresh: Replicas) -> None:
    left, statuses = [], []
    for number in range(36):
        answer = fresh.clients[number % 2].patch(f"/api/v1/plugins/{fresh.plugin_id}/config", json={})
        statuses.append(answer.status_code == 429)
        left.append(answer.headers["ratelimit"].split(";")[1])
    assert statuses == [False] * 30 + [True] * 6
    assert left == [f"r={max(0, number)}" for number in range(29, -7, -1)]


def test_a_killed_server_fails_no_request_and_serves_again_when_it_is_back(fresh: Replicas) -> None:
    answers: list[tuple[float, int]] = []
    stop = threading.Event()

    def call(number: int) -> None:
        with fresh.services[number % 2].client(fresh.key) as client:
            while not stop.is_set():
                began = time.monotonic()
                body = {"function": "run", "input": 1}
                answer = client.post(f"/api/v1/plugins/{fresh.plugin_id}/execute", json=body)
                answers.append((time.monotonic() - began, answer.status_code))
                time.sleep(0.02)

    with ThreadPoolExecutor(4) as threads:
        calls = [threads.submit(call, number) for number in range(4)]
        try:
            time.sleep(0.3)
            fresh.server.kill()
            fresh.until(False, 5)
            health = fresh.clients[0].get("/health/ready")
            assert health.status_code == 200
            assert health.json()["parts"]["cache"].startswith("warning: ")
            time.sleep(1)
            fresh.server.start()
            back = fresh.until(True, 5)
            time.sleep(0.3)
        finally:
            stop.set()
        for one in calls:
            one.result()
    assert back < 2
    assert {status for _, status in answers} <= {200, 429}
    assert fresh.clients[0].get("/health/ready").json()["parts"]["cache"] == "ok"


def test_while_it_is_away_each_replica_keeps_the_quota_by_itself_and_the_cache_is_empty(fresh: Replicas) -> None:
    fresh.server.kill()
    try:
        fresh.until(False, 5)
        output = fresh.execute(0, "run", 7).json()["output"]
        assert output == {"n": 1, "kept": None, "set": None}
        assert fresh.execute(0, "run", 7).json()["output"]["n"] == 1
        codes = [fresh.execute(0).status_code for _ in range(42)]
        assert codes == [200] * 38 + [429] * 4
        assert [fresh.execute(1).status_code for _ in range(42)] == [200] * 40 + [429] * 2
    finally:
        fresh.server.start()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("valkey://:{wrong}@127.0.0.1:{port}", "refuses"),
        ("http://:{wrong}@127.0.0.1:{port}", "must begin with redis://"),
    ],
)
def test_a_setting_that_cannot_be_right_stops_the_start_with_a_sentence_and_no_password(
    pair: Pair, url: str, says: str
) -> None:
    folder: Path = reachable_folder()
    wrong = "wrong-and-secret"
    command = [sys.executable, "-m", "plugyard.cli", "serve", "--port", "0", "--data", str(folder), "--cache-url"]
    try:
        ended = subprocess.run(
            [*command, url.format(wrong=wrong, port=pair.server.port)],
            capture_output=True, text=True, timeout=120, cwd=folder, check=False,
        )  # fmt: skip
        assert ended.returncode == 1
        assert "--cache-url" in ended.stderr
        assert says in " ".join(ended.stderr.split())
        assert wrong not in ended.stdout + ended.stderr
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_a_server_that_is_away_at_the_start_holds_no_start_up(data_folder: Path) -> None:
    running = start_service(data_folder, "--cache-url", f"valkey://:{PASSWORD}@127.0.0.1:1")
    try:
        with running.client() as client:
            assert client.get("/api/v1/me").status_code == 200
            assert client.get("/health/ready").json()["parts"]["cache"].startswith("warning: ")
        told = running.log.read_text()
        assert "valkey is away" in told
        assert PASSWORD not in told
    finally:
        running.stop()
