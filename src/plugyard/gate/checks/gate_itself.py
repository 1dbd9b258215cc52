"""What the check says of itself."""

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import Rule
from plugyard.gate.check import Check

_RULES = (
    Rule(
        "gate.too-many-findings",
        Severity.INFO,
        Consequence.SHOW,
        "more was found than is listed",
        "The list is cut so that it stays readable.",
        "Mend what is listed and check again.",
        fixed=True,
    ),
    Rule(
        "gate.timeout",
        Severity.ERROR,
        Consequence.BLOCK,
        "the check took too long",
        "What could not be checked is not let in.",
        "Make the package smaller; if it is small, tell the operator.",
        fixed=True,
    ),
    Rule(
        "gate.could-not-run",
        Severity.ERROR,
        Consequence.BLOCK,
        "the check could not be completed",
        "What could not be checked is not let in.",
        "Upload it again; if it happens again, tell the operator.",
        fixed=True,
    ),
)

CHECK = Check("gate-itself", "What the check says of itself.", _RULES, found_in="plugyard.gate.jailed")
