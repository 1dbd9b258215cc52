"""The filtered lists: SQL is put together here, and only here, from the filters that were given.

Called by the transaction's modules, which import it when the first list is read: SQLAlchemy takes half a second to
load, and `store` loads it in the background. Each list has one order with the id as its last key, an index for that
order, and continues behind a cursor, so page one thousand costs what page one costs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import NullType

from plugyard.application.ports import (
    AuditFilter,
    ExecutionFilter,
    ListingFilter,
    LogFilter,
    PageRequest,
    PluginFilter,
    StandingFilter,
    UpgradeFilter,
)
from plugyard.domain.errors import FieldError, InvalidInput
from plugyard.infrastructure.postgres import cursors
from plugyard.infrastructure.postgres.rows import uuid_or_none
from plugyard.infrastructure.postgres.words import word_query

_DIALECT = postgresql.dialect(paramstyle="pyformat")  # type: ignore[no-untyped-call]
_HERE: ColumnElement[Any] = sa.literal_column("plugyard.current_tenant()")
_LEVELS = ("debug", "info", "warning", "error")


def _table(name: str, columns: str) -> sa.TableClause:
    return sa.table(name, *(sa.column(column, _type(column)) for column in columns.split()), schema="plugyard")


def _type(column: str) -> Any:
    """The type of a column, by its name: SQLAlchemy casts what is compared with it to that."""
    if column in ("id", "succeeds") or column.endswith("_id"):
        return postgresql.UUID(as_uuid=False)
    if column in ("at", "since") or column.endswith("_at"):
        return postgresql.TIMESTAMP(timezone=True)
    return sa.Text()


# What a plugin's, an execution's and a listing's row has to hold; the rest of a table is for filters and orders.
_PLUGIN_COLUMNS = (
    "id tenant_id name state version_id previous_version_id origin_listing_id configuration secrets "
    "sealed_secrets sealed_by grants "
    "installed_at activated_at suspended_because health_status health_score health_checked_at created_at updated_at "
    "waiting grant_times"
)
_VERSION_COLUMNS = "id tenant_id plugin_id digest entry manifest report exports created_at"
_EXECUTION_COLUMNS = (
    "id tenant_id plugin_id version function status started_at ended_at wall_ms cpu_ms peak_memory_bytes service_calls "
    "start error_code error_message error_stack error_limit error_used actor request_id input_bytes output_bytes "
    "queued_at attempts"
)
_LOG_COLUMNS = "id execution_id at level message fields"
_LISTING_COLUMNS = (
    "id tenant_id plugin_id version_id name version digest entry manifest exports packed_bytes published_at "
    "withdrawn_at installations rating_sum rating_count health_score signature"
)
_PLUGINS = _table("plugins", _PLUGIN_COLUMNS)
_VERSIONS = _table("plugin_versions", f"{_VERSION_COLUMNS} precedence runtime category author permissions words")
_EXECUTIONS = _table("plugin_executions", _EXECUTION_COLUMNS)
_LOGS = _table("plugin_logs", f"{_LOG_COLUMNS} tenant_id plugin_id")
_LISTINGS = _table("marketplace_listings", f"{_LISTING_COLUMNS} category words precedence")
_RATINGS = _table("plugin_ratings", "tenant_id listing_id stars review created_at updated_at")
_KEYS = _table("api_keys", "id tenant_id name role created_at expires_at revoked_at last_used_at scopes succeeds")
_TENANTS = _table(
    "tenants", "id slug name policy created_at modules_denied bounds state suspended_because suspended_at"
)
_AUDIT = _table("audit_log", "id tenant_id at actor action target detail request_id")
_STANDINGS = _table(
    "version_standings",
    "version_id tenant_id plugin_id name version digest state since decided_at decided_by reason",
)
_RESCANS = _table("version_rescans", "version_id tenant_id rules_version at findings")
_PUBLISHER_KEYS = _table(
    "publisher_keys", "tenant_id id name public_key created_at revoked_at invalid_from revoked_because"
)
_QUEUED_COLUMNS = (
    "id tenant_id plugin_id version call level state turn run lost queued_at due_at started_at ended_at attempts "
    "cancel_requested once"
)
_QUEUED = _table("queued_executions", _QUEUED_COLUMNS)
_WEBHOOKS = _table(
    "webhooks",
    "id tenant_id plugin_id name path scheme sealed_secrets sealed_by previous_until created_at revoked_at "
    "last_used_at",
)
_LINKS = _table("audit_links", "entry_id sequence hash")


def _columns(table: sa.TableClause, names: str) -> list[Any]:
    return [table.c[name] for name in names.split()]


@dataclass(frozen=True)
class Query:
    """A statement with its parameters, and what is needed to make a page of its rows."""

    kind: str
    text: str
    parameters: dict[str, Any]
    limit: int

    def page(self, rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str | None]:
        """The rows of the page and the cursor of those behind it; one row more than the page was read to know."""
        passing = [row for row in rows if row.get("passes", True)]
        shown = passing[: self.limit]
        if len(passing) > self.limit:
            last = shown[-1]
        elif rows and "passes" in rows[-1] and rows[-1]["seen"] == MOST_SEEN:
            # The search ended here and not at the end: the next page goes on behind the last row that was looked at.
            last = rows[-1]
        else:
            return shown, None
        return shown, cursors.encode(self.kind, cursors.Place(last["cursor_key"], last["cursor_id"]))


@dataclass(frozen=True)
class _Order:
    """How a list is sorted: by a key, then by an id, both in one direction. `kind` keeps cursors of lists apart."""

    kind: str
    key: ColumnElement[Any]
    id: ColumnElement[Any]
    key_type: type[cursors.Key]
    descending: bool = True
    is_id: Callable[[str], bool] = cursors.is_uuid


MOST_SEEN = 2_500
"""How many rows one page of a search looks at. What is rare in a long list is found over several pages, each of which
costs the same, and not by one that reads millions of rows."""

_FOLLOWED_AT_ONCE = 200


def _query(columns: Sequence[Any], where: Sequence[Any], order: _Order, page: PageRequest, joined: Any = None) -> Query:
    """The statement for one page, with the tenant's own condition among `where` so that the indexes serve."""
    place = cursors.decode(order.kind, page.cursor, order.key_type, order.is_id)
    statement = sa.select(*columns, order.key.label("cursor_key"), order.id.label("cursor_id")).where(*where)
    if joined is not None:
        statement = statement.select_from(joined)
    sort = sa.tuple_(order.key, order.id)
    if place is not None:
        # The types are left to PostgreSQL, which knows those of the columns.
        behind = sa.tuple_(
            sa.bindparam("place_key", place.key, NullType()), sa.bindparam("place_id", place.id, NullType())
        )
        statement = statement.where(sort < behind if order.descending else sort > behind)
    keys = (order.key, order.id)
    statement = statement.order_by(*(key.desc() if order.descending else key.asc() for key in keys))
    return _compiled(order.kind, statement.limit(page.limit + 1), page.limit)


