"""Permissions that the code uses and the manifest does not ask for, and the other way round."""

from typing import Any

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package

_RULES = (
    Rule(
        "code.permission-undeclared",
        Severity.WARNING,
        Consequence.SHOW,
        "the code uses a service whose permission the manifest does not ask for",
        "The call would be refused at the first execution.",
        "Ask for it in security.permissions, with a reason that the admin reads.",
    ),
    Rule(
        "code.permission-unused",
        Severity.INFO,
        Consequence.SHOW,
        "the manifest asks for a permission that the code does not use",
        "An admin grants more than is needed.",
        "Leave it out of security.permissions.",
    ),
)


def _run(package: Package, findings: Findings) -> None:
    asked = _asked(package.document)
    if asked is None or not package.sources:
        return
    used: dict[str, tuple[str, int]] = {}
    for source in package.sources.values():
        for permission, line in source.services:
            used.setdefault(permission, (source.path, line))
    for permission, (path, line) in used.items():
        if permission not in asked:
            findings.add("code.permission-undeclared", path, f"uses a service of {permission}", line=line)
    known = all(source.problem is None and not source.services_pass_on for source in package.sources.values())
    for permission, place in asked.items():
        if known and permission not in used:
            where = f"plugin.json#/security/permissions/{place}"
            findings.add("code.permission-unused", where, f"{permission} is asked for and not used")


def _asked(document: Any) -> dict[str, int] | None:
    """The permissions by their place in the list; ``None`` where the manifest does not have the shape."""
    security = document.get("security", {}) if isinstance(document, dict) else None
    listed = security.get("permissions", []) if isinstance(security, dict) else None
    if not isinstance(listed, list):
        return None
    words = [one if isinstance(one, str) else one.get("service") if isinstance(one, dict) else None for one in listed]
    return {word: place for place, word in enumerate(words) if isinstance(word, str)}


CHECK = Check("permissions", "Permissions used and asked for.", _RULES, _run)
