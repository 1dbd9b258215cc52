"""The path of a package with its objects in a bucket, and what goes on while the bucket is away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.acceptance.test_path_of_a_package import active, package, upload
from tests.conftest import RunningService, start_service
from tests.integration.s3.recorder import Asked, Recorder, recorder
from tests.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

SIDE = "x-amz-server-side-encryption"


@pytest.fixture
def watched(s3: Seaweed) -> Iterator[Recorder]:
    """A proxy, so that a bucket can be away for this service alone."""
    with recorder(s3.endpoint) as recording:
        yield recording


def flags(endpoint: str) -> list[str]:
    return [
        "--objects-url", f"s3://plugyard/{uuid.uuid4().hex}", "--objects-endpoint", endpoint,
        "--objects-access-key-id", ACCESS_KEY, "--objects-secret-access-key", SECRET_KEY,
    ]  # fmt: skip


def executed(client: httpx.Client, plugin_id: str, a: int) -> httpx.Response:
    return client.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "add", "input": {"a": a, "b": 1}})


def stop(service: RunningService) -> None:
    assert service.stop() == 0


def test_a_plugin_is_uploaded_and_executed_with_its_objects_in_a_bucket(data_folder: Path, watched: Recorder) -> None:
    chosen = flags(watched.endpoint)
    service = start_service(data_folder, *chosen)
    with service.client() as client:
        plugin_id = active(client, "sums")
        assert executed(client, plugin_id, 1).json()["output"] == 2
        parts = httpx.get(f"{service.url}/health/ready").json()["parts"]
        assert parts["objects"] == "ok"
    stop(service)
    assert not (data_folder / "objects").exists()
    stored = {one.path.split("/")[3] for one in watched.writes()}
    assert {"packages", "bundles"} <= stored
    assert {one.headers.get(SIDE) for one in watched.writes()} == {"AES256"}
    assert SECRET_KEY not in service.log.read_text()

    # The bucket goes away: what was read or written before is on the disk and goes on being executed.
    def away(asked: Asked) -> tuple[int, dict[str, str], bytes]:
        return 503, {}, b"<Error><Code>ServiceUnavailable</Code></Error>"

    watched.instead = away
    service = start_service(data_folder, *chosen)
    with service.client() as client:
        answer = httpx.get(f"{service.url}/health/ready")
        assert answer.status_code == 200
        assert answer.json()["parts"]["objects"].startswith("warning: "), answer.json()
        assert executed(client, plugin_id, 2).json()["output"] == 3
        refused = upload(client, package(metadata={"name": "others"}))
        assert refused.status_code == 503, refused.text
        assert refused.json()["code"] == "store_unavailable"
        watched.instead = lambda asked: None
        assert upload(client, package(metadata={"name": "others"})).status_code == 201
        ends = time.monotonic() + 15
        while httpx.get(f"{service.url}/health/ready").json()["parts"]["objects"] != "ok":
            assert time.monotonic() < ends
            time.sleep(0.2)
    stop(service)
    assert SECRET_KEY not in service.log.read_text()

    # What is neither in memory nor on this disk has to be fetched.
    for kept in ("objects-cache", "prepared"):
        shutil.rmtree(data_folder / kept)
    watched.instead = away
    service = start_service(data_folder, *chosen)
    with service.client() as client:
        refused = executed(client, plugin_id, 3)
        assert refused.status_code == 503, refused.text
        assert refused.json()["code"] == "store_unavailable"
        watched.instead = lambda asked: None
        assert executed(client, plugin_id, 3).json()["output"] == 4
    stop(service)


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (["--objects-url", "s3://not-there"], "no such bucket"),
        (["--objects-secret-access-key", "wrong"], "refuses this service"),
    ],
)
def test_settings_that_cannot_be_right_stop_the_start_with_a_sentence(
    data_folder: Path, s3: Seaweed, others: list[str], told: str
) -> None:
    given = dict(zip(*[iter(flags(s3.endpoint))] * 2, strict=True)) | dict(zip(*[iter(others)] * 2, strict=True))
    command = [sys.executable, "-m", "plugyard.cli", "serve", "--port", "0", "--data", str(data_folder)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PLUGYARD_", "AWS_"))}
    done = subprocess.run(
        [*command, *(word for pair in given.items() for word in pair)],
        capture_output=True, text=True, timeout=120, cwd=data_folder, env=environment,
    )  # fmt: skip
    assert done.returncode != 0
    assert told in done.stderr, done.stderr[-2000:]
    assert SECRET_KEY not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
