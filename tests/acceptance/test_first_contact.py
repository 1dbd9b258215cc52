"""What a stranger meets first: the start, the end, the demonstration, and a process that is killed."""

import io
import json
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.conftest import RunningService, start_service

README = Path(__file__).resolve().parents[2] / "README.md"


def _family(service: RunningService) -> list[psutil.Process]:
    parent = psutil.Process(service.process.pid)
    return [parent, *parent.children(recursive=True)]


def _survivors(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_serve_prints_the_url_an_admin_key_and_three_commands(service: RunningService) -> None:
    told = service.log.read_text()
    assert service.url in told
    assert service.admin_key in told
    for command in ("new hello", "upload hello --activate", "execute hello greet"):
        assert command in told


def test_sigterm_and_ctrl_c_end_it_cleanly(data_folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        service = start_service(data_folder)
        family = _family(service)
        assert service.stop(number) == 0, service.log.read_text()[-2000:]
        assert _survivors(family, 2) == []
        assert not (data_folder / "service.json").exists()


def test_nothing_survives_a_kill_and_the_next_start_has_what_was_acknowledged(data_folder: Path) -> None:
    service = start_service(data_folder)
    with service.client() as client:
        made = client.post(
            "/api/v1/plugins/upload",
            files={"package": ("hello.zip", _hello(data_folder), "application/zip")},
            data={"activate": "true"},
        ).json()["plugin"]
        executions = [
            client.post(f"/api/v1/plugins/{made['id']}/execute", json={"function": "greet", "input": {"name": "A"}})
            for _ in range(20)
        ]
    acknowledged = {answer.json()["executionId"] for answer in executions}
    family = _family(service)
    assert len(family) > 5, "PostgreSQL, the zygotes and their environments belong to the service"
    service.stop(signal.SIGKILL)
    assert _survivors(family, 5) == []

    again = start_service(data_folder)
    try:
        assert again.admin_key == service.admin_key
        with again.client() as client:
            listed = client.get(f"/api/v1/plugins/{made['id']}/executions", params={"limit": 100}).json()["items"]
            assert acknowledged <= {execution["executionId"] for execution in listed}
            answer = client.post(
                f"/api/v1/plugins/{made['id']}/execute", json={"function": "greet", "input": {"name": "Ada"}}
            )
        assert answer.json()["output"] == {"greeting": "Hello, Ada!"}
    finally:
        again.stop()


def test_what_executes_at_the_end_may_end_and_what_takes_too_long_is_cut_and_recorded_so(data_folder: Path) -> None:
    service = start_service(data_folder)
    code = "import asyncio\nasync def nap(input, context):\n    await asyncio.sleep(input)\n    return input\n"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        manifest = {"metadata": {"name": "napping", "version": "1.0.0"}, "runtime": "python"}
        archive.writestr("plugin.json", json.dumps(manifest))
        archive.writestr("main.py", code)
    with service.client() as client:
        files = {"package": ("p.zip", packed.getvalue())}
        made = client.post("/api/v1/plugins/upload", files=files, data={"activate": "true"}).json()["plugin"]["id"]
    url, headers = f"{service.url}/api/v1/plugins/{made}/execute", {"Authorization": f"Bearer {service.admin_key}"}

    def nap(seconds: int) -> dict[str, Any]:
        asked = {"function": "nap", "input": seconds, "timeoutMs": 200_000}
        answer = httpx.post(url, json=asked, headers=headers, timeout=60)
        assert answer.status_code == 200
        return dict(answer.json())

    with ThreadPoolExecutor(2) as callers:
        short, long = callers.submit(nap, 3), callers.submit(nap, 120)
        time.sleep(1)
        began = time.monotonic()
        service.stop(signal.SIGTERM)
        took = time.monotonic() - began
        assert (short.result()["status"], short.result()["output"]) == ("succeeded", 3)
        assert long.result()["status"] == "cancelled"
    assert 9 < took < 20
    again = start_service(data_folder)
    try:
        with again.client() as client:
            kept = client.get(f"/api/v1/executions/{long.result()['executionId']}").json()
        assert kept["status"] == "cancelled"
    finally:
        again.stop()


def test_a_second_service_on_the_same_data_says_so(service: RunningService) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "plugyard.cli", "serve", "--port", "0", "--data", str(service.data)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "in use" in second.stderr or "runs" in second.stderr, second.stderr
    assert "Traceback" not in second.stderr


def test_a_port_that_is_taken_is_named(service: RunningService, data_folder: Path) -> None:
    port = httpx.URL(service.url).port
    second = subprocess.run(
        [sys.executable, "-m", "plugyard.cli", "serve", "--port", str(port), "--data", str(data_folder)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert str(port) in second.stderr
    assert "Traceback" not in second.stderr


def test_the_demonstration_runs_every_example_on_the_service_that_runs(service: RunningService) -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "plugyard.cli", "demo", "--once", "--json", "--data", str(service.data)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert shown.returncode == 0, shown.stderr
    rows = {row["plugin"]: row for row in json.loads(shown.stdout)}
    assert set(rows) == {"invoice-totals", "csv-insights", "webhook-formatter", "duplicate-finder", "my-plugin"}
    assert "3,376 rows" in rows["csv-insights"]["result"]
    assert all(row["cold_ms"] > 0 and row["memory_bytes"] > 1 << 20 for row in rows.values())


def test_the_three_commands_work_as_they_are_printed(service: RunningService, data_folder: Path) -> None:
    def plugyard(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "plugyard.cli", *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=data_folder, timeout=60, check=False)

    data = ("--data", str(service.data))
    assert plugyard("new", "hello-there").returncode == 0
    uploaded = plugyard("upload", "hello-there", "--activate", *data)
    assert "hello-there 1.0.0 is active" in uploaded.stdout, uploaded.stderr
    ran = plugyard("execute", "hello-there", "greet", "--input", '{"name": "Ada"}', *data)
    assert json.loads(ran.stdout) == {"greeting": "Hello, Ada!"}
    bad = plugyard("execute", "hello-there", "greet", "--input", '{"nam": "Ada"}', *data)
    assert bad.returncode == 1
    assert "/input" in bad.stderr


def test_the_readmes_first_plugin_works_as_it_is_written(service: RunningService, data_folder: Path) -> None:
    section = README.read_text().split("## A first plugin, by hand")[1].split("```json")[0]
    script = "\n".join(line[4:] for line in section.splitlines() if line.startswith("    "))
    # The service here listens on a port of its own and keeps its key elsewhere than the default one does.
    script = script.replace("http://127.0.0.1:8787", service.url).replace("~/.local/share/plugyard", str(service.data))
    upload, execute = script[: script.rindex("curl")], script[script.rindex("curl") :]
    exports = "\n".join(line for line in script.splitlines() if line.startswith("export"))

    def typed(text: str) -> Any:
        command = ["bash", "-euo", "pipefail", "-c", text]
        ran = subprocess.run(command, capture_output=True, text=True, cwd=data_folder, timeout=60, check=False)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    plugin = typed(upload)["plugin"]
    assert (plugin["name"], plugin["status"]) == ("greeter", "active")
    answer = typed(f"{exports}\n{execute.replace('/ID/', '/' + plugin['id'] + '/')}")
    assert (answer["status"], answer["output"]) == ("succeeded", {"greeting": "Hello, Ada!"})


def test_a_plugin_that_is_not_there_is_named(service: RunningService) -> None:
    words = ("execute", "nobody", "greet", "--data", str(service.data))
    ran = subprocess.run(
        [sys.executable, "-m", "plugyard.cli", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (1, "plugyard: the tenant has no plugin that is called 'nobody'\n")


def _hello(folder: Path) -> bytes:
    from plugyard.cli.author import new, packed

    if not (folder / "hello").exists():
        new(folder / "hello")
    return packed(folder / "hello").read_bytes()