def _search(
    columns: Sequence[Any], where: Sequence[Any], passes: Sequence[Any], order: _Order, page: PageRequest
) -> Query:
    """As `_query`, where an index serves `where` and the order, and each row has to be looked at for `passes`.

    Of `MOST_SEEN` rows; the last of them comes along whether it passes or not, to go on behind it.
    """
    if not passes:
        return _query(columns, where, order, page)
    place = cursors.decode(order.kind, page.cursor, order.key_type, order.is_id)
    keys = (order.key.desc(), order.id.desc())
    inner = sa.select(
        *columns,
        order.key.label("cursor_key"),
        order.id.label("cursor_id"),
        sa.and_(*passes).label("passes"),
        sa.func.row_number().over(order_by=keys).label("seen"),
    ).where(*where)
    if place is not None:
        behind = sa.tuple_(
            sa.bindparam("place_key", place.key, NullType()), sa.bindparam("place_id", place.id, NullType())
        )
        inner = inner.where(sa.tuple_(order.key, order.id) < behind)
    seen = inner.order_by(*keys).limit(MOST_SEEN).subquery("looked_at")
    statement = (
        sa.select(seen)
        .where(sa.or_(seen.c.passes, seen.c.seen == MOST_SEEN))
        .order_by(seen.c.cursor_key.desc(), seen.c.cursor_id.desc())
    )
    return _compiled(order.kind, statement.limit(page.limit + 1), page.limit)


def _compiled(kind: str, statement: sa.Select[Any], limit: int) -> Query:
    compiled = statement.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    return Query(kind, f"/* list {kind} */ {compiled}", dict(compiled.params), limit)


_PLUGIN_SORTS: dict[str, tuple[str, type[cursors.Key]]] = {
    "createdAt": ("created_at", datetime),
    "updatedAt": ("updated_at", datetime),
    "name": ("name", str),
}


