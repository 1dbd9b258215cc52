"""The check on the author's own machine, and its report in three forms. ``author.check`` calls it."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from plugyard.application.sarif import sarif
from plugyard.cli.failure import Failure
from plugyard.cli.findings import finding_lines
from plugyard.domain.report import Report
from plugyard.domain.rules import BadRuleSetting, RuleSettings
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from plugyard.gate.malware import MalwareFile
from plugyard.gate.package import Knowledge
from plugyard.gate.rules import RULES, effective


def checked(stream: BinaryIO, rules: Sequence[str], malware: Path | None) -> tuple[Report, str, str]:
    """The report on a package, with its name and version as far as its manifest says them."""
    try:
        settings = RuleSettings.of(rules, RULES)
        knowledge = Knowledge(MalwareFile(malware, _told).current()) if malware is not None else Knowledge()
    except BadRuleSetting as error:
        raise Failure(f"--rule: {error}") from error
    except OSError as error:
        raise Failure(f"the malware list cannot be read: {error}") from error
    inspection = inspect(stream, GateLimits(), rules=effective(settings), knowledge=knowledge)
    metadata = (inspection.manifest or {}).get("metadata")
    said = metadata if isinstance(metadata, dict) else {}
    return inspection.report, str(said.get("name", "unnamed")), str(said.get("version", "0.0.0"))


def _told(sentence: str) -> None:
    raise Failure(sentence)


def written(report: Report, form: str, package: str) -> str:
    """The report as text for people, as JSON, or as SARIF 2.1.0."""
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(report)).decode() + "\n"
    if form == "sarif":
        return json.dumps(sarif(report, RULES), indent=2, ensure_ascii=False) + "\n"
    verdict = "refused" if report.refused else "suspicious" if report.suspicious else "good"
    all_found: list[dict[str, Any]] = list(msgspec.to_builtins(report.findings))
    found = sorted(all_found, key=lambda one: (one["where"].partition("#")[0], one["line"] or 0))
    lines = []
    for file, those in itertools.groupby(found, key=lambda one: one["where"].partition("#")[0]):
        lines.append(f"{file}")
        lines += [finding_lines(one) for one in those]
    lines.append(f"{package}: {verdict}, {report.entries} files, {report.packed_bytes} bytes")
    if report.components:
        lines.append(f"{len(report.components)} libraries in it; --sbom FILE writes them down")
    lines.append(
        {
            "refused": "Next: mend what is marked as an error, and check again.",
            "suspicious": "Next: upload it all the same, and an operator looks at it first; or mend it.",
            "good": f"Next: plugyard upload {package} --activate",
        }[verdict]
    )
    return "\n".join(lines) + "\n"
