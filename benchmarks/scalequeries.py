"""The calls that `scale.py` measures: every query by id, every list with each filter and sort, at first and deep pages.

Each goes through `PostgresStore` as the use cases do, for a large, a middling and a small tenant in turn.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import psycopg

from benchmarks.scaledata import CATEGORIES
from plugyard.application.ports import (
    AuditFilter,
    ExecutionFilter,
    ListingFilter,
    LogFilter,
    Page,
    PageRequest,
    PluginFilter,
    StandingFilter,
    UpgradeFilter,
)
from plugyard.domain.analytics import Grain, window_of
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.manifest import Runtime
from plugyard.domain.plugin import PluginState
from plugyard.domain.standing import StandingState
from plugyard.infrastructure.postgres.store import PostgresStore

BY_ID_MS, LIST_MS, ANALYTICS_MS = 10.0, 50.0, 200.0
Call = Callable[[], Awaitable[object]]
Ask = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True)
class Measured:
    """A call by its name, the bound of its 95th percentile in ms, and what it asks of each sample."""

    name: str
    bound_ms: float
    calls: Sequence[Call]


@dataclass(frozen=True)
class Sample:
    """Ids that belong together: a plugin of a tenant with a version, an execution and what else there is."""

    tenant: str
    slug: str
    plugin: str
    name: str
    version: str
    execution: str
    listing: str
    key: str
    publisher_key: str


_SAMPLES = """
select t.id::text, t.slug, p.id::text, p.name, p.version_id::text,
  coalesce((select e.id::text from plugin_executions e where e.tenant_id = t.id and e.plugin_id = p.id
   order by started_at limit 1 offset 40),
   (select e.id::text from plugin_executions e where e.tenant_id = t.id limit 1)),
  (select l.id::text from marketplace_listings l order by md5(l.id::text || t.slug) limit 1),
  (select k.id::text from api_keys k where k.tenant_id = t.id limit 1),
  (select k.id from publisher_keys k where k.tenant_id = t.id limit 1)
from tenants t cross join lateral (
  select * from plugins p where p.tenant_id = t.id and p.state = 'active' order by p.created_at limit 1) p