def plugins(filters: PluginFilter, page: PageRequest) -> Query:
    """The tenant's plugins; uninstalled ones only where that status is asked for."""
    field = filters.sort.removeprefix("-")
    if field not in _PLUGIN_SORTS:
        allowed = ", ".join(_PLUGIN_SORTS)
        raise InvalidInput(errors=[FieldError("query/sort", f"must be one of {allowed}, with - before it or not")])
    column, key_type = _PLUGIN_SORTS[field]
    order = _Order(f"plugins {filters.sort}", _PLUGINS.c[column], _PLUGINS.c.id, key_type, filters.sort.startswith("-"))
    state = _PLUGINS.c.state
    where: list[Any] = [
        _PLUGINS.c.tenant_id == _HERE,
        state == filters.status.value if filters.status else state != "uninstalled",
    ]
    if filters.category is not None:
        where.append(_VERSIONS.c.category == filters.category)
    if filters.runtime is not None:
        where.append(_VERSIONS.c.runtime == filters.runtime.value)
    if filters.permission is not None:
        where.append(sa.bindparam("permission", filters.permission) == sa.any_(_VERSIONS.c.permissions))
    if filters.author is not None:
        where.append(_VERSIONS.c.author == filters.author)
    asked = word_query(filters.q or "")
    if asked is not None:
        where.append(_VERSIONS.c.words.op("@@")(sa.cast(asked, postgresql.TSQUERY)))
    if filters.upgrade is UpgradeFilter.WAITING:
        where.append(_PLUGINS.c.waiting.is_not(None))
        where.append(sa.literal_column("plugins.waiting ->> 'decided_at'").is_(None))
    elif filters.upgrade is UpgradeFilter.AVAILABLE:
        where += [state.in_(("installed", "active", "inactive", "suspended")), _newer_version()]
    joined = _PLUGINS.join(_VERSIONS, _VERSIONS.c.id == _PLUGINS.c.version_id)
    return _query(_columns(_PLUGINS, _PLUGIN_COLUMNS), where, order, page, joined)


def _newer_version() -> ColumnElement[bool]:
    """Whether the plugin has a version higher than the one in use, or its listing offers one."""
    newer, listing = _VERSIONS.alias("newer"), _LISTINGS.alias("listing")
    own = sa.exists().where(
        newer.c.tenant_id == _HERE, newer.c.plugin_id == _PLUGINS.c.id, newer.c.precedence > _VERSIONS.c.precedence
    )
    offered = sa.exists().where(
        listing.c.id == _PLUGINS.c.origin_listing_id,
        listing.c.withdrawn_at.is_(None),
        listing.c.precedence > _VERSIONS.c.precedence,
    )
    return sa.or_(own, offered)


def versions(plugin_id: str, page: PageRequest) -> Query:
    """A plugin's versions, the highest first."""
    order = _Order("versions", _VERSIONS.c.precedence, _VERSIONS.c.id, str)
    where = [_VERSIONS.c.tenant_id == _HERE, _VERSIONS.c.plugin_id == plugin_id]
    return _query(_columns(_VERSIONS, _VERSION_COLUMNS), where, order, page)


def executions(plugin_id: str, filters: ExecutionFilter, page: PageRequest) -> Query:
    """A plugin's executions, the newest first."""
    table = _EXECUTIONS.c
    where: list[Any] = [table.tenant_id == _HERE, table.plugin_id == plugin_id]
    where += _between(table.started_at, filters.since, filters.until)
    status = None if filters.status is None else filters.status.value
    named = ((table.status, status), (table.function, filters.function), (table.version, filters.version))
    passes = [column == value for column, value in named if value is not None]
    order = _Order("executions", table.started_at, table.id, datetime)
    return _search(_columns(_EXECUTIONS, _EXECUTION_COLUMNS), where, passes, order, page)


def queued(plugin_id: str, states: Sequence[str], filters: ExecutionFilter, page: PageRequest) -> Query:
    """A plugin's executions that wait or run, the newest first."""
    table = _QUEUED.c
    where: list[Any] = [table.tenant_id == _HERE, table.plugin_id == plugin_id, table.state.in_(states)]
    if filters.function is not None:
        where.append(sa.literal_column("call ->> 'function'") == filters.function)
    if filters.version is not None:
        where.append(table.version == filters.version)
    where += _between(table.queued_at, filters.since, filters.until)
    order = _Order("queued", table.queued_at, table.id, datetime)
    size: Any = sa.literal_column("octet_length(input)").label("input_bytes")
    return _query([*_columns(_QUEUED, _QUEUED_COLUMNS), size], where, order, page)


