"""An operator's settings of rules: what they change, and what is refused."""

import pytest

from plugyard.domain.report import Consequence, Severity
from plugyard.domain.rules import BadRuleSetting, Rule, RuleSettings

RULES = {
    rule.id: rule
    for rule in (
        Rule("code.eval", Severity.WARNING, Consequence.SHOW, "t", "w", "m"),
        Rule("code.bidi", Severity.ERROR, Consequence.BLOCK, "t", "w", "m"),
        Rule("manifest.type", Severity.ERROR, Consequence.BLOCK, "t", "w", "m", fixed=True),
    )
}


def _set(*lines: str) -> RuleSettings:
    return RuleSettings.of(lines, RULES)


def test_a_rule_that_nobody_sets_is_as_it_was_declared() -> None:
    assert _set().effective(RULES["code.eval"]) is RULES["code.eval"]


def test_a_rule_can_be_off() -> None:
    assert _set("code.eval=off").effective(RULES["code.eval"]) is None


def test_severity_and_consequence_are_set_together_or_alone() -> None:
    rule = _set("code.eval = error, quarantine").effective(RULES["code.eval"])
    assert rule is not None
    assert (rule.severity, rule.consequence) == (Severity.ERROR, Consequence.QUARANTINE)
    alone = _set("code.eval=block").effective(RULES["code.eval"])
    assert alone is not None
    assert (alone.severity, alone.consequence) == (Severity.WARNING, Consequence.BLOCK)


def test_a_later_line_goes_over_an_earlier_one_and_on_gives_the_rule_back() -> None:
    settings = _set("code.*=off", "code.bidi=on")
    assert settings.effective(RULES["code.eval"]) is None
    assert settings.effective(RULES["code.bidi"]) == RULES["code.bidi"]


def test_a_star_leaves_what_is_fixed_alone() -> None:
    assert _set("*=off").effective(RULES["manifest.type"]) is not None


def test_findings_are_weighed_anew_and_left_out_where_their_rule_is_off() -> None:
    findings = [rule.found("main.py", "x") for rule in RULES.values()]
    weighed = _set("code.eval=off", "code.bidi=info,show").apply(findings)
    assert [(one.rule, one.severity, one.consequence) for one in weighed] == [
        ("code.bidi", Severity.INFO, Consequence.SHOW),
        ("manifest.type", Severity.ERROR, Consequence.BLOCK),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("code.eval", "write RULE=off"),
        ("code.eval=", "write RULE=off"),
        ("code.evil=off", "no rule 'code.evil'"),
        ("secret.*=off", "begins with 'secret.'"),
        ("code.eval=loud", "'loud' is none of on, off, info"),
        ("manifest.type=off", "cannot be set"),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_by_name(line: str, said: str) -> None:
    with pytest.raises(BadRuleSetting, match=said):
        _set(line)
