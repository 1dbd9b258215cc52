"""What a key is narrowed to: actions, one plugin, some of its functions. A key without scopes has its whole role."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Scope:
    """One thing that a narrowed key may do. Empty ``actions`` are all of its role; ``plugin`` is a plugin's id.

    ``functions`` narrow what may be executed of that plugin; empty are all.
    """

    actions: frozenset[str] = frozenset()
    plugin: str | None = None
    functions: frozenset[str] = frozenset()

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "Scope":
        """Read the stored form."""
        return cls(frozenset(document["actions"]), document["plugin"], frozenset(document["functions"]))

    def to_document(self) -> dict[str, Any]:
        """The stored form."""
        return {"actions": sorted(self.actions), "plugin": self.plugin, "functions": sorted(self.functions)}

    def allows(self, action: str | None, plugin: str | None) -> bool:
        """Whether it lets through what is done to a plugin, or with ``None`` to the tenant as a whole.

        What is no action, as asking who one is, it lets through where the plugin fits.
        """
        if self.plugin is not None and self.plugin != plugin:
            return False
        if self.functions and action not in (None, "execute"):
            return False
        return action is None or not self.actions or action in self.actions

    def covers(self, other: "Scope") -> bool:
        """Whether all that the other lets through goes through this one."""
        actions = not self.actions or (bool(other.actions) and other.actions <= self.actions)
        plugin = self.plugin is None or self.plugin == other.plugin
        functions = not self.functions or (bool(other.functions) and other.functions <= self.functions)
        return actions and plugin and functions

    def __str__(self) -> str:
        what = ", ".join(sorted(self.actions)) or "all of its role"
        where = f" on plugin {self.plugin}" if self.plugin else ""
        which = f", functions {', '.join(sorted(self.functions))}" if self.functions else ""
        return what + where + which


def permitted(scopes: Iterable[Scope], action: str | None, plugin: str | None) -> bool:
    """Whether any scope lets it through; no scopes narrow nothing."""
    held = tuple(scopes)
    return not held or any(one.allows(action, plugin) for one in held)


def may_call(scopes: Iterable[Scope], plugin: str, function: str) -> bool:
    """Whether a function of a plugin may be executed."""
    held = tuple(scopes)
    return not held or any(
        one.allows("execute", plugin) and (not one.functions or function in one.functions) for one in held
    )


def within(scopes: Iterable[Scope], held: Iterable[Scope]) -> bool:
    """Whether a key with ``scopes`` could do no more than one that has ``held``."""
    mine, asked = tuple(held), tuple(scopes)
    if not mine:
        return True
    return bool(asked) and all(any(one.covers(each) for one in mine) for each in asked)
