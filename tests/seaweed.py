"""A real S3 for tests and benchmarks: SeaweedFS from its wheel, on free loopback ports, ended with this process."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from plugyard.bootstrap.stack.plan import free_ports
from plugyard.infrastructure.s3.settings import Credentials, S3Settings

ACCESS_KEY, SECRET_KEY = "plugyard-tests", "a-secret-that-must-never-be-logged"
BUCKET = "plugyard"
STARTS_WITHIN_S = 60
# Its pipe ends with the process that started it, however that ends, and then the server is ended.
_KEEPER = """
import subprocess, sys
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
print(server.pid, flush=True)
sys.stdin.read()
server.terminate()
try:
    server.wait(10)
except subprocess.TimeoutExpired:
    server.kill()
"""


@dataclass
class Seaweed:
    """A running server. ``pause`` and ``resume`` make it silent and let it answer again."""

    endpoint: str
    pid: int
    folder: Path

    def settings(self, prefix: str = "", **others: str) -> S3Settings:
        """The way to a prefix of its bucket."""
        url = f"s3://{others.pop('bucket', BUCKET)}/{prefix}"
        credentials = Credentials(ACCESS_KEY, others.pop("secret", SECRET_KEY))
        endpoint = others.pop("endpoint", self.endpoint)
        return S3Settings.parsed(url, endpoint=endpoint, credentials=credentials, region="us-east-1", **others)

    def pause(self) -> None:
        """Nothing is answered from here on, and nothing refused."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """It goes on where it was."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def seaweed() -> Iterator[Seaweed]:
    """Start one, with encryption, and end it with everything it kept."""
    folder = Path(tempfile.mkdtemp(prefix="plugyard-s3-"))
    names = ("master", "filer", "volume", "s3", "admin")
    ports = free_ports(2 * len(names))
    flags = []
    for number, name in enumerate(names):
        flags += [f"-{name}.port={ports[2 * number]}", f"-{name}.port.grpc={ports[2 * number + 1]}"]
    endpoint = f"http://127.0.0.1:{ports[2 * names.index('s3')]}"
    command = [
        str(Path(sys.executable).with_name("weed")), "-logtostderr", "mini", f"-dir={folder}", "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1", *flags, "-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false",
        "-master.telemetry=false", "-s3.autoCreateBucket=false", f"-s3.localSocket={folder}/s3.sock",
        "-master.volumeSizeLimitMB=64", f"-bucket={BUCKET}",
    ]  # fmt: skip
    environment = {
        **os.environ,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "WEED_S3_SSE_KEY": secrets.token_hex(32),
    }
    log = (folder / "log").open("wb")
    keeper = subprocess.Popen(
        [sys.executable, "-c", _KEEPER, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=folder,
        env=environment,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    running = Seaweed(endpoint, int(keeper.stdout.readline()), folder)
    try:
        _await_bucket(running, keeper, folder / "log")
        yield running
    finally:
        running.resume()
        keeper.stdin.close()
        keeper.wait(20)
        keeper.stdout.close()
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


def _await_bucket(running: Seaweed, keeper: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the bucket takes an object: the gateway listens before the volumes are there."""
    from datetime import UTC, datetime, timedelta

    from plugyard.infrastructure.s3.signing import presigned

    settings = running.settings()
    assert settings.credentials is not None
    headers = {"content-type": "text/plain", **settings.encryption.headers()}
    ends = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends and keeper.poll() is None:
        url = presigned(
            "PUT", f"{settings.base}/ready", headers, settings.credentials, settings.region, timedelta(minutes=1),
            datetime.now(UTC),
        )  # fmt: skip
        try:
            if httpx.put(url, content=b"ready", headers=headers).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"SeaweedFS was not ready in {STARTS_WITHIN_S} s:\n{log.read_text()[-4000:]}")
