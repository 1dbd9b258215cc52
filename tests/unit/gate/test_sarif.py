"""Reports as SARIF 2.1.0: the shape that readers rely on, and marks that stay the same."""

import io
import json
from typing import Any

import jsonschema_rs

from plugyard.application.sarif import sarif
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.gate.rules import RULES
from tests.unit.gate.checks.sampling import zipped

TEXT = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string", "minLength": 1}}}
URI = {"type": "object", "required": ["uri"], "properties": {"uri": {"type": "string", "minLength": 1}}}
# What the standard demands of the parts that are written (sections 3.13 to 3.30).
SHAPE: dict[str, Any] = {
    "type": "object",
    "required": ["$schema", "version", "runs"],
    "properties": {
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["tool", "results"],
                "properties": {
                    "artifacts": {"type": "array", "items": {"properties": {"location": URI}}},
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints"],
                            "properties": {
                                "level": {"enum": ["none", "note", "warning", "error"]},
                                "message": TEXT,
                                "ruleIndex": {"type": "integer", "minimum": 0},
                                "locations": {
                                    "minItems": 1,
                                    "items": {
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": URI,
                                                    "region": {
                                                        "properties": {"startLine": {"type": "integer", "minimum": 1}}
                                                    },
                                                },
                                            }
                                        }
                                    },
                                },
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                            },
                        },
                    },
                },
            },
        },
    },
}
FILES = {
    "plugin.json": b'{"metadata": {"name": "a-sample", "version": "1"}, "runtime": "python", "nmae": 1}',
    "main.py": b"def f(input, context):\n    return eval(input)\n",
}


def _log(files: dict[str, bytes]) -> dict[str, Any]:
    return sarif(inspect(io.BytesIO(zipped(files)), GateLimits()).report, RULES)


def test_the_log_has_the_shape_of_the_standard() -> None:
    log = json.loads(json.dumps(_log(FILES)))
    assert [error.message for error in jsonschema_rs.Draft202012Validator(SHAPE).iter_errors(log)] == []
    run = log["runs"][0]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in run["results"])
    assert {"code.eval", "manifest.unknown-field", "manifest.version"} <= set(rules)
    found = next(one for one in run["results"] if one["ruleId"] == "code.eval")
    assert found["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "main.py"},
        "region": {"startLine": 2},
    }
    pointed = next(one for one in run["results"] if one["ruleId"] == "manifest.unknown-field")
    assert pointed["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "plugin.json"


def test_the_marks_stay_the_same_when_lines_move() -> None:
    moved = {**FILES, "main.py": b"\n\n" + FILES["main.py"]}
    marks = [
        {one["ruleId"]: one["partialFingerprints"] for one in _log(files)["runs"][0]["results"]}
        for files in (FILES, moved)
    ]
    assert marks[0]["code.eval"] == marks[1]["code.eval"]


def test_a_clean_package_has_an_empty_run() -> None:
    clean = {
        "plugin.json": b'{"metadata": {"name": "a-sample", "version": "1.0.0"}, "runtime": "python"}',
        "main.py": b"def f(input, context):\n    return 1\n",
    }
    assert _log(clean)["runs"][0]["results"] == []
