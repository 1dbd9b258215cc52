"""What a version asks for against what a tenant has granted: how each request stands, and what waits for an admin."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from plugyard.domain.permissions import NARROWINGS, Permission, Service, carried


class AskStatus(StrEnum):
    """How a request stands: ``waiting`` for an admin, given by the ``policy`` at install, or decided by an admin."""

    WAITING = "waiting"
    POLICY = "policy"
    GRANTED = "granted"
    NARROWED = "narrowed"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Ask:
    """One request of a version, with the author's reason, what the tenant answered, and what its policy would.

    ``grantable`` is false where the operator lets no plugin of the tenant have the service.
    """

    permission: Permission
    status: AskStatus
    grant: Permission | None
    by_policy: bool
    grantable: bool = True


@dataclass(frozen=True, slots=True)
class WaitingUpgrade:
    """An upgrade that waits for an admin, or that one declined; ``asks`` is what goes beyond the grant."""

    version_id: str
    version: str
    asks: tuple[Permission, ...]
    since: datetime
    requested_by: str
    declined_because: str | None = None
    decided_by: str | None = None
    decided_at: datetime | None = None

    @property
    def declined(self) -> bool:
        """Whether an admin has said no; another admin may still consent."""
        return self.decided_at is not None


@dataclass(frozen=True, slots=True)
class Weighed:
    """The grants as they hold for a version, and what it asks for beyond them."""

    kept: tuple[Permission, ...]
    beyond: tuple[Permission, ...]


def asks(
    asked: tuple[Permission, ...],
    grants: tuple[Permission, ...],
    automatic: Collection[Service],
    grantable: Collection[Service] = frozenset(Service),
    *,
    installed: bool,
) -> tuple[Ask, ...]:
    """How each request stands for a plugin that is installed with these grants, or not installed yet."""
    held = {grant.service: grant for grant in grants}
    found = []
    for permission in asked:
        by_policy = permission.service in automatic
        grant = held.get(permission.service) if installed else None
        if not installed:
            status = AskStatus.POLICY if by_policy else AskStatus.WAITING
        elif grant is None:
            status = AskStatus.DECLINED
        else:
            same = all(set(getattr(grant, key)) == set(getattr(permission, key)) for key in NARROWINGS)
            status = AskStatus.GRANTED if same else AskStatus.NARROWED
        found.append(Ask(permission, status, grant, by_policy, permission.service in grantable))
    return tuple(found)


def weigh(
    asked: tuple[Permission, ...],
    before: tuple[Permission, ...],
    grants: tuple[Permission, ...],
    automatic: Collection[Service],
    named: tuple[Permission, ...] | None = None,
    *,
    consents: bool = False,
) -> Weighed:
    """The grants as they hold for another version, which asks for ``asked`` where the one before asked for ``before``.

    ``named`` are an admin's own answers; what they leave out of the new is declined. ``consents`` agrees to all of it.
    """
    held = {grant.service: grant for grant in grants}
    asked_before = {permission.service: permission for permission in before}
    answers = None if named is None else {grant.service: grant for grant in named}
    kept: list[Permission] = []
    beyond: list[Permission] = []
    for permission in asked:
        service = permission.service
        if answers is not None and service in answers:
            kept.append(answers[service])
            continue
        if service in asked_before and service not in held:
            continue  # an admin left it out, and that decision stands
        grant = carried(asked_before[service], permission, held[service]) if service in asked_before else None
        if grant is not None:
            kept.append(grant)
        elif consents or service in automatic:
            kept.append(permission)
        elif answers is None:
            beyond.append(permission)
    return Weighed(tuple(kept), tuple(beyond))
