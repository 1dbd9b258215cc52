"""Rules of the gate, and how an operator sets each: on or off, how severe, and what comes of it.

The checks declare their rules (``gate/checks``), the verification its own (``application/verify.py``). An operator's
settings are lines of text, read here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from plugyard.domain.report import Consequence, Finding, Severity


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule by its stable id: what it is about, why it matters and how an author mends it.

    A ``fixed`` rule cannot be set: without it there would be no package to speak of, or no check.
    """

    id: str
    severity: Severity
    consequence: Consequence
    title: str
    why: str
    mend: str
    fixed: bool = False

    @property
    def group(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    def found(
        self, where: str, what: str, *, line: int | None = None, mend: str | None = None, why: str | None = None
    ) -> Finding:
        """A finding of this rule, in the rule's words where the finding has none of its own."""
        return Finding(self.id, self.severity, where, what, why or self.why, mend or self.mend, line, self.consequence)


class BadRuleSetting(ValueError):
    """A line that sets a rule cannot be read; the message says which and why."""


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """What an operator changed: for each rule's id the rule as it now is, or ``None`` where it is off."""

    changed: Mapping[str, Rule | None] = field(default_factory=dict)

    @classmethod
    def of(cls, lines: Iterable[str], rules: Mapping[str, Rule]) -> "RuleSettings":
        """Read lines as ``code.eval=off`` or ``code.*=warning,quarantine``; later lines go over earlier ones.

        The words behind the sign are ``off``, ``on``, a severity and a consequence. A name that ends in ``*`` means
        every rule that begins so and can be set. Raises ``BadRuleSetting``.
        """
        changed: dict[str, Rule | None] = {}
        for line in lines:
            name, sign, words = (part.strip() for part in line.partition("="))
            if not sign or not words:
                raise BadRuleSetting(f"{line!r} is no setting of a rule: write RULE=off, or RULE=SEVERITY,CONSEQUENCE")
            for rule in _named(name, rules):
                changed[rule.id] = _changed(changed.get(rule.id) or rule, words, line)
        return cls(changed)

    def effective(self, rule: Rule) -> Rule | None:
        """The rule as it holds here; ``None`` where it is off."""
        return self.changed.get(rule.id, rule)

    def apply(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Findings as they weigh under these settings; those of rules that are off are left out."""
        kept = []
        for one in findings:
            rule = self.changed.get(one.rule, one)
            if rule is not None:
                kept.append(one if rule is one else replace(one, severity=rule.severity, consequence=rule.consequence))
        return tuple(kept)


def _named(name: str, rules: Mapping[str, Rule]) -> list[Rule]:
    if name.endswith("*"):
        found = [rule for rule in rules.values() if rule.id.startswith(name[:-1]) and not rule.fixed]
        if not found:
            raise BadRuleSetting(f"no rule that can be set begins with {name[:-1]!r}; docs/gate.md lists them all")
        return found
    rule = rules.get(name)
    if rule is None:
        raise BadRuleSetting(f"there is no rule {name!r}; docs/gate.md lists them all")
    if rule.fixed:
        raise BadRuleSetting(f"the rule {name} cannot be set: without it there is no package to check")
    return [rule]


def _changed(rule: Rule, words: str, line: str) -> Rule | None:
    on: Rule | None = rule
    for word in (part.strip() for part in words.split(",")):
        if word == "off":
            on = None
        elif word == "on":
            on = rule
        elif word in set(Severity):
            rule = replace(rule, severity=Severity(word))
            on = rule
        elif word in set(Consequence):
            rule = replace(rule, consequence=Consequence(word))
            on = rule
        else:
            known = ", ".join(["on", "off", *Severity, *Consequence])
            raise BadRuleSetting(f"{line!r}: {word!r} is none of {known}")
    return on
