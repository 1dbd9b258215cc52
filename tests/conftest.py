"""What all tests share: a folder that PostgreSQL's own user can reach, and a real service for those that need one."""

import atexit
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import httpx
import hypothesis
import pytest

from tests.seaweed import Seaweed, seaweed
from tests.tansu import Tansu, tansu
from tests.valkeys import Valkey

# Continuous integration tries the same examples each time, so that a change is judged by what it changed; every other
# run tries new ones.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "dev")

# A container may forbid that compiled modules are kept. Each of the hundreds of processes that are started here would
# then compile all its libraries anew, which takes longer than the rest of its start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

STARTS_WITHIN_S = 240  # the very first start builds the guests


@dataclass
class RunningService:
    """A service in a process of its own, as an operator starts it."""

    process: subprocess.Popen[bytes]
    data: Path
    log: Path
    url: str
    admin_key: str
    operator_key: str

    def client(self, key: str | None = None) -> httpx.Client:
        """A client with the admin key, or with another."""
        headers = {"Authorization": f"Bearer {key or self.admin_key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def stop(self, number: int = signal.SIGTERM, within_s: float = 15) -> int:
        """Send a signal and wait for the end; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(within_s)


def start_service(data: Path, *flags: str) -> RunningService:
    """Start ``plugyard serve`` on a free port and wait until it is ready.

    An empty folder gets what a first start makes, from one that was started before and ended: making a database anew
    takes longer than all the rest of a start.
    """
    if "--database-url" not in flags and not any(data.iterdir()):
        subprocess.run(["cp", "-a", f"{_started_before()}/.", str(data)], check=True)
    return _started(data, *flags)


@cache
def _started_before() -> Path:
    folder = reachable_folder()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    assert _started(folder).stop() == 0
    # Neither its log nor the place of its objects, which some tests have elsewhere.
    (folder / "service.log").unlink()
    (folder / "objects").rmdir()
    return folder


def _started(data: Path, *flags: str) -> RunningService:
    log = data / "service.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "plugyard.cli", "serve", "--port", "0", "--data", str(data), *flags],
            stdout=output,
            stderr=output,
            cwd=data,
            env={key: value for key, value in os.environ.items() if not key.startswith("PLUGYARD_")},
        )
    return wait_until_ready(process, data, shared="--database-url" in flags)


def wait_until_ready(process: subprocess.Popen[bytes], data: Path, *, shared: bool = False) -> RunningService:
    """The service that this process is, or becomes, on the folder, once it is ready; its log is service.log there."""
    log = data / "service.log"
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            raise AssertionError(f"the service ended with {process.returncode}:\n{log.read_text()[-4000:]}")
        try:
            found = json.loads((data / "service.json").read_text())
            # Replicas that share a database are told their keys, and keep none.
            keys = {"admin": "", "operator": ""} if shared else json.loads((data / "keys.json").read_text())
            if found["pid"] == process.pid and httpx.get(f"{found['url']}/health/ready").status_code == 200:
                return RunningService(process, data, log, found["url"], keys["admin"], keys["operator"])
        except (OSError, ValueError, httpx.HTTPError):
            pass
        time.sleep(0.05)
    process.kill()
    raise AssertionError(f"the service was not ready in {STARTS_WITHIN_S} s:\n{log.read_text()[-4000:]}")


def reachable_folder() -> Path:
    """A temporary folder that PostgreSQL can enter when the tests run as root: pytest's own are closed to it."""
    folder = Path(tempfile.mkdtemp(prefix="plugyard-test-"))
    folder.chmod(0o755)
    return folder


@pytest.fixture
def data_folder() -> Iterator[Path]:
    """A data folder for one test."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def service() -> Iterator[RunningService]:
    """One service for all tests that only talk to it."""
    folder = reachable_folder()
    running = start_service(folder)
    yield running
    if running.process.poll() is None:
        running.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def s3() -> Iterator[Seaweed]:
    """One S3 for all tests that need a real one; they keep apart by prefixes."""
    with seaweed() as running:
        yield running


@pytest.fixture(scope="session")
def valkey_server() -> Iterator[Valkey]:
    """One Valkey for all tests that do it no harm."""
    with Valkey() as server:
        yield server


@pytest.fixture
def valkey(valkey_server: Valkey) -> Valkey:
    """The same, empty."""
    valkey_server.ask("FLUSHALL")
    return valkey_server


@pytest.fixture(scope="session")
def broker() -> Iterator[Tansu]:
    """One broker for all tests that need a real one; they keep apart by topics."""
    with tansu() as running:
        yield running
