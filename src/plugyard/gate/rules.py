"""The one table of everything that can be found about a package: the rules of all checks, and of the verification.

``docs/gate.md`` shows it; a test compares the two.
"""

from collections.abc import Mapping

from plugyard.application.verify import RULES as OF_THE_VERIFICATION
from plugyard.domain.rules import Rule, RuleSettings
from plugyard.gate.checks import CHECKS

RULES: Mapping[str, Rule] = {
    rule.id: rule for rule in (*(rule for check in CHECKS for rule in check.rules), *OF_THE_VERIFICATION)
}


def effective(settings: RuleSettings) -> Mapping[str, Rule | None]:
    """The table as it holds under an operator's settings; ``None`` where a rule is off."""
    return {rule.id: settings.effective(rule) for rule in RULES.values()}