def dead_letters(plugin_id: str | None, page: PageRequest) -> Query:
    """The tenant's executions that gave up, the latest first."""
    table = _QUEUED.c
    where: list[Any] = [table.tenant_id == _HERE, table.state == "dead"]
    if plugin_id is not None:
        where.append(table.plugin_id == plugin_id)
    order = _Order("dead letters", table.ended_at, table.id, datetime)
    size: Any = sa.literal_column("octet_length(input)").label("input_bytes")
    return _query([*_columns(_QUEUED, _QUEUED_COLUMNS), size], where, order, page)


def logs(plugin_id: str, filters: LogFilter, page: PageRequest) -> Query:
    """A plugin's log, the newest first; ids grow with time, so they alone are the order."""
    table = _LOGS.c
    order = _Order("logs", table.id, table.id, str)
    where, passes = _log_conditions(plugin_id, filters)
    return _search(_columns(_LOGS, _LOG_COLUMNS), where, passes, order, page)


def logs_after(plugin_id: str, filters: LogFilter, after_id: str) -> Query:
    """The log lines behind one, the oldest first, for those who follow a log: of `MOST_SEEN` lines, as in a search.

    The last of these comes along whether it passes or not.
    """
    where, passes = _log_conditions(plugin_id, filters)
    where.append(_LOGS.c.id > after_id)
    columns = _columns(_LOGS, _LOG_COLUMNS)
    if not passes:
        statement = sa.select(*columns).where(*where).order_by(_LOGS.c.id).limit(_FOLLOWED_AT_ONCE)
        return _compiled("logs after", statement, _FOLLOWED_AT_ONCE)
    passing = sa.and_(*passes).label("passes")
    place = sa.func.row_number().over(order_by=_LOGS.c.id).label("seen")
    looked_at = sa.select(*columns, passing, place).where(*where).order_by(_LOGS.c.id).limit(MOST_SEEN)
    seen = looked_at.cte("looked_at")
    last = sa.select(sa.func.max(seen.c.seen)).scalar_subquery()
    statement = sa.select(seen).where(sa.or_(seen.c.passes, seen.c.seen == last)).order_by(seen.c.id)
    return _compiled("logs after", statement.limit(_FOLLOWED_AT_ONCE + 1), _FOLLOWED_AT_ONCE)


def _log_conditions(plugin_id: str, filters: LogFilter) -> tuple[list[Any], list[Any]]:
    """What indexes and partitions serve, and what each line has to be looked at for."""
    table = _LOGS.c
    where: list[Any] = [table.tenant_id == _HERE, table.plugin_id == plugin_id]
    passes: list[Any] = []
    if filters.level is not None:
        if filters.level not in _LEVELS:
            raise InvalidInput(errors=[FieldError("query/level", f"must be one of {', '.join(_LEVELS)}")])
        passes.append(table.level.in_(_LEVELS[_LEVELS.index(filters.level) :]))
    if filters.execution_id is not None:
        # An id that is none matches nothing, as one that does not exist.
        known = uuid_or_none(filters.execution_id)
        # An execution has few lines; the planner must not take the plugin's index and look for them among all others.
        passes += where
        where = [table.execution_id == known if known else sa.false()]
    if filters.q is not None:
        passes.append(sa.func.strpos(sa.func.lower(table.message), filters.q.lower()) > 0)
    passes += _between(table.at, filters.since, filters.until)
    return where + _between(table.at, *_whole_days(filters.since, filters.until)), passes


