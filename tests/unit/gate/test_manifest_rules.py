"""Each rule on manifests fires with its pointer and its line; the manifest of the product's promise is accepted."""

import io
import json
import time
from typing import Any

import pytest

from plugyard.application.ports import Inspection
from plugyard.domain.rules import RuleSettings
from plugyard.gate import inspect as gate
from plugyard.gate.limits import GateLimits
from plugyard.gate.rules import RULES, effective
from tests.unit.gate.manifest_samples import MANIFEST_SAMPLES, ManifestSample
from tests.unit.gate.packing import CODE, Entry, manifest, plain, zip_of

PROMISE = b"""{
  "metadata": {"name": "my-plugin", "version": "1.0.0", "description": "My awesome plugin",
               "author": "Developer Name", "category": "utility"},
  "dependencies": {"platform": ">=1.0.0", "node": ">=18.0.0"},
  "security": {"permissions": ["database", "network"], "resourceLimits": {"memory": 128, "timeout": 30000}},
  "api": {"endpoints": [{"method": "GET", "path": "/my-endpoint", "handler": "handleRequest"}]}
}
"""
EVERYTHING: dict[str, Any] = {
    "$schema": "../sdk/manifest.schema.json",
    "metadata": {
        "name": "every-field", "version": "1.2.3-rc.1+build.5", "description": "All of it.", "author": "Someone",
        "category": "data-quality", "license": "Apache-2.0 OR MIT", "homepage": "https://example.com/a?b#c",
        "icon": "icon.svg", "keywords": ["a", "b c"],
    },
    "runtime": "javascript",
    "entry": "src/index.mts",
    "dependencies": {"platform": "^1", "node": ">=18 <25", "plugins": {"csv-insights": "1.x || ^2.1.0"}},
    "configuration": {
        "type": "object", "additionalProperties": False, "required": ["token"],
        "properties": {
            "token": {"type": "string", "writeOnly": True},
            "retries": {"type": "integer", "default": 3},
            "nested": {"type": "object", "properties": {"on": {"type": "boolean", "default": True}}},
        },
    },
    "functions": {"total": {"description": "Adds.", "input": {"type": "object"}, "output": True, "effect": "read"}},
    "events": {"subscribes": ["invoice.created", "plugin.*"]},
    "schedules": [{"cron": "*/5 6-18 1,15 jan-mar mon-fri", "function": "total", "timeZone": "Europe/Berlin"}],
    "security": {
        "permissions": [
            "cache", {"service": "events", "topics": ["invoice.*"], "reason": "tells of totals"},
            {"service": "network", "hosts": ["api.acme.com", "*.acme.com:8443"], "methods": ["POST"],
                   "paths": ["/v1/*"],
             "reason": "creates invoices"},
        ],
        "resourceLimits": {
            "memory": 1024, "timeout": 300000, "cpu": 1, "output": 16384, "logLines": 1, "logSize": 1,
            "serviceCalls": 1, "serviceRate": 1, "serviceSize": 1, "inFlight": 1, "stack": 128, "startup": 1,
        },
        "modules": ["node:crypto", "util/types"],
        "isolation": "fresh",
    },
    "api": {"endpoints": [{"method": "POST", "path": "/invoices/{id}/lines", "handler": "total"}]},
}  # fmt: skip


# These are about manifests alone, whatever the code beside them does.
_ON_MANIFESTS = effective(RuleSettings.of(["code.*=off"], RULES))


def inspect(file: io.BytesIO, limits: GateLimits) -> Inspection:
    return gate.inspect(file, limits, rules=_ON_MANIFESTS)


def _findings(text: bytes, *files: str) -> list[Any]:
    return list(
        inspect(
            io.BytesIO(plain(*(Entry(name.encode(), b"") for name in files), text=text)), GateLimits()
        ).report.findings
    )


@pytest.mark.parametrize(
    "sample",
    [one for one in MANIFEST_SAMPLES if one.rule != "manifest.missing"],
    ids=lambda one: f"{one.rule} {one.pointer} {one.says}"[:70],
)
def test_a_rule_fires_with_its_pointer(sample: ManifestSample) -> None:
    findings = _findings(sample.text, *sample.files)
    hits = [finding for finding in findings if finding.rule == sample.rule]
    assert hits, findings
    assert any(finding.where.endswith(sample.pointer) and sample.says in finding.what for finding in hits), hits
    assert all(finding.what and finding.why and finding.mend for finding in findings)


@pytest.mark.parametrize("sample", MANIFEST_SAMPLES, ids=lambda one: f"{one.rule} {one.pointer} {one.says}"[:70])
def test_the_harmless_twin_is_accepted(sample: ManifestSample) -> None:
    assert _findings(sample.twin) == []


