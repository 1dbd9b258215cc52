"""A report as SARIF 2.1.0, which code hosts and editors read.

``plugyard check --format sarif`` writes it, and ``http/plugins.py`` answers it for a version, with what later checks
found as well.

Source: OASIS, Static Analysis Results Interchange Format Version 2.1.0, sections 3.13 (log), 3.14 (run), 3.27 (result).
"""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from plugyard import __version__
from plugyard.application.history import judged
from plugyard.application.platform import Platform
from plugyard.domain.identity import Caller
from plugyard.domain.report import Finding, Report, Severity
from plugyard.domain.rules import Rule

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.INFO: "note", Severity.WARNING: "warning", Severity.ERROR: "error"}


async def sarif_of(platform: Platform, caller: Caller, plugin_id: str, number: str) -> dict[str, Any]:
    """The log of a stored version; raises ``NotFound``."""
    found = await judged(platform, caller, plugin_id, number)
    later = found.rescan.findings if found.rescan is not None else ()
    return sarif(found.version.report.with_findings(*later), platform.policies.every_rule)


def sarif(report: Report, rules: Mapping[str, Rule]) -> dict[str, Any]:
    """The log of one run: every rule that found something, and every finding with its place.

    ``partialFingerprints`` are the same for the same finding in the next version, as long as file and words are.
    """
    named = sorted({finding.rule for finding in report.findings})
    places = {rule: place for place, rule in enumerate(named)}
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "plugyard",
                        "semanticVersion": __version__,
                        "rules": [_rule(rule, rules.get(rule)) for rule in named],
                    }
                },
                "artifacts": [{"location": {"uri": file}} for file in _files(report.findings)],
                "results": [_result(finding, places[finding.rule]) for finding in report.findings],
                "properties": {"digest": f"sha256:{report.digest}", "refused": report.refused},
            }
        ],
    }


def _rule(name: str, rule: Rule | None) -> dict[str, Any]:
    if rule is None:
        return {"id": name}
    return {
        "id": name,
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.why},
        "help": {"text": rule.mend},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
        "properties": {"consequence": rule.consequence.value},
    }


def _result(finding: Finding, place: int) -> dict[str, Any]:
    physical: dict[str, Any] = {"artifactLocation": {"uri": _file(finding)}}
    if finding.line is not None and finding.line > 0:
        physical["region"] = {"startLine": finding.line}
    mark = hashlib.sha256(f"{finding.rule}\n{finding.where}\n{finding.what}".encode()).hexdigest()[:32]
    return {
        "ruleId": finding.rule,
        "ruleIndex": place,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{finding.what}\n{finding.why}\n{finding.mend}"},
        "locations": [{"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": finding.where}]}],
        "partialFingerprints": {"plugyard/v1": mark},
        "properties": {"consequence": finding.consequence.value},
    }


def _file(finding: Finding) -> str:
    """The file of a place: a pointer into the manifest is in the manifest, and the package as a whole has none."""
    return "plugin.json" if finding.where == "the package" else finding.where.partition("#")[0]


def _files(findings: Iterable[Finding]) -> list[str]:
    return sorted({_file(finding) for finding in findings})
