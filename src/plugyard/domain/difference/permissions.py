"""What one version may be granted beyond another, by the meaning of the words."""

from dataclasses import dataclass
from enum import StrEnum

from plugyard.domain.covering import covered
from plugyard.domain.permissions import NARROWINGS, Permission, Service


class PermissionShift(StrEnum):
    """What became of a request; ``changed`` asks for more in one way and less in another, ``noted`` says it anew."""

    ADDED = "added"
    REMOVED = "removed"
    WIDENED = "widened"
    NARROWED = "narrowed"
    CHANGED = "changed"
    NOTED = "noted"


@dataclass(frozen=True, slots=True)
class PermissionChange:
    """A service that the versions ask for differently: both requests with their reasons, and what comes and goes.

    ``more`` and ``less`` are words such as ``hosts *.acme.com``; ``hosts any`` where a narrowing is given up.
    """

    service: Service
    shift: PermissionShift
    before: Permission | None
    after: Permission | None
    more: tuple[str, ...] = ()
    less: tuple[str, ...] = ()


def compare_permissions(before: tuple[Permission, ...], after: tuple[Permission, ...]) -> tuple[PermissionChange, ...]:
    """Every service that is asked for differently, in the order of the newer version and then of what went."""
    was, now = ({one.service: one for one in permissions} for permissions in (before, after))
    found = []
    for permission in after:
        earlier = was.get(permission.service)
        if earlier is None:
            found.append(PermissionChange(permission.service, PermissionShift.ADDED, None, permission))
        elif earlier != permission:
            found.append(_compared(earlier, permission))
    gone = [one for one in before if one.service not in now]
    found += [PermissionChange(one.service, PermissionShift.REMOVED, one, None) for one in gone]
    return tuple(found)


def _compared(before: Permission, after: Permission) -> PermissionChange:
    more, less = _beyond(after, before), _beyond(before, after)
    if more and less:
        shift = PermissionShift.CHANGED
    elif more:
        shift = PermissionShift.WIDENED
    else:
        shift = PermissionShift.NARROWED if less else PermissionShift.NOTED
    return PermissionChange(after.service, shift, before, after, more, less)


def _beyond(one: Permission, other: Permission) -> tuple[str, ...]:
    """What one allows and the other does not."""
    found: list[str] = []
    for key in NARROWINGS:
        mine, others = getattr(one, key), getattr(other, key)
        if not others:
            continue  # the other is not narrowed here, so nothing goes beyond it
        if not mine:
            found.append(f"{key} any")
        found += [f"{key} {entry}" for entry in mine if not covered(key, entry, others)]
    return tuple(found)
