"""What every example promises: a manifest that fits its code, and an input that one can paste."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import Any

import jsonschema_rs
import pytest

from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits

from .conftest import EXAMPLES, ROOT, Run, example_input, manifest_of

NAMES = ("brief", "csv-insights", "duplicate-finder", "invoice-totals", "webhook-formatter")
WITH_FUNCTIONS = tuple(name for name in NAMES if name != "brief")

THE_PROMISED_MANIFEST = {
    "metadata": {
        "name": "my-plugin",
        "version": "1.0.0",
        "description": "My awesome plugin",
        "author": "Developer Name",
        "category": "utility",
    },
    "dependencies": {"platform": ">=1.0.0", "node": ">=18.0.0"},
    "security": {"permissions": ["database", "network"], "resourceLimits": {"memory": 128, "timeout": 30000}},
    "api": {"endpoints": [{"method": "GET", "path": "/my-endpoint", "handler": "handleRequest"}]},
}


def defaults_of(manifest: dict[str, Any]) -> dict[str, Any]:
    properties = manifest.get("configuration", {}).get("properties", {})
    return {name: schema["default"] for name, schema in properties.items() if "default" in schema}


def test_there_are_exactly_the_five_examples() -> None:
    assert tuple(sorted(path.parent.name for path in EXAMPLES.glob("*/plugin.json"))) == NAMES


def test_brief_has_the_promised_manifest_to_the_letter() -> None:
    assert manifest_of("brief") == THE_PROMISED_MANIFEST


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_fits_the_published_schema(name: str) -> None:
    schema = json.loads((ROOT / "sdk/manifest.schema.json").read_text(encoding="utf-8"))
    problems = [error.message for error in jsonschema_rs.Draft202012Validator(schema).iter_errors(manifest_of(name))]
    assert problems == []


@pytest.mark.parametrize("name", NAMES)
def test_the_gate_has_nothing_to_say_about_it(name: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((EXAMPLES / name).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                archive.write(path, path.relative_to(EXAMPLES / name).as_posix())
    inspection = inspect(packed, GateLimits())
    # The manifest of the product's promise asks for more than its small code uses, and the gate says so.
    promised = [("code.permission-unused", f"plugin.json#/security/permissions/{place}") for place in (0, 1)]
    found = [(finding.rule, finding.where) for finding in inspection.report.findings]
    assert found == (promised if name == "brief" else [])
    assert inspection.entry == manifest_of(name).get("entry", "index.ts")


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_shows_how_to_pack_upload_and_run_it(name: str) -> None:
    readme = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(f"# {name}\n")
    for part in ("zip -qr", "/api/v1/plugins/upload", "/execute", "example-input.json"):
        assert part in readme
    assert len(readme.splitlines()) <= 20


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_default_configuration_satisfies_its_own_schema(name: str) -> None:
    manifest = manifest_of(name)
    jsonschema_rs.Draft202012Validator(manifest.get("configuration", True)).validate(defaults_of(manifest))


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_example_input_and_its_output_fit_the_declared_schemas(name: str, run: Run) -> None:
    manifest, call = manifest_of(name), example_input(name)
    declared = manifest["functions"][call["function"]]
    jsonschema_rs.Draft202012Validator(declared["input"]).validate(call["input"])
    (outcome,) = run(name, (call["function"], call["input"], defaults_of(manifest)))
    assert "error" not in outcome, outcome
    jsonschema_rs.Draft202012Validator(declared["output"]).validate(outcome["output"])


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_example_input_is_the_first_example_of_its_function_in_the_manifest(name: str) -> None:
    call = example_input(name)
    assert manifest_of(name)["functions"][call["function"]]["examples"][0] == call["input"]


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_every_function_runs_on_its_examples_and_keeps_to_its_output_schema(name: str, run: Run) -> None:
    manifest = manifest_of(name)
    calls = [
        (function, example, defaults_of(manifest))
        for function, declared in manifest["functions"].items()
        for example in declared["examples"]
    ]
    assert {function for function, _, _ in calls} == set(manifest["functions"])
    for (function, _, _), outcome in zip(calls, run(name, *calls), strict=True):
        assert "error" not in outcome, outcome
        jsonschema_rs.Draft202012Validator(manifest["functions"][function]["output"]).validate(outcome["output"])


@pytest.mark.parametrize("name", WITH_FUNCTIONS)
def test_the_code_falls_back_to_the_defaults_that_the_manifest_names(name: str, run: Run) -> None:
    call = example_input(name)
    bare, configured = run(
        name,
        (call["function"], call["input"], {}),
        (call["function"], call["input"], defaults_of(manifest_of(name))),
    )
    assert bare["output"] == configured["output"]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "duplicate-finder"])
def test_everything_that_the_manifest_names_is_exported(name: str) -> None:
    manifest = manifest_of(name)
    named = set(manifest.get("functions", {}))
    named |= {endpoint["handler"] for endpoint in manifest.get("api", {}).get("endpoints", [])}
    source = (EXAMPLES / name / manifest.get("entry", "index.ts")).read_text(encoding="utf-8")
    exported = set(re.findall(r"^(?:export )?(?:async )?(?:def|function) (\w+)", source, re.MULTILINE))
    assert named
    assert named <= exported