def _whole_days(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """The days that a window touches, which is what a partition holds; no end where it cannot be written."""
    first = since and since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    last = until and until.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return first, last and last + timedelta(days=1)
    except OverflowError:
        return first, None


def _between(column: ColumnElement[Any], since: datetime | None, until: datetime | None) -> list[Any]:
    return ([column >= since] if since else []) + ([column < until] if until else [])


def listings(filters: ListingFilter, page: PageRequest) -> Query:
    """Published listings, the best first."""
    score: ColumnElement[Any] = sa.literal_column(
        "plugyard.featured_score(rating_sum, rating_count, installations, health_score)", sa.Float
    )
    order = _Order("listings", score, _LISTINGS.c.id, float)
    where: list[Any] = [_LISTINGS.c.withdrawn_at.is_(None)]
    if filters.category is not None:
        where.append(_LISTINGS.c.category == filters.category)
    asked = word_query(filters.q or "")
    if asked is not None:
        where.append(_LISTINGS.c.words.op("@@")(sa.cast(asked, postgresql.TSQUERY)))
    return _query(_columns(_LISTINGS, _LISTING_COLUMNS), where, order, page)


def ratings(listing_id: str, page: PageRequest) -> Query:
    """A listing's ratings, the newest first."""
    table = _RATINGS.c
    order = _Order("ratings", table.updated_at, table.tenant_id, datetime)
    return _query(list(table), [table.listing_id == listing_id], order, page)


def own_ratings(page: PageRequest) -> Query:
    """The ratings that the tenant gave, the newest first."""
    table = _RATINGS.c
    order = _Order("own ratings", table.updated_at, table.listing_id, datetime)
    return _query(list(table), [table.tenant_id == _HERE], order, page)


def keys(page: PageRequest, *, of_operators: bool) -> Query:
    """The tenant's keys, or those of operators, which belong to none; the newest first."""
    table = _KEYS.c
    where = table.tenant_id.is_(None) if of_operators else table.tenant_id == _HERE
    return _query(list(table), [where], _Order("keys", table.created_at, table.id, datetime), page)


def publisher_keys(page: PageRequest) -> Query:
    """The tenant's own publisher keys, the newest first."""
    table = _PUBLISHER_KEYS.c
    order = _Order("publisher keys", table.created_at, table.id, datetime, is_id=cursors.is_digest)
    return _query(list(table), [table.tenant_id == _HERE], order, page)


def webhooks(plugin_id: str | None, page: PageRequest) -> Query:
    """A plugin's webhooks, or all of the tenant's, the newest first."""
    table = _WEBHOOKS.c
    where: list[Any] = [table.tenant_id == _HERE]
    if plugin_id is not None:
        known = uuid_or_none(plugin_id)
        where.append(table.plugin_id == known if known else sa.false())
    return _query(list(table), where, _Order("webhooks", table.created_at, table.id, datetime), page)


def audit(filters: AuditFilter, page: PageRequest, *, of_platform: bool) -> Query:
    """The tenant's trail or the platform's, the newest entry first, each with its place in the chain."""
    table, link = _AUDIT.c, _LINKS.c
    where: list[Any] = [table.tenant_id.is_(None) if of_platform else table.tenant_id == _HERE]
    named = ((table.actor, filters.actor), (table.action, filters.action), (table.target, filters.target))
    where += [column == value for column, value in named if value is not None]
    where += _between(table.at, filters.since, filters.until)
    columns = [*table, link.sequence, sa.func.encode(link.hash, "hex").label("hash")]
    joined = _AUDIT.outerjoin(_LINKS, link.entry_id == table.id)
    return _query(columns, where, _Order("audit", table.at, table.id, datetime), page, joined)


def tenants(page: PageRequest) -> Query:
    """Every tenant, the newest first; the operator's transaction alone sees more than one."""
    table = _TENANTS.c
    where = [table.state != "deleted"]
    return _query(list(table), where, _Order("tenants", table.created_at, table.id, datetime), page)


def standings(filters: StandingFilter, page: PageRequest) -> Query:
    """Versions of all tenants in one state of the quarantine, the longest waiting first."""
    table = _STANDINGS.c
    order = _Order("standings", table.since, table.version_id, datetime, descending=False)
    where: list[Any] = [table.state == filters.state.value]
    if filters.tenant_id is not None:
        known = uuid_or_none(filters.tenant_id)
        where.append(table.tenant_id == known if known else sa.false())
    if filters.name is not None:
        where.append(table.name == filters.name)
    return _query(list(table), where, order, page)


def affected(page: PageRequest) -> Query:
    """Versions in which a later check found something, the latest found first, with what they are."""
    table, version = _RESCANS.c, _VERSIONS.c
    joined = _RESCANS.join(_VERSIONS, sa.and_(version.tenant_id == table.tenant_id, version.id == table.version_id))
    named: Any = sa.literal_column("plugyard.plugin_versions.manifest #>> '{metadata,name}'").label("name")
    number: Any = sa.literal_column("plugyard.plugin_versions.manifest #>> '{metadata,version}'").label("version")
    where: list[Any] = [sa.literal_column("plugyard.version_rescans.findings <> '[]'")]
    order = _Order("affected", table.at, table.version_id, datetime)
    return _query([*table, named, number, version.digest], where, order, page, joined)
