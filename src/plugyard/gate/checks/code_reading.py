"""Code that could not be read, so that the checks on code say nothing of it."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check
from plugyard.gate.findings import Findings
from plugyard.gate.package import Package

_RULES = (
    Rule(
        "code.unreadable",
        Severity.WARNING,
        Consequence.SHOW,
        "a file of code could not be read by the checks",
        "The checks on code say nothing of this file; whether it runs, the sandbox decides.",
        "Mend the syntax that is named, or split the file.",
    ),
    Rule(
        "code.minified",
        Severity.INFO,
        Consequence.SHOW,
        "code of the plugin's own is minified",
        "Whoever reviews the plugin cannot read it.",
        "Ship the code as it was written; the platform bundles nothing that it does not need.",
    ),
)
_LONG_LINES = 1_000


def _run(package: Package, findings: Findings) -> None:
    for source in package.sources.values():
        if source.problem is not None:
            findings.add("code.unreadable", source.path, source.problem, line=source.problem_line)
        elif not source.vendored:
            text = package.texts[source.path]
            if len(text) > 4 * _LONG_LINES and len(text) > _LONG_LINES * (text.count("\n") + 1):
                findings.add(
                    "code.minified", source.path, f"has lines of {len(text) // (text.count(chr(10)) + 1)} characters"
                )


CHECK = Check("code-reading", "Code can be read, by the checks and by people.", _RULES, _run)