where t.slug in ('tenant-0', 'tenant-1', 'tenant-7', 'tenant-40')
order by length(t.slug), t.slug
"""


def samples(owner_url: str) -> list[Sample]:
    """Ids of tenants of different sizes, the largest first; its plugin is the one that ran most."""
    options = "-c search_path=plugyard -c plugyard.operator=on"
    with psycopg.connect(owner_url, options=options) as owner:
        found = [Sample(*row) for row in owner.execute(_SAMPLES.encode()).fetchall()]
    return [one for one in found if one.execution is not None]


class Calls:
    """Makes the calls; each opens one transaction."""

    def __init__(self, store: PostgresStore, given: Sequence[Sample]) -> None:
        self._store, self.given = store, given
        self.now = datetime.now(UTC)

    async def tenant(self, tenant_id: str, ask: Ask) -> Any:
        """Asks as a tenant."""
        async with self._store.for_tenant(tenant_id) as tx:
            return await ask(tx)

    async def operator(self, ask: Ask) -> Any:
        """Asks as the operator."""
        async with self._store.for_operator() as tx:
            return await ask(tx)

    def each(self, name: str, bound: float, ask: Callable[[Sample, Any], Awaitable[Any]]) -> Measured:
        """One call for each sample."""
        return Measured(name, bound, [partial(self.tenant, one.tenant, partial(ask, one)) for one in self.given])

    def by_id(self) -> list[Measured]:
        """Everything that is asked for by its id or by its name."""
        unknown = str(uuid.UUID(int=0x123456789ABC4DEF8123456789ABCDEF))
        each = partial(self.each, bound=BY_ID_MS)
        asked: dict[str, Callable[[Sample, Any], Awaitable[Any]]] = {
            "plugin": lambda one, tx: tx.plugin(one.plugin),
            "plugin, locked": lambda one, tx: tx.plugin(one.plugin, lock=True),
            "plugin named": lambda one, tx: tx.plugin_named(one.name),
            "version": lambda one, tx: tx.version(one.version),
            "version numbered": lambda one, tx: tx.version_numbered(one.plugin, "1.0.0"),
            "dependencies": lambda one, tx: tx.dependencies(one.version),
            "used rights": lambda one, tx: tx.used_rights([one.plugin]),
            "execution": lambda one, tx: tx.execution(one.execution),
            "execution that is none, id of version 4": lambda _, tx: tx.execution(unknown),
            "standing": lambda one, tx: tx.standings([one.version]),
            "rescan": lambda one, tx: tx.rescans([one.version]),
            "origin": lambda one, tx: tx.origins([one.version]),
            "trust": lambda one, tx: tx.trust([one.version]),
            "trust of a listing": lambda one, tx: tx.trust_of_listings([one.listing]),
            "listing": lambda one, tx: tx.listing(one.listing),
            "listing of a plugin": lambda one, tx: tx.listing_of(one.plugin),
            "listing named": lambda one, tx: tx.listing_named(one.name),
            "publisher": lambda one, tx: tx.publisher(one.tenant),
            "publisher key": lambda one, tx: tx.publisher_key(one.publisher_key),
            "key": lambda one, tx: tx.key(one.key),
            "successor of a key": lambda one, tx: tx.successor_of(one.key),
            "tenant": lambda one, tx: tx.tenant(one.tenant),
            "head of the trail": lambda _, tx: tx.audit_head(),
        }
        found = [each(name, ask=ask) for name, ask in asked.items()]
        hashes = [hashlib.sha256(f"key{n}".encode()).digest() for n in (1, 500, 1_200)]
        found.append(Measured("key by its hash", BY_ID_MS, [partial(self._store.key_by_hash, one) for one in hashes]))
        slugs: list[Call] = [
            partial(self.operator, partial(lambda slug, tx: tx.tenant_by_slug(slug), one.slug)) for one in self.given
        ]
        return [*found, Measured("tenant by its slug", BY_ID_MS, slugs)]

    def lists(self) -> dict[str, tuple[bool, Callable[[Sample, Any, PageRequest], Awaitable[Page[Any]]]]]:
        """Every list by name: whether the operator asks, and how a page of it is asked for."""
        ago = partial(lambda now, **given: now - timedelta(**given), self.now)
        found: dict[str, tuple[bool, Any]] = {}

        def add(name: str, ask: Callable[..., Awaitable[Page[Any]]], *, operator: bool = False) -> None:
            found[name] = (operator, ask)

        plugin_filters = {f"sort {sort}": PluginFilter(sort=sort) for sort in _sorts()}
        plugin_filters |= {f"status {state}": PluginFilter(status=state) for state in PluginState}
        plugin_filters |= {
            "category": PluginFilter(category=CATEGORIES[1]),
            "runtime": PluginFilter(runtime=Runtime.WASM),
            "permission": PluginFilter(permission="database"),
            "author": PluginFilter(author="author-7"),
            "author that is none": PluginFilter(author="nobody"),
            "q": PluginFilter(q="invoice"),
            "q, rare": PluginFilter(q="invoice k41"),
            "q, by name": PluginFilter(q="ledger", sort="name"),
            "upgrade waiting": PluginFilter(upgrade=UpgradeFilter.WAITING),
            "upgrade available": PluginFilter(upgrade=UpgradeFilter.AVAILABLE),
            "all at once": PluginFilter(PluginState.ACTIVE, CATEGORIES[0], Runtime.PYTHON, "cache", None, "invoice"),
        }
        for name, plugins in plugin_filters.items():
            add(f"plugins, {name}", lambda _, tx, page, f=plugins: tx.list_plugins(f, page))
        add("versions", lambda one, tx, page: tx.versions(one.plugin, page))
        execution_filters = {
            "all": ExecutionFilter(),
            "function": ExecutionFilter(function="explain"),
            "function that is none": ExecutionFilter(function="nothing"),
            "version": ExecutionFilter(version="1.1.0"),
            "since": ExecutionFilter(since=ago(hours=6)),
            "until": ExecutionFilter(until=ago(days=3)),
            "window": ExecutionFilter(since=ago(days=4), until=ago(days=3)),
            "failed in a window": ExecutionFilter(ExecutionStatus.FAILED, since=ago(days=4), until=ago(days=3)),
        }
        execution_filters |= {f"status {status}": ExecutionFilter(status) for status in ExecutionStatus}
        for name, executions in execution_filters.items():
            add(f"executions, {name}", lambda one, tx, page, f=executions: tx.list_executions(one.plugin, f, page))
        log_filters = {
            "all": LogFilter(),
            "q": LogFilter(q="order"),
            "q, rare": LogFilter(q="order 00ab"),
            "q that is nowhere": LogFilter(q="no such words"),
            "since": LogFilter(since=ago(hours=6)),
            "window": LogFilter(since=ago(days=4), until=ago(days=3)),
            "error in a window": LogFilter("error", since=ago(days=4), until=ago(days=3)),
        }
        log_filters |= {f"level {level}": LogFilter(level) for level in ("debug", "info", "warning", "error")}
        for name, lines in log_filters.items():
            add(f"logs, {name}", lambda one, tx, page, f=lines: tx.list_logs(one.plugin, f, page))
        add(
            "logs, execution",
            lambda one, tx, page: tx.list_logs(one.plugin, LogFilter(execution_id=one.execution), page),
        )
        listing_filters = {
            "all": ListingFilter(),
            "category": ListingFilter(category=CATEGORIES[2]),
            "q": ListingFilter(q="invoice"),
            "q, rare": ListingFilter(q="invoice k41"),
            "q and category": ListingFilter(CATEGORIES[0], "invoice"),
        }
        for name, listings in listing_filters.items():
            add(f"listings, {name}", lambda _, tx, page, f=listings: tx.search_listings(f, page))
        add("ratings of a listing", lambda one, tx, page: tx.ratings(one.listing, page))
        add("ratings of a tenant", lambda _, tx, page: tx.own_ratings(page))
        add("keys", lambda _, tx, page: tx.list_keys(page))
        add("publisher keys", lambda _, tx, page: tx.publisher_keys(page))
        audit_filters = {
            "all": lambda _: AuditFilter(),
            "actor": lambda _: AuditFilter(actor="key:7"),
            "action": lambda _: AuditFilter(action="security.violated"),
            "target": lambda one: AuditFilter(target=f"plugin:{one.plugin}"),
            "actor and action": lambda _: AuditFilter("key:7", "plugin.install"),
            "window": lambda _: AuditFilter(since=ago(days=40), until=ago(days=30)),
            "actor that is none": lambda _: AuditFilter(actor="nobody"),
        }
        for name, audit in audit_filters.items():
            add(f"audit, {name}", lambda one, tx, page, f=audit: tx.list_audit(f(one), page))
        add("audit of the platform", lambda _, tx, page: tx.list_audit(AuditFilter(), page), operator=True)
        add("tenants", lambda _, tx, page: tx.list_tenants(page), operator=True)
        standing_filters = {str(state.value): lambda _, s=state: StandingFilter(s) for state in StandingState}
        standing_filters |= {
            "of a tenant": lambda one: StandingFilter(StandingState.RELEASED, tenant_id=one.tenant),
            "of a name": lambda one: StandingFilter(StandingState.RELEASED, name=one.name),
        }
        for name, standings in standing_filters.items():
            add(
                f"standings, {name}",
                lambda one, tx, page, f=standings: tx.list_standings(f(one), page),
                operator=True,
            )
        add("affected versions", lambda _, tx, page: tx.affected(page), operator=True)
        return found

    async def pages(self) -> list[Measured]:
        """First pages of every list, and of those that are long a page behind a thousand items and more."""
        found = []
        for name, (operator, ask) in self.lists().items():
            first: list[Call] = []
            deep: list[Call] = []
            for one in self.given:
                for limit in (20, 100):
                    first.append(self._page(one, ask, PageRequest(limit), operator=operator))
                cursor, walked = None, 0
                for _ in range(30):
                    page = await self._page(one, ask, PageRequest(100, cursor), operator=operator)()
                    if page.next_cursor is None:
                        break
                    cursor, walked = page.next_cursor, walked + 1
                if walked >= 2:
                    deep.append(self._page(one, ask, PageRequest(20, cursor), operator=operator))
            found.append(Measured(name, LIST_MS, first))
            if deep:
                found.append(Measured(f"{name}; deep", LIST_MS, deep))
        return found

    def _page(self, one: Sample, ask: Any, page: PageRequest, *, operator: bool) -> Callable[[], Awaitable[Page[Any]]]:
        asked = partial(lambda tx, sample: ask(sample, tx, page), sample=one)
        return partial(self.operator, asked) if operator else partial(self.tenant, one.tenant, asked)

    def whole(self) -> list[Measured]:
        """What adds up, and the short lists without pages."""
        windows = {
            "the last day": window_of(self.now, None, None, None),
            "30 days": window_of(self.now, self.now - timedelta(days=30), None, None),
            "30 days by the hour": window_of(self.now, self.now - timedelta(days=30), None, Grain.HOUR),
            "90 days": window_of(self.now, self.now - timedelta(days=90), None, None),
        }
        found = [
            self.each(f"analytics, {name}", ANALYTICS_MS, lambda _, tx, w=window: tx.analytics(w, 10))
            for name, window in windows.items()
        ]
        hour, day = self.now - timedelta(hours=1), self.now - timedelta(days=1)
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        short: dict[str, Callable[[Sample, Any], Awaitable[Any]]] = {
            "featured": lambda _, tx: tx.featured(20),
            "categories": lambda _, tx: tx.categories(),
            "names near": lambda one, tx: tx.names_near(one.name),
            "publishers read as": lambda one, tx: tx.publishers_read_as(one.slug),
            "outcomes of an hour": lambda one, tx: tx.outcomes(one.plugin, hour),
            "metrics of a day": lambda one, tx: tx.metrics(one.plugin, day, self.now),
            "executions of today, counted": lambda _, tx: tx.count_executions(midnight, self.now),
            "holdings": lambda _, tx: tx.holdings(),
            "lines of the trail": lambda _, tx: tx.audit_lines(100, 100),
            "log followed": lambda one, tx: tx.logs_after(one.plugin, LogFilter(), None),
        }
        found += [self.each(name, LIST_MS, ask) for name, ask in short.items()]
        of_operator: dict[str, Ask] = {
            "plugins to check": lambda tx: tx.plugins_to_check(hour, 500),
            "tenants being deleted": lambda tx: tx.tenants_being_deleted(),
        }
        return [
            *found,
            *(Measured(name, LIST_MS, [partial(self.operator, ask)]) for name, ask in of_operator.items()),
        ]


def _sorts() -> list[str]:
    return [f"{sign}{name}" for name in ("createdAt", "updatedAt", "name") for sign in ("", "-")]
