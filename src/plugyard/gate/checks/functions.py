"""Functions that the manifest names and the code does not have, as far as that can be told without running it."""

from typing import Any

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package

_RULES = (
    Rule(
        "code.function-absent",
        Severity.ERROR,
        Consequence.BLOCK,
        "the manifest names a function that the entry file does not export",
        "Callers would get an error from a function that the manifest promises.",
        "Export the function under this name, or correct the name in the manifest.",
    ),
)


def _run(package: Package, findings: Findings) -> None:
    source = package.sources.get(package.entry or "")
    if source is None or source.problem is not None or source.exports is None:
        return
    for name, where in _named(package.document):
        if name not in source.exports:
            listed = ", ".join(sorted(source.exports)[:10]) or "nothing"
            findings.add("code.function-absent", where, f"{source.path} does not export {name}; it exports {listed}")


def _named(document: Any) -> list[tuple[str, str]]:
    """Every function that a manifest names, with the place where it does."""
    if not isinstance(document, dict):
        return []
    functions = document.get("functions")
    found = [(name, f"plugin.json#/functions/{name}") for name in functions] if isinstance(functions, dict) else []
    api = document.get("api")
    endpoints = api.get("endpoints") if isinstance(api, dict) else None
    for place, one in enumerate(endpoints if isinstance(endpoints, list) else []):
        if isinstance(one, dict) and isinstance(one.get("handler"), str):
            found.append((one["handler"], f"plugin.json#/api/endpoints/{place}/handler"))
    schedules = document.get("schedules")
    for place, one in enumerate(schedules if isinstance(schedules, list) else []):
        if isinstance(one, dict) and isinstance(one.get("function"), str):
            found.append((one["function"], f"plugin.json#/schedules/{place}/function"))
    return found


CHECK = Check("functions", "Functions that the manifest names and the code has.", _RULES, _run)
