"""Answers of plugins' endpoints that say they are public and how long they hold (RFC 9111), kept in this process.

``application/endpoints.py`` asks and keeps. A key names the tenant, the plugin, its version and its configuration, so
that what was kept of another is never found. What is kept has a size; the tenant that holds
most makes room, so none of them drives out the others.
"""

import re
from collections import Counter, OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from plugyard.application.endpointanswers import EndpointAnswer
from plugyard.domain.endpoints import CREDENTIALS

Key = tuple[str, ...]
"""Whatever tells two resources apart; the tenant comes first."""

MAX_ENTRY_SHARE = 16
MAX_VARIANTS = 32
LONGEST_S = 86_400
_STATUSES = frozenset({200, 203, 204, 301, 308, 404, 410})
_DIRECTIVE = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"([^"]*)"|([^\s,;"]*)))?', re.ASCII)
_AROUND = 512  # bytes that an entry takes beside its body and headers


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer, and from when until when it is fresh."""

    answer: EndpointAnswer
    since: datetime
    until: datetime
    size: int

    def served(self, now: datetime) -> EndpointAnswer:
        """The answer with its age in seconds (RFC 9111, 5.1)."""
        age = max(0, int((now - self.since).total_seconds()))
        return replace(self.answer, headers=(*self.answer.headers, ("age", str(age))))


@dataclass(slots=True)
class _Resource:
    """What is kept of one resource: the headers that its answers vary by, and an answer for each choice of values."""

    vary: tuple[str, ...]
    variants: OrderedDict[tuple[str, ...], Kept]


class EndpointCache:
    """At most so many bytes of answers; 0 keeps none."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._tenants: dict[str, OrderedDict[Key, _Resource]] = {}
        self._held: Counter[str] = Counter()

    @property
    def held_bytes(self) -> int:
        """How much is kept."""
        return self._held.total()

    def get(self, key: Key, headers: Mapping[str, str], now: datetime) -> Kept | None:
        """What is fresh for that request; nothing for one that wants a new answer (RFC 9111, 5.2.1)."""
        resources = self._tenants.get(key[0])
        resource = None if resources is None else resources.get(key)
        if resources is None or resource is None:
            return None
        wanted = directives(headers.get("cache-control", ""))
        if "no-cache" in wanted or "no-store" in wanted or wanted.get("max-age") == "0":
            return None
        values = _values(resource.vary, headers)
        kept = resource.variants.get(values)
        if kept is None:
            return None
        if kept.until <= now:
            self._drop(key, resource, values)
            return None
        resources.move_to_end(key)
        return kept

    def keep(self, key: Key, headers: Mapping[str, str], answer: EndpointAnswer, now: datetime) -> None:
        """Keep an answer to a GET that says it may be kept for everybody."""
        fresh = lasts(answer)
        if not self._most or not fresh:
            return
        if "no-store" in directives(headers.get("cache-control", "")):
            return
        vary = _vary(answer)
        if vary is None:
            return
        values = _values(vary, headers)
        size = _AROUND + len(answer.body) + sum(len(name) + len(value) for name, value in answer.headers)
        # What the caller chose is kept with it: the address with its query, and the values of the headers it varies by.
        size += sum(map(len, key)) + sum(map(len, values))
        if size > self._most // MAX_ENTRY_SHARE:
            return
        self._put(key, vary, values, Kept(answer, now, now + timedelta(seconds=fresh), size))
        while self.held_bytes > self._most:
            tenant_id = max(self._held, key=lambda one: self._held[one])
            oldest, resource = next(iter(self._tenants[tenant_id].items()))
            for values in list(resource.variants):
                self._drop(oldest, resource, values)

    def forget(self, tenant_id: str) -> None:
        """Keep nothing of that tenant."""
        self._tenants.pop(tenant_id, None)
        self._held.pop(tenant_id, None)

    def _put(self, key: Key, vary: tuple[str, ...], values: tuple[str, ...], kept: Kept) -> None:
        resources = self._tenants.setdefault(key[0], OrderedDict())
        resource = resources.get(key)
        if resource is not None and resource.vary != vary:
            for one in list(resource.variants):
                self._drop(key, resource, one)
            resource = None
        if resource is None:
            resources = self._tenants.setdefault(key[0], OrderedDict())
            resource = resources[key] = _Resource(vary, OrderedDict())
        before = resource.variants.pop(values, None)
        resource.variants[values] = kept
        self._held[key[0]] += kept.size - (before.size if before is not None else 0)
        if len(resource.variants) > MAX_VARIANTS:
            self._drop(key, resource, next(iter(resource.variants)))
        resources.move_to_end(key)

    def _drop(self, key: Key, resource: _Resource, values: tuple[str, ...]) -> None:
        tenant_id, gone = key[0], resource.variants.pop(values)
        self._held[tenant_id] -= gone.size
        if not resource.variants:
            del self._tenants[tenant_id][key]
        if not self._tenants[tenant_id]:
            self.forget(tenant_id)


def directives(text: str) -> dict[str, str]:
    """The directives of a Cache-Control, in lower case; of one that is repeated the first."""
    found: dict[str, str] = {}
    for name, quoted, plain in _DIRECTIVE.findall(text):
        found.setdefault(name.lower(), quoted or plain)
    return found


def lasts(answer: EndpointAnswer) -> int:
    """For how many seconds the answer may be kept for everybody; 0 where it says nothing of that, or may not be."""
    said = directives(answer.header("cache-control") or "")
    if answer.status not in _STATUSES or "public" not in said:
        return 0
    if any(word in said for word in ("no-store", "no-cache", "private")):
        return 0
    age = said.get("s-maxage", said.get("max-age", ""))
    return min(int(age), LONGEST_S) if age.isascii() and age.isdigit() and len(age) < 12 else 0


def _vary(answer: EndpointAnswer) -> tuple[str, ...] | None:
    """The headers that the answer varies by; ``None`` where nobody can tell whether another request gets the same."""
    names = {name.strip().lower() for name in (answer.header("vary") or "").split(",")} - {""}
    return None if "*" in names or names & CREDENTIALS else tuple(sorted(names))


def _values(vary: tuple[str, ...], headers: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(headers.get(name, "\0") for name in vary)
