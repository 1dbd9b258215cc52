"""A suspicious package in a real service: from its upload to an operator's word, and what later rules find."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.acceptance.test_path_of_a_package import package, run, upload
from tests.conftest import reachable_folder, start_service

CODE = "def calculate(input, context):\n    return eval(input)\n"


def _until(found: Callable[[], Any], within_s: float = 30) -> Any:
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        seen = found()
        if seen:
            return seen
        time.sleep(0.2)
    raise AssertionError(f"nothing came within {within_s} s")


def test_a_suspicious_upload_waits_runs_when_released_and_stops_when_refused() -> None:
    folder = reachable_folder()
    packed = package(CODE, metadata={"name": "formulas"})  # once: a ZIP holds the time at which it was made
    running = start_service(folder)
    try:
        with running.client() as admin, running.client(running.operator_key) as operator:
            answer = upload(admin, packed, activate="true")
            assert answer.status_code == 201, answer.text
            uploaded = answer.json()
            plugin = uploaded["plugin"]["id"]
            assert (uploaded["plugin"]["status"], uploaded["standing"]["state"]) == ("quarantined", "quarantined")
            call = {"function": "calculate", "input": "6 * 7"}
            assert admin.post(f"/api/v1/plugins/{plugin}/execute", json=call).status_code == 409
            assert admin.get("/api/v1/quarantine").status_code == 403
            source = folder / "formulas.zip"
            source.write_bytes(packed)
            command = [sys.executable, "-m", "plugyard.cli", "upload", str(source), "--data", str(folder)]
            said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert "[code.eval]" in said
            assert "an operator has to release it" in said
            (waiting,) = operator.get("/api/v1/quarantine").json()["items"]
            one = f"/api/v1/quarantine/{waiting['versionId']}"
            shown = operator.get(one).json()
            assert "code.eval" in {finding["rule"] for finding in shown["report"]["findings"]}
            assert operator.get(one + "/package").content.startswith(b"PK")
            released = operator.post(one + "/release", json={"reason": "formulas of our own"})
            assert released.status_code == 200, released.text
            again = upload(admin, packed, activate="true")
            assert again.status_code == 200, again.text
            assert again.json()["plugin"]["status"] == "active", again.text
            assert run(admin, plugin, "calculate", "6 * 7")["output"] == 42
            assert operator.post(one + "/refuse", json={"reason": "it leaks"}).status_code == 200
            assert admin.post(f"/api/v1/plugins/{plugin}/execute", json=call).status_code == 409
            refused = admin.post(f"/api/v1/plugins/{plugin}/activate")
            assert (refused.status_code, refused.json()["code"]) == (409, "version_quarantined")
            report = admin.get(f"/api/v1/plugins/{plugin}/report").json()
            assert report["standing"]["reason"] == "it leaks"
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_stored_version_is_checked_by_new_rules_though_the_service_was_killed_meanwhile() -> None:
    folder = reachable_folder()
    running = start_service(folder, "--gate-rules", "code.eval=off")
    try:
        with running.client() as admin:
            uploaded = upload(admin, package(CODE, metadata={"name": "formulas"}), activate="true").json()
        plugin = uploaded["plugin"]["id"]
        assert uploaded["plugin"]["status"] == "active"
        running.stop()
        running = start_service(folder)
        running.stop(signal.SIGKILL)
        running = start_service(folder, "--rescan-pause-s", "0.1")
        with running.client() as admin, running.client(running.operator_key) as operator:
            later = _until(lambda: admin.get(f"/api/v1/plugins/{plugin}/report").json()["laterFindings"])
            assert [one["rule"] for one in later["findings"]] == ["code.eval"]
            assert admin.get(f"/api/v1/plugins/{plugin}").json()["status"] == "active"
            (affected,) = operator.get("/api/v1/rescan").json()["items"]
            assert [one["pluginId"] for one in affected["installations"]] == [plugin]
            assert _until(lambda: operator.get("/api/v1/rescan").json()["waiting"] == 0)
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)
