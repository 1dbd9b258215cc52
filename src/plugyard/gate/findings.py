"""Collects findings while a package is read, bounded in number and in length. Every part of the gate adds to one."""

from collections import Counter
from collections.abc import Mapping

from plugyard.domain.report import Consequence, Finding
from plugyard.domain.rules import Rule

_SHOWN = 240
_WEIGHT = {Consequence.SHOW: 0, Consequence.QUARANTINE: 1, Consequence.BLOCK: 2}

MOST_IN_A_PLACE = 10
"""How many findings of one rule in one file are listed."""

ENOUGH = 400
"""How many faults of one kind are looked at: more than are listed, and few enough to stay cheap."""


class Findings:
    """A list that takes each finding once, up to a cap; what is beyond it is counted in a notice.

    A finding beyond the cap still counts where it does more to the package than one that is listed: it takes its place.
    """

    def __init__(self, cap: int, rules: Mapping[str, Rule | None]) -> None:
        self._cap, self._rules = cap, rules
        self._found: dict[tuple[str, str, str], Finding] = {}
        self._consequences: Counter[Consequence] = Counter()
        self._places: Counter[tuple[str, str]] = Counter()
        self._left_out = 0

    def add(self, rule: str, where: str, what: str, *, line: int | None = None, mend: str | None = None) -> None:
        """Record what was found. ``where`` and ``what`` may hold hostile text: it is made printable and cut.

        Nothing happens where the rule is off.
        """
        entry = self._rules[rule]
        if entry is None:
            return
        finding = entry.found(shown(where), shown(what), line=line, mend=mend)
        key = (rule, finding.where, finding.what)
        if key in self._found:
            return
        place = (rule, finding.where)
        self._places[place] += 1
        if self._places[place] > MOST_IN_A_PLACE:
            self._left_out += 1
            return
        if len(self._found) >= self._cap:
            self._left_out += 1
            if not self._makes_room_for(entry.consequence):
                return
        self._found[key] = finding
        self._consequences[entry.consequence] += 1

    def _makes_room_for(self, consequence: Consequence) -> bool:
        weakest = min((one for one, count in self._consequences.items() if count), key=_WEIGHT.__getitem__)
        if _WEIGHT[consequence] <= _WEIGHT[weakest]:
            return False
        del self._found[next(key for key in reversed(self._found) if self._found[key].consequence is weakest)]
        self._consequences[weakest] -= 1
        return True

    @property
    def refused(self) -> bool:
        """Whether anything found so far refuses the package."""
        return self._consequences[Consequence.BLOCK] > 0

    def all(self) -> tuple[Finding, ...]:
        """Everything found, in the order of finding, with a notice at the end where the cap cut it."""
        rule = self._rules["gate.too-many-findings"] if self._left_out else None
        if rule is None:
            return tuple(self._found.values())
        notice = rule.found("the package", f"{self._left_out} further findings are not listed")
        return (*self._found.values(), notice)


def shown(text: str) -> str:
    """The text as one printable line of bounded length: what is hostile in a name must not reach a terminal."""
    head = text[: _SHOWN + 1]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in head)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