def test_a_manifest_that_is_absent_is_missed() -> None:
    findings = inspect(
        io.BytesIO(zip_of(Entry(b"index.js", CODE), Entry(b"a/b/Plugin.json", b""))), GateLimits()
    ).report.findings
    assert [finding.rule for finding in findings] == ["manifest.missing"]
    assert "a/b/Plugin.json" in findings[0].what


def test_the_promised_manifest_is_accepted_to_the_letter() -> None:
    package = zip_of(Entry(b"plugin.json", PROMISE), Entry(b"index.ts", CODE))
    inspection = inspect(io.BytesIO(package), GateLimits())
    assert inspection.report.findings == ()
    assert inspection.manifest == json.loads(PROMISE)
    assert inspection.entry == "index.ts"
    bundle = json.loads(inspection.bundle or b"")
    assert bundle == {"entry": "index.ts", "files": {"plugin.json": PROMISE.decode(), "index.ts": CODE.decode()}}


def test_a_manifest_with_every_field_is_accepted() -> None:
    package = zip_of(
        Entry(b"plugin.json", json.dumps(EVERYTHING).encode()),
        Entry(b"src/index.mts", CODE),
        Entry(b"icon.svg", b"<svg/>"),
    )
    inspection = inspect(io.BytesIO(package), GateLimits())
    assert inspection.report.findings == ()
    assert inspection.manifest == EVERYTHING


def test_the_smallest_manifest_is_accepted() -> None:
    text = b'{"metadata":{"name":"abc","version":"0.0.1"},"runtime":"python"}'
    inspection = inspect(io.BytesIO(zip_of(Entry(b"plugin.json", text), Entry(b"main.py", b"x = 1"))), GateLimits())
    assert inspection.report.findings == ()
    assert inspection.entry == "main.py"


def test_findings_name_the_line_of_the_value() -> None:
    text = PROMISE.replace(b'"memory": 128', b'"memory": "128"').replace(b'"name": "my-plugin"', b'"name": "My"')
    lines = {finding.where: finding.line for finding in _findings(text, "index.ts")}
    assert lines == {"plugin.json#/metadata/name": 2, "plugin.json#/security/resourceLimits/memory": 5}


def test_a_python_keyword_is_no_handler() -> None:
    text = manifest(dependencies={"python": ">=3.11"}, functions={"lambda": {}, "a$": {}, "run": {}})
    rules = [(finding.rule, finding.where) for finding in _findings(text, "main.py")]
    assert rules == [
        ("manifest.identifier", "plugin.json#/functions/lambda"),
        ("manifest.identifier", "plugin.json#/functions/a$"),
    ]


def test_a_nested_default_is_checked() -> None:
    nested = {"properties": {"a": {"type": "object", "properties": {"b": {"maximum": 3, "default": 4}}}}}
    (finding,) = _findings(manifest(configuration=nested))
    assert finding.rule == "manifest.default"
    assert finding.where == "plugin.json#/configuration/properties/a/properties/b"


def test_a_byte_order_mark_in_code_is_dropped() -> None:
    inspection = inspect(io.BytesIO(plain(code=b"\xef\xbb\xbfexport {}")), GateLimits())
    assert json.loads(inspection.bundle or b"")["files"]["index.js"] == "export {}"


def test_only_text_is_bundled() -> None:
    inspection = inspect(
        io.BytesIO(plain(Entry(b"a.png", b"\x89PNG"), Entry(b"LICENSE", b"x"), Entry(b"t/A.MD", b"y"))), GateLimits()
    )
    assert set(json.loads(inspection.bundle or b"")["files"]) == {"plugin.json", "index.js", "t/A.MD"}


@pytest.mark.parametrize(
    "fields",
    [
        {"functions": {f"f {number}": {} for number in range(20_000)}},
        {"security": {"permissions": ["x"] * 60_000}},
        {"security": {"permissions": [{}] * 60_000}},
        {f"unknown{number}": [1.0] for number in range(15_000)},
        {"configuration": {"$ref": "#/$defs/0", "$defs": {str(n): {"$ref": f"#/$defs/{n + 1}"} for n in range(6_000)}}},
        {"configuration": {"allOf": [{}] * 60_000}},
    ],
    ids=["functions", "words", "objects", "fields", "chain", "list"],
)
def test_a_manifest_full_of_faults_is_checked_in_seconds(fields: dict[str, Any]) -> None:
    began = time.process_time()
    findings = _findings(manifest(**fields))
    assert findings
    assert len(findings) <= GateLimits().findings + 1
    assert time.process_time() - began < 5
