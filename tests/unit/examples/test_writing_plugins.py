"""The authors' guide says what is so: its manifests are accepted, and its tables agree with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys

import jsonschema_rs
import pytest

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.limits import MEGABYTE, LimitPolicy

from .conftest import EXAMPLES, ROOT, node
from .test_sdk import SERVICES

GUIDE = (ROOT / "docs" / "writing-plugins.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert found is not None, f"the guide has no section {title!r}"
    return found[1]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def rows(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


@pytest.mark.parametrize("title", ["A first plugin", "The manifest by example"])
def test_the_manifests_of_the_guide_fit_the_published_schema(title: str) -> None:
    schema = json.loads((ROOT / "sdk/manifest.schema.json").read_text(encoding="utf-8"))
    (manifest,) = [json.loads(block) for block in blocks(section(title), "json")]
    assert [error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(manifest)] == []


def test_every_service_stands_in_the_guide_with_all_its_methods() -> None:
    described = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in rows(section("Services"))[2:]}
    assert described == {name.lower(): methods for name, methods in SERVICES.items()}


def test_every_final_status_stands_in_the_guide() -> None:
    described = {
        row[0].strip("`") for row in rows(section("Limits, and what the answer says")) if row[0].startswith("`")
    }
    assert described == set(ExecutionStatus) - {ExecutionStatus.QUEUED, ExecutionStatus.RUNNING}


def test_the_limits_of_the_guide_are_the_defaults_of_the_platform() -> None:
    policy = LimitPolicy()
    described = {row[0]: row[1:] for row in rows(section("Limits, and what the answer says"))}
    assert described["memory"] == [f"{policy.default_memory_mb} MB", f"{policy.max_memory_mb:,} MB"]
    assert described["wall time"] == [f"{policy.default_timeout_ms // 1000} s", f"{policy.max_timeout_ms // 1000} s"]
    assert described["CPU time"][1] == f"{policy.max_cpu_ms // 1000} s"
    assert described["output"][0] == f"{policy.output_bytes // MEGABYTE} MB"
    assert described["start-up"] == [f"{policy.default_startup_ms // 1000} s", f"{policy.max_startup_ms // 1000} s"]
    assert described["stack"] == [f"{policy.default_stack_kb} KB", f"{policy.max_stack_kb:,} KB"]
    lines = described["log lines of one call"][0]
    assert lines.startswith(f"{policy.log_lines:,} lines, {policy.log_bytes // 1024} KB;")


def test_the_python_of_the_guide_compiles() -> None:
    for block in blocks(GUIDE, "python"):
        compile(block, "writing-plugins.md", "exec")


def test_the_tests_that_the_guide_shows_pass() -> None:
    (script,) = blocks(section("Testing on your machine"), "js")
    (module,) = blocks(section("Testing on your machine"), "python")
    for example, command in (
        ("invoice-totals", [node(), "--input-type=module", "--eval", script]),
        ("csv-insights", [sys.executable, "-B", "-c", module]),
    ):
        done = subprocess.run(command, cwd=EXAMPLES / example, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
