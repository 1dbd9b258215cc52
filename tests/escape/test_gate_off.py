"""The gate is advice: with every rule off that can be off, hostile packages run in the sandbox and get nowhere."""

import hashlib
import json
from pathlib import Path

import pytest

from plugyard.application.ports import Inspection
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Manifest, Runtime
from plugyard.domain.report import Consequence
from plugyard.domain.rules import RuleSettings
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.gate.rules import RULES, effective
from plugyard.sandbox.outside.executor import Sandbox
from tests.corpus.packages import Package, packages

from .hostile import run

pytestmark = pytest.mark.usefixtures("unharmed")

OFF = effective(RuleSettings.of(["*=off"], RULES))
INPUT = {
    "formula": "__import__('os').popen('id').read()", "amount": 1, "state": "Y29zCnN5c3RlbQooUydpZCcKdFIu", "text": "a",
    "user": "root", "role": "user", "numbers": [1], "lines": [], "code": "process.exit(1)", "folder": "/", "nonce": 0,
}  # fmt: skip


def _inspected(package: Package, folder: Path) -> Inspection:
    with package.write(folder).open("rb") as file:
        return inspect(file, GateLimits(), rules=OFF)


def test_most_hostile_packages_come_in_with_every_rule_off(tmp_path: Path) -> None:
    let_in = [one.name for one in packages() if one.hostile and not _inspected(one, tmp_path).report.refused]
    # What is fixed, or cannot be read at all, stays out: manifests that nobody can read, archives without an entry.
    assert len(let_in) >= 40, let_in


@pytest.mark.parametrize("package", [one for one in packages() if one.hostile], ids=lambda one: one.name)
async def test_a_hostile_package_that_was_let_in_gets_nowhere(
    package: Package, sandbox: Sandbox, tmp_path: Path
) -> None:
    inspection = _inspected(package, tmp_path)
    if inspection.report.refused:
        # Only what cannot be set keeps a package out here: there would be nothing to run.
        assert all(RULES[one.rule].fixed for one in inspection.report.findings if one.consequence is Consequence.BLOCK)
        return
    assert inspection.manifest is not None
    assert inspection.bundle is not None
    manifest = Manifest.from_document(inspection.manifest, entry=inspection.entry)
    if manifest.runtime is Runtime.WASM:
        # The two of the corpus are no components that could run; tests/escape/test_components.py has some that do.
        probe = await sandbox.probe(Runtime.WASM, hashlib.sha256(inspection.bundle).hexdigest(), inspection.bundle)
        assert probe.error is not None
        return
    files = json.loads(inspection.bundle)["files"]
    digest = hashlib.sha256(inspection.bundle).hexdigest()
    probe = await sandbox.probe(manifest.runtime, digest, inspection.bundle)
    for function in probe.exports:
        entry = "main.py" if manifest.runtime is Runtime.PYTHON else "index.ts"
        outcome = await run(
            sandbox,
            manifest.runtime,
            files[manifest.entry],
            function,
            input=INPUT,
            files={path: text for path, text in files.items() if path not in (manifest.entry, entry)},
            timeout_ms=2_000,
            cpu_ms=2_000,
        )
        # It may compute what it likes; of the host it learns nothing and changes nothing.
        said = (outcome.output or b"").decode() + str(outcome.error)
        assert "uid=" not in said, said
        assert "root:" not in said, said
        assert outcome.status is not ExecutionStatus.CRASHED or outcome.output is None
