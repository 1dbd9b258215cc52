"""Permissions: what a manifest asks for, what an admin grants, and whether a grant covers a use.

A request is a plain word (``"network"``) or an object that narrows it. A grant is the tenant's answer: it holds at most
what was asked, save that the plain word ``network`` asks for hosts that the admin has yet to name.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any


class Service(StrEnum):
    """The services that need a permission, by the word that a manifest uses."""

    DATABASE = "database"
    NETWORK = "network"
    CACHE = "cache"
    EVENTS = "events"
    FILESYSTEM = "filesystem"


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
        narrowing = {key: tuple(document.get(key, ())) for key in ("hosts", "methods", "paths", "topics")}
        return cls(Service(document["service"]), reason=document.get("reason", ""), **narrowing)

    def to_document(self) -> dict[str, Any]:
        """The object form, without the fields that are empty."""
        fields = {
            key: list(getattr(self, key)) for key in ("hosts", "methods", "paths", "topics") if getattr(self, key)
        }
        return {"service": self.service.value, **fields, **({"reason": self.reason} if self.reason else {})}


def not_covered(asked: tuple[Permission, ...], granted: tuple[Permission, ...]) -> list[str]:
    """Why a proposed grant goes beyond what was asked; an empty list when it does not.

    An admin may leave services out and narrow each, and names the hosts where the author asked for ``network`` alone.
    """
    problems = []
    wanted = {permission.service: permission for permission in asked}
    for grant in granted:
        request = wanted.get(grant.service)
        if request is None:
            problems.append(f"the plugin does not ask for {grant.service.value}")
            continue
        for key in ("hosts", "methods", "paths", "topics"):
            asked_values = getattr(request, key)
            beyond = sorted(set(getattr(grant, key)) - set(asked_values))
            if asked_values and beyond:
                problems.append(f"{grant.service.value}: {key} {', '.join(beyond)} are not among those asked for")
    return problems


def narrowed(asked: tuple[Permission, ...], granted: tuple[Permission, ...]) -> tuple[Permission, ...]:
    """The grant in full: where it leaves a narrowing open, the request's own narrowing holds."""
    wanted = {permission.service: permission for permission in asked}
    return tuple(
        replace(
            grant,
            **{
                key: getattr(grant, key) or getattr(wanted[grant.service], key)
                for key in ("hosts", "methods", "paths", "topics")
            },
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
    for key in ("hosts", "methods", "paths", "topics"):
        was, asked, held = getattr(before, key), getattr(now, key), getattr(grant, key)
        if key == "hosts":
            # Where the author named no host the admin did, and has agreed to those alone.
            more = not set(asked) <= set(was or held)
        else:
            more = bool(was) and not (asked and set(asked) <= set(was))
        values[key] = tuple(one for one in held if one in asked) if asked and held else asked or held
        # A grant of which nothing is left must not become an empty narrowing, which would allow everything.
        if more or (held and not values[key]):
            return None
    return replace(now, **values)
