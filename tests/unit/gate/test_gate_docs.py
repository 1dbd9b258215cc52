"""What docs/gate.md says of the gate is what the code holds."""

import re
from dataclasses import fields
from pathlib import Path

from plugyard.gate.limits import GateLimits
from plugyard.gate.rules import RULES

_PAGE = (Path(__file__).parents[3] / "docs" / "gate.md").read_text("utf-8")
_ROW = re.compile(
    r"^\| `([a-z-]+\.[a-z0-9-]+)` \| (error|warning|info) \| (show|quarantine|block) \| ([^|]+) \| ([^|]+) \|$",
    re.MULTILINE,
)


def test_every_rule_has_its_line_in_the_docs_with_its_own_words() -> None:
    shown = {rule: tuple(words) for rule, *words in _ROW.findall(_PAGE)}
    assert shown == {
        rule.id: (rule.severity.value, rule.consequence.value, rule.title, rule.mend) for rule in RULES.values()
    }


def test_every_limit_has_its_line_in_the_docs() -> None:
    shown = dict(re.findall(r"^\| `([a-z_]+)` \| ([0-9.]+) \|", _PAGE, re.MULTILINE))
    assert {name: float(value) for name, value in shown.items()} == {
        field.name: float(field.default)
        for field in fields(GateLimits)  # type: ignore[arg-type]
    }


def test_no_words_of_a_rule_break_the_table() -> None:
    assert not [rule.id for rule in RULES.values() if "|" in rule.title + rule.mend]
