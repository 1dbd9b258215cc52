"""Runs the functions of the example plugins natively, so that their own logic is tested apart from the sandbox."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pytest

ROOT = Path(__file__).resolve().parents[3]
EXAMPLES = ROOT / "examples"
HERE = Path(__file__).parent


class Run(Protocol):
    """Call functions of an example one after the other; each outcome has ``output`` or ``error``, and ``logs``."""

    def __call__(self, example: str, *calls: tuple[str, Any] | tuple[str, Any, dict[str, Any]]) -> list[Any]: ...


def manifest_of(example: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / example / "plugin.json").read_text(encoding="utf-8"))
    return document


def example_input(example: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((EXAMPLES / example / "example-input.json").read_text(encoding="utf-8"))
    return document


def node() -> str:
    """The Node of the project's environment, else the system's; where there is none, the test is skipped."""
    beside_python = Path(sys.executable).parent / "node"
    found = str(beside_python) if beside_python.exists() else shutil.which("node")
    if found is None:
        pytest.skip("there is no Node on this machine, neither from the wheel nor from the system")
    return found


def _command(entry: Path) -> Sequence[str]:
    if entry.suffix == ".py":
        return sys.executable, "-B", str(HERE / "driver.py"), str(entry)
    if entry.suffix == ".wasm":
        return sys.executable, "-B", str(HERE / "driver_component.py"), str(entry)
    return node(), str(HERE / "driver.mjs"), str(entry)


@pytest.fixture(scope="session")
def run() -> Run:
    def call_all(example: str, *calls: tuple[str, Any] | tuple[str, Any, dict[str, Any]]) -> list[Any]:
        entry = EXAMPLES / example / manifest_of(example).get("entry", "index.ts")
        requests = [
            {"function": call[0], "input": call[1], "configuration": call[2] if len(call) == 3 else {}}
            for call in calls
        ]
        done = subprocess.run(
            _command(entry), input=json.dumps(requests), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        outcomes: list[Any] = json.loads(done.stdout)
        return outcomes

    return call_all
