"""The rights that a grant holds, one by one: when each was given, when it was last used, and how one is dropped.

A right is a service, or one host or topic of it. Calls note what they use by the same words (``sandbox/outside``).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from plugyard.domain.covering import COVERS
from plugyard.domain.permissions import Permission, Service

# By what the use of a service is told apart. Methods and paths are not: what matters is whom a plugin speaks to.
TOLD_BY = {Service.NETWORK: "hosts", Service.EVENTS: "topics"}


@dataclass(frozen=True, slots=True, order=True)
class Right:
    """A service (``name`` is empty), or one of its hosts or topics as a grant or a use writes it."""

    service: Service
    name: str = ""

    @property
    def key(self) -> str:
        """As one word, by which times are kept."""
        return f"{self.service.value} {self.name}".rstrip()


@dataclass(frozen=True, slots=True)
class RightUse:
    """A right that is held, since when, and when it was last used; ``seen`` are the names that were used under it."""

    right: Right
    granted_at: datetime
    last_used_at: datetime | None
    seen: tuple[tuple[str, datetime], ...] = ()

    def unused_at(self, now: datetime, after: timedelta) -> bool:
        """Whether nobody used it for so long, counted from its last use or else from when it was granted."""
        return now - max(self.last_used_at or self.granted_at, self.granted_at) >= after


def rights_of(grants: Iterable[Permission]) -> tuple[Right, ...]:
    """Every right that the grants hold."""
    found = []
    for grant in grants:
        found.append(Right(grant.service))
        key = TOLD_BY.get(grant.service)
        found += [Right(grant.service, name) for name in (getattr(grant, key) if key else ())]
    return tuple(found)


def dated(grants: Iterable[Permission], before: Mapping[str, datetime], at: datetime) -> dict[str, datetime]:
    """When each right was granted: those held before keep their time."""
    return {right.key: before.get(right.key, at) for right in rights_of(grants)}


def uses_of(
    grants: Iterable[Permission],
    granted_at: Mapping[str, datetime],
    used: Mapping[Right, datetime],
    otherwise: datetime,
) -> tuple[RightUse, ...]:
    """Every right with its last use, of all that was ``used``; ``otherwise`` is when a grant without a time was given.

    A use of a host counts for the entry that allows it: ``api.acme.com`` for ``*.acme.com``.
    """
    found = []
    for right in rights_of(grants):
        key = TOLD_BY.get(right.service)
        if not right.name or key is None:
            times = [at for one, at in used.items() if one.service is right.service]
            seen: list[tuple[str, datetime]] = []
        else:
            under = [
                (one.name, at)
                for one, at in used.items()
                if one.service is right.service and one.name and COVERS[key](right.name, one.name)
            ]
            times = [at for _, at in under]
            seen = sorted(((name, at) for name, at in under if name != right.name), key=lambda one: one[1])[::-1]
        found.append(RightUse(right, granted_at.get(right.key, otherwise), max(times, default=None), tuple(seen)))
    return tuple(found)


def without(grants: tuple[Permission, ...], dropped: Iterable[Right]) -> tuple[Permission, ...]:
    """The grants without these rights. A service of which no named host or topic is left goes as a whole."""
    gone = set(dropped)
    kept = []
    for grant in grants:
        if Right(grant.service) in gone:
            continue
        key = TOLD_BY.get(grant.service)
        names: tuple[str, ...] = getattr(grant, key) if key else ()
        left = tuple(name for name in names if Right(grant.service, name) not in gone)
        # An empty narrowing would allow everything.
        if names and not left:
            continue
        fields: dict[str, Any] = {key: left} if key else {}
        kept.append(replace(grant, **fields) if left != names else grant)
    return tuple(kept)
