"""Secrets of a plugin's configuration, as far as the rules know them: values, or what no key of the service opens."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from plugyard.domain.errors import SecretsLocked


class LockedSecrets(Mapping[str, Any]):
    """Secrets that cannot be opened, because their key is lost. Whoever asks for one gets ``SecretsLocked``.

    The plugin is otherwise as it was, and what is sealed goes back into its row unchanged.
    """

    def __init__(self, plugin_id: str, key_id: str, sealed: bytes) -> None:
        self.plugin_id, self.key_id, self.sealed = plugin_id, key_id, sealed

    def _locked(self) -> NoReturn:
        raise SecretsLocked(self.plugin_id, self.key_id)

    def __getitem__(self, name: str) -> Any:
        self._locked()

    def __iter__(self) -> Iterator[str]:
        self._locked()

    def __len__(self) -> int:
        self._locked()

    def __repr__(self) -> str:
        return f"LockedSecrets({self.plugin_id!r}, {self.key_id!r})"


MASK = "********"
SHORTEST_HIDDEN = 6
"""Shorter texts stand in too much else to be looked for."""


def secret_texts(secrets: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts in the secrets that are long enough to be looked for, the longest first."""
    found: set[str] = set()
    waiting = list(secrets.values())
    while waiting:
        one = waiting.pop()
        if isinstance(one, str) and len(one) >= SHORTEST_HIDDEN:
            found.add(one)
        elif isinstance(one, Mapping):
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, int | float) and len(str(one)) >= SHORTEST_HIDDEN:
            found.add(str(one))
    return tuple(sorted(found, key=len, reverse=True))


def hidden(value: Any, texts: Sequence[str]) -> Any:
    """The JSON value with a mask in the place of each of the texts, in names as well."""
    if isinstance(value, str):
        for text in texts:
            value = value.replace(text, MASK)
        return value
    if isinstance(value, Mapping):
        return {hidden(name, texts): hidden(inner, texts) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [hidden(inner, texts) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in texts:
        return MASK
    return value


@dataclass(frozen=True, slots=True)
class LockedPlugin:
    """A plugin whose secrets are sealed with a key that the service does not have."""

    tenant_id: str
    plugin_id: str
    key_id: str


@dataclass(frozen=True, slots=True)
class Resealed:
    """A step of a rotation: how many plugins and webhooks were sealed anew, whose could not be opened, where to go on.

    ``next`` is the id of the last that was looked at, or ``None`` at the end.
    """

    key_id: str
    sealed: int
    locked: tuple[LockedPlugin, ...] = ()
    next: str | None = None
