"""A part of the service is killed while callers are there: they get a clear answer, nothing acknowledged is lost, and
the part comes back by itself."""

import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.acceptance.test_path_of_a_package import active, run
from tests.conftest import RunningService, reachable_folder, start_service

BACK_WITHIN_S = 10


@pytest.fixture(scope="module")
def own_service() -> Iterator[RunningService]:
    folder = reachable_folder()
    service = start_service(folder)
    yield service
    service.stop()
    shutil.rmtree(folder, ignore_errors=True)


def _children(service: RunningService, wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    return [child for child in psutil.Process(service.process.pid).children() if wanted(child)]


def _postmaster(child: psutil.Process) -> bool:
    return "postgres" in Path(child.cmdline()[0]).name


def _zygote_of(module: str) -> Callable[[psutil.Process], bool]:
    return lambda child: module in child.cmdline()


@pytest.mark.parametrize(
    ("part", "wanted"),
    [
        ("PostgreSQL", _postmaster),
        ("the sandbox's zygote", _zygote_of("plugyard.sandbox.inside")),
        ("the gate's zygote", _zygote_of("plugyard.gate.inside")),
    ],
)
def test_a_killed_part_comes_back_and_nothing_acknowledged_is_lost(
    own_service: RunningService, part: str, wanted: Callable[[psutil.Process], bool]
) -> None:
    name = "kept-" + part.split()[-1].strip("'s").lower() + str(len(part))
    acknowledged: set[str] = set()
    statuses: list[int] = []
    stop = threading.Event()
    with own_service.client() as client:
        plugin = active(client, name)

        def call() -> None:
            while not stop.is_set():
                answer = client.post(
                    f"/api/v1/plugins/{plugin}/execute", json={"function": "add", "input": {"a": 1, "b": 2}}
                )
                statuses.append(answer.status_code)
                if answer.status_code == 200:
                    acknowledged.add(answer.json()["executionId"])
                else:
                    assert answer.json()["code"], answer.text
                    time.sleep(0.02)

        caller = threading.Thread(target=call)
        caller.start()
        time.sleep(0.5)
        (victim,) = _children(own_service, wanted)
        victim.send_signal(signal.SIGKILL)
        time.sleep(1)
        ends = time.monotonic() + BACK_WITHIN_S
        while client.get("/health/ready").status_code != 200 and time.monotonic() < ends:
            time.sleep(0.1)
        # Nobody asks anything of what is not ready, so it has to come back by itself.
        ready = client.get("/health/ready")
        assert ready.status_code == 200, ready.text
        time.sleep(0.5)
        stop.set()
        caller.join()
        assert set(statuses) <= {200, 503}, f"{part}: {sorted(set(statuses))}"
        assert statuses[-1] == 200
        assert run(client, plugin, "add", {"a": 1, "b": 2})["status"] == "succeeded"
        active(client, f"{name}-after")
        for execution in list(acknowledged)[:: max(1, len(acknowledged) // 50)]:
            assert client.get(f"/api/v1/executions/{execution}").status_code == 200
        metrics = client.get(f"/api/v1/plugins/{plugin}/metrics").json()
        # Each acknowledged execution is there once; one that was recorded and could not be answered may be there too.
        assert len(acknowledged) + 1 <= metrics["executions"] <= len(statuses) + 1
