"""Collects findings while a package is read, bounded in number and in length. Every part of the gate adds to one."""

from plugyard.domain.report import Finding, Severity
from plugyard.gate.rules import RULES

_SHOWN = 240

ENOUGH = 400
"""How many faults of one kind are looked at: more than are listed, and few enough to stay cheap."""


class Findings:
    """A list that takes each finding once, up to a cap; the first beyond it is replaced by a notice.

    A refusing finding beyond the cap still refuses: it takes the place of the last one that does not.
    """

    def __init__(self, cap: int) -> None:
        self._cap = cap
        self._found: dict[tuple[str, str, str], Finding] = {}
        self._left_out = 0
        self._refused = False

    def add(self, rule: str, where: str, what: str, *, line: int | None = None, mend: str | None = None) -> None:
        """Record what was found. ``where`` and ``what`` may hold hostile text: it is made printable and cut."""
        entry = RULES[rule]
        if len(self._found) >= self._cap and self.refused:
            self._left_out += 1
            return
        finding = Finding(rule, entry.severity, shown(where), shown(what), entry.why, mend or entry.mend, line)
        key = (rule, finding.where, finding.what)
        if key in self._found:
            return
        refuses = entry.severity is Severity.ERROR
        if len(self._found) >= self._cap:
            self._left_out += 1
            if not refuses:
                return
            self._found.popitem()
        self._found[key] = finding
        self._refused = self._refused or refuses

    @property
    def refused(self) -> bool:
        """Whether anything found so far refuses the package."""
        return self._refused

    def all(self) -> tuple[Finding, ...]:
        """Everything found, in the order of finding, with a notice at the end where the cap cut it."""
        if not self._left_out:
            return tuple(self._found.values())
        rule = RULES["gate.too-many-findings"]
        what = f"{self._left_out} further findings are not listed"
        return (*self._found.values(), Finding(rule.id, rule.severity, "the package", what, rule.why, rule.mend))


def shown(text: str) -> str:
    """The text as one printable line of bounded length: what is hostile in a name must not reach a terminal."""
    head = text[: _SHOWN + 1]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in head)
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"
