"""A tenant leaves a real service: exported by the command line, and deleted over a kill in the middle."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from plugyard.cli.failure import Failure
from plugyard.cli.tenants import verified
from tests.acceptance.test_path_of_a_package import active, run
from tests.conftest import RunningService, reachable_folder, start_service

GONE_WITHIN_S = 30


@pytest.fixture
def folder() -> Iterator[Path]:
    made = reachable_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def leaving(service: RunningService) -> tuple[str, str]:
    """A tenant with a plugin that has run; its id and its admin's key."""
    with service.client(service.operator_key) as operator:
        answer = operator.post("/api/v1/tenants", json={"slug": "leaving", "name": "Leaving"}).json()
    key = answer["key"]["secret"]
    with service.client(key) as client:
        plugin = active(client, "leaves")
        for number in range(30):
            assert run(client, plugin, "who", number)["status"] == "succeeded"
    return answer["tenant"]["id"], key


def gone(operator: httpx.Client, address: str) -> bool:
    ends = time.monotonic() + GONE_WITHIN_S
    while time.monotonic() < ends:
        if operator.get(address).status_code == 404:
            return True
        time.sleep(0.05)
    return False


def test_a_deletion_that_a_kill_interrupts_is_finished_at_the_next_start(folder: Path) -> None:
    service = start_service(folder)
    tenant_id, key = leaving(service)
    address = f"/api/v1/tenants/{tenant_id}"
    with service.client() as admin:
        kept = active(admin, "stays")
        assert run(admin, kept, "who")["status"] == "succeeded"
        own = admin.get("/api/v1/tenant").json()["id"]
    with service.client(service.operator_key) as operator:
        quotas = {"quotas": {"executionsPerDay": 2}}
        assert operator.patch(f"/api/v1/tenants/{own}", json=quotas).status_code == 200
        assert operator.post(f"{address}/suspend", json={"reason": "They leave."}).status_code == 200
        with service.client(key) as client:
            assert client.get("/api/v1/me").json()["code"] == "tenant_suspended"
        with zipfile.ZipFile(io.BytesIO(operator.get(f"{address}/export").content)) as archive:
            assert archive.testzip() is None
            assert len(archive.read("executions.jsonl").splitlines()) == 30
            confirmation = json.loads(archive.read("manifest.json"))["confirmation"]
        answer = operator.delete(address, params={"confirmation": confirmation})
        service.process.send_signal(signal.SIGKILL)
        assert answer.status_code == 202
    service.process.wait()
    again = start_service(folder)
    try:
        with again.client(again.operator_key) as operator:
            assert gone(operator, address)
            entries = operator.get("/api/v1/audit", headers={"Plugyard-Tenant": "default"})
            assert entries.status_code == 200
        with again.client(key) as client:
            assert client.get("/api/v1/me").status_code == 401
        with again.client() as admin:
            assert run(admin, kept, "who")["status"] == "succeeded"
            refused = admin.post(f"/api/v1/plugins/{kept}/execute", json={"function": "who"})
            assert refused.json()["code"] == "quota_exceeded", "the day's count outlives the kill as well"
            assert (refused.json()["used"], int(refused.headers["retry-after"]) > 0) == (2, True)
    finally:
        again.stop()


def plugyard(service: RunningService, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugyard.cli", "tenants", *words, "--data", str(service.data)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=service.data)


def said(service: RunningService, *words: str) -> Any:
    done = plugyard(service, *words, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_whole_life_of_a_tenant_on_the_command_line(service: RunningService, tmp_path: Path) -> None:
    made = said(service, "create", "by-hand", "--name", "Made by hand")
    assert made["tenant"]["slug"] == "by-hand"
    with service.client(made["key"]["secret"]) as client:
        run(client, active(client, "hand"), "who")
    assert "by-hand" in plugyard(service, "list").stdout
    early = said(service, "export", "by-hand", "--output", str(tmp_path / "early.zip"))
    assert early["confirmation"] is None
    assert said(service, "suspend", "by-hand", "--reason", "The contract ends.")["state"] == "suspended"
    assert "The contract ends." in plugyard(service, "list").stdout
    assert said(service, "resume", "by-hand")["state"] == "active"
    said(service, "suspend", "by-hand", "--reason", "The contract ends.", "--let-finish")
    target = tmp_path / "by-hand.zip"
    done = plugyard(service, "export", "by-hand", "--output", str(target))
    assert done.returncode == 0, done.stderr
    assert "every checksum right" in done.stdout
    assert not target.with_name("by-hand.zip.part").exists()
    refusals = {
        ("delete", "by-hand", "--yes"): "--export",
        ("delete", "by-hand", "--export", str(target)): "--yes",
        ("delete", "by-hand", "--yes", "--export", str(tmp_path / "early.zip")): "active",
        ("delete", "by-hand", "--yes", "--export", str(tmp_path / "none.zip")): "no whole export",
        ("delete", "nobody", "--yes", "--force", "x"): "no tenant",
    }
    for words, told in refusals.items():
        done = plugyard(service, *words)
        assert (done.returncode, told in done.stderr) == (1, True), done.stderr
    assert said(service, "delete", "by-hand", "--export", str(target), "--yes")["deleted"] is True
    assert "by-hand" not in plugyard(service, "list").stdout


def test_a_damaged_export_is_found_out(service: RunningService, tmp_path: Path) -> None:
    target = tmp_path / "default.zip"
    said(service, "export", "default", "--output", str(target))
    with zipfile.ZipFile(target) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, held in files.items():
            archive.writestr(name, held if name != "tenant.jsonl" else held.replace(b"default", b"defaulT"))
    with pytest.raises(Failure, match="damaged"):
        verified(target)
