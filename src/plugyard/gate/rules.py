"""The one table of everything that can be found about a package: the rules of all checks, and of the verification.

``docs/gate.md`` shows it; a test compares the two.
"""

import hashlib
from collections.abc import Mapping

from plugyard.application.rescan import RULES as OF_THE_RESCAN
from plugyard.application.verify import RULES as OF_THE_VERIFICATION
from plugyard.domain.rules import Rule, RuleSettings
from plugyard.gate.checks import CHECKS

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (*(rule for check in CHECKS for rule in check.rules), *OF_THE_VERIFICATION, *OF_THE_RESCAN)
}


def effective(settings: RuleSettings) -> Mapping[str, Rule | None]:
    """The table as it holds under an operator's settings; ``None`` where a rule is off."""
    return {rule.id: settings.effective(rule) for rule in RULES.values()}


CHECKS_VERSION = 1
"""Raised by whoever changes what a check finds without changing its rules, so that versions are checked again."""


def version_of(rules: Mapping[str, Rule | None], *more: str) -> str:
    """Names a set of rules as it holds under an operator's settings: the same name means the same findings."""
    lines = sorted(
        f"{rule.id} {rule.severity} {rule.consequence}" if rule is not None else f"{name} off"
        for name, rule in rules.items()
    )
    text = "\n".join([str(CHECKS_VERSION), *lines, *more])
    return hashlib.sha256(text.encode()).hexdigest()[:16]
