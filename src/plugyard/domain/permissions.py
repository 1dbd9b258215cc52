"""Permissions: what a manifest asks for, what an admin grants, and whether a grant covers a use.

A request is a plain word (``"network"``) or an object that narrows it. A grant is the tenant's answer: it holds at most
what was asked, save that the plain word ``network`` asks for hosts that the admin has yet to name.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from plugyard.domain.covering import common, covered, malformed

NARROWINGS = ("hosts", "methods", "paths", "topics")


class Service(StrEnum):
    """The services that need a permission, by the word that a manifest uses."""

    DATABASE = "database"
    NETWORK = "network"
    CACHE = "cache"
    EVENTS = "events"
    FILESYSTEM = "filesystem"


# By what each service is narrowed; the others are granted whole or not at all.
NARROWED_BY = {Service.NETWORK: ("hosts", "methods", "paths"), Service.EVENTS: ("topics",)}


@dataclass(frozen=True, slots=True)
class Permission:
    """A service, narrowed by hosts, methods and paths (network) or topics (events). Empty means not narrowed."""

    service: Service
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()
    reason: str = ""

    @classmethod
    def from_document(cls, document: str | dict[str, Any]) -> "Permission":
        """Read what the manifest's schema has already accepted: a word, or an object with ``service``."""
        if isinstance(document, str):
            return cls(Service(document))
        narrowing = {key: tuple(document.get(key, ())) for key in NARROWINGS}
        return cls(Service(document["service"]), reason=document.get("reason", ""), **narrowing)

    def to_document(self) -> dict[str, Any]:
        """The object form, without the fields that are empty."""
        fields = {key: list(getattr(self, key)) for key in NARROWINGS if getattr(self, key)}
        return {"service": self.service.value, **fields, **({"reason": self.reason} if self.reason else {})}


def not_covered(asked: tuple[Permission, ...], granted: tuple[Permission, ...]) -> list[str]:
    """Why a proposed grant goes beyond what was asked; an empty list when it does not.

    An admin may leave services out and narrow each by meaning (``api.acme.com`` out of ``*.acme.com``), and names the
    hosts where the author asked for ``network`` alone.
    """
    problems = []
    wanted = {permission.service: permission for permission in asked}
    for grant in granted:
        request = wanted.get(grant.service)
        if request is None:
            problems.append(f"the plugin does not ask for {grant.service.value}")
            continue
        for key in NARROWINGS:
            asked_values = getattr(request, key)
            beyond = sorted(one for one in set(getattr(grant, key)) if not covered(key, one, asked_values))
            if asked_values and beyond:
                problems.append(f"{grant.service.value}: {key} {', '.join(beyond)} are not among those asked for")
    return problems


def malformed_grants(asked: tuple[Permission, ...], granted: tuple[Permission, ...]) -> list[str]:
    """What an admin wrote into a grant that could never allow anything, or narrows what its service does not have."""
    problems = []
    wanted = {permission.service: permission for permission in asked}
    for grant in granted:
        for key in NARROWINGS:
            request = wanted.get(grant.service)
            written = [one for one in getattr(grant, key) if request is None or one not in getattr(request, key)]
            if written and key not in NARROWED_BY.get(grant.service, ()):
                problems.append(f"{grant.service.value} is not narrowed by {key}")
            else:
                problems += [f"{grant.service.value}: {wrong}" for one in written if (wrong := malformed(key, one))]
    return problems


def narrowed(asked: tuple[Permission, ...], granted: tuple[Permission, ...]) -> tuple[Permission, ...]:
    """The grant in full: where it leaves a narrowing open, the request's own narrowing holds."""
    wanted = {permission.service: permission for permission in asked}
    return tuple(
        replace(
            grant,
            **{key: getattr(grant, key) or getattr(wanted[grant.service], key) for key in NARROWINGS},
        )
        for grant in granted
        if grant.service in wanted
    )


def missing(asked: tuple[Permission, ...], auto_granted: frozenset[Service]) -> tuple[Permission, ...]:
    """What a tenant's policy does not grant by itself, so that an admin has to consent."""
    return tuple(permission for permission in asked if permission.service not in auto_granted)


def carried(before: Permission, now: Permission, grant: Permission) -> Permission | None:
    """The grant as it holds for another version of the plugin; ``None`` where that asks for more than was agreed to.

    ``before`` and ``now`` are what the two versions ask for. What the new one no longer asks for leaves the grant.
    """
    values: dict[str, Any] = {}
    for key in NARROWINGS:
        was, asked, held = getattr(before, key), getattr(now, key), getattr(grant, key)
        if key == "hosts":
            # Where the author named no host the admin did, and has agreed to those alone.
            more = not all(covered(key, one, was or held) for one in asked)
        else:
            more = bool(was) and not (asked and all(covered(key, one, was) for one in asked))
        values[key] = common(key, held, asked) if asked and held else asked or held
        # A grant of which nothing is left must not become an empty narrowing, which would allow everything.
        if more or (held and not values[key]):
            return None
    return replace(now, **values)
