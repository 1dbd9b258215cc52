"""What plugin.json says holds together."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "manifest.version",
        Severity.ERROR,
        Consequence.BLOCK,
        "a version is not a semantic version",
        "Upgrades and dependencies are decided by comparing versions.",
        "Write MAJOR.MINOR.PATCH, as in 1.0.0 or 2.0.0-rc.1.",
        fixed=True,
    ),
    Rule(
        "manifest.range",
        Severity.ERROR,
        Consequence.BLOCK,
        "a version range cannot be read",
        "The dependency could not be resolved.",
        "Write a range as npm does, as in ^1.2.0 or >=1.0.0 <3.0.0.",
        fixed=True,
    ),
    Rule(
        "manifest.runtime-ambiguous",
        Severity.ERROR,
        Consequence.BLOCK,
        "two languages are named and no runtime",
        "The code runs in one of them.",
        'Add "runtime": "javascript" or "runtime": "python".',
        fixed=True,
    ),
    Rule(
        "manifest.runtime-missing",
        Severity.ERROR,
        Consequence.BLOCK,
        "nothing says what the plugin runs on",
        "The code runs in exactly one runtime.",
        'Add "runtime": "javascript", "python" or "wasm", or name the language in dependencies.',
        fixed=True,
    ),
    Rule(
        "manifest.identifier",
        Severity.ERROR,
        Consequence.BLOCK,
        "a function is not named by an identifier",
        "The name must be one that the code can export.",
        "Use letters, digits and _ without a leading digit, and no word that the language reserves.",
        fixed=True,
    ),
    Rule(
        "manifest.endpoint-duplicate",
        Severity.ERROR,
        Consequence.BLOCK,
        "two endpoints have the same method and path",
        "Only one of them could answer.",
        "Remove one, or change its method or path.",
        fixed=True,
    ),
    Rule(
        "manifest.schedule",
        Severity.ERROR,
        Consequence.BLOCK,
        "a schedule is not a cron expression",
        "It would never run, or run when nobody expects it.",
        "Write five fields: minute hour day-of-month month day-of-week, as in 0 6 * * 1-5.",
        fixed=True,
    ),
    Rule(
        "manifest.time-zone",
        Severity.ERROR,
        Consequence.BLOCK,
        "a time zone is not known",
        "The schedule would run at another hour than meant.",
        "Use a name of the IANA database, as in Europe/Berlin or UTC.",
        fixed=True,
    ),
    Rule(
        "manifest.permission-duplicate",
        Severity.ERROR,
        Consequence.BLOCK,
        "a service is asked for twice",
        "It would be unclear which of the two narrows the other.",
        "Ask for each service once, with all hosts, paths or topics in one object.",
        fixed=True,
    ),
    Rule(
        "manifest.permission-field",
        Severity.ERROR,
        Consequence.BLOCK,
        "a field does not belong to the service",
        "It would look like a restriction and be none.",
        "hosts, methods and paths narrow network; topics narrow events.",
        fixed=True,
    ),
)

CHECK = Check("manifest-meaning", "What plugin.json says holds together.", _RULES, found_in="plugyard.gate.semantics")
