"""`application.ports.Store` on PostgreSQL: a pool of connections, and transactions bound to a tenant.

Made and opened by `plugyard.bootstrap`; the use cases open one transaction each.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
import psycopg
import psycopg_pool
from psycopg.rows import DictRow, dict_row
from psycopg.types.json import Jsonb, set_json_dumps, set_json_loads
from psycopg.types.string import TextLoader
from psycopg_pool import AsyncConnectionPool

from plugyard.application.ports import MOST_NAMES, OperatorTransaction, Transaction, UsedBy
from plugyard.domain.identity import ApiKey
from plugyard.domain.webhooks import Webhook
from plugyard.infrastructure.postgres.analytics import AnalyticsRows
from plugyard.infrastructure.postgres.errors import translated
from plugyard.infrastructure.postgres.executions import ExecutionRows
from plugyard.infrastructure.postgres.marketplace import MarketplaceRows
from plugyard.infrastructure.postgres.operator import PostgresOperatorTransaction
from plugyard.infrastructure.postgres.plugins import PluginRows
from plugyard.infrastructure.postgres.publishers import PublisherRows
from plugyard.infrastructure.postgres.queued import QueuedRows
from plugyard.infrastructure.postgres.rows import Connection, VersionCache, uuid_or_none
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.silence import SEEN_HERE, SEEN_THERE
from plugyard.infrastructure.postgres.standings import StandingRows
from plugyard.infrastructure.postgres.statements import statements
from plugyard.infrastructure.postgres.trail import TrailRows, key_of
from plugyard.infrastructure.postgres.webhooks import BY_HASH, WebhookRows, webhook_of

_SQL = statements("trail")
_PLUGINS = statements("plugins")
_OPTIONS = "-c search_path=plugyard -c timezone=UTC -c statement_timeout=30s -c lock_timeout=10s" + SEEN_THERE
_LOCK = "/* alone */ select pg_try_advisory_lock(hashtextextended('plugyard ' || %s, 0)) as mine"
_UNLOCK = "/* alone no longer */ select pg_advisory_unlock(hashtextextended('plugyard ' || %s, 0))"
_AGAIN_THE_SAME = (psycopg.errors.QueryCanceled, psycopg_pool.PoolTimeout)
"""Operational errors of connections that are well: what took too long, or found them all in use, would do so again."""
_DROP_TRIES, _DROP_PAUSE_S = 5, 1.0
_NOWHERE = ""
"""The tenant of a transaction for an id that is none: no row is its."""


class PostgresTransaction(
    PluginRows,
    ExecutionRows,
    AnalyticsRows,
    QueuedRows,
    MarketplaceRows,
    TrailRows,
    StandingRows,
    PublisherRows,
    WebhookRows,
):
    """`application.ports.Transaction` on PostgreSQL: its methods stand in the modules of its parts."""


@dataclass(frozen=True)
class CleanUp:
    """What a clean-up removed: days of executions and of logs, idempotency keys, relayed events."""

    execution_days: int
    log_days: int
    keys: int
    events: int


class PostgresStore:
    """The store of one service. `open` it before use and `close` it at the end."""

    def __init__(self, service_url: str, seals: Seals, *, connections: int = 20, replica: str = "") -> None:
        self._seals = seals
        self._versions = VersionCache()
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            service_url,
            connection_class=psycopg.AsyncConnection[DictRow],
            # Transactions are begun by hand, together with the setting that binds them to a tenant.
            kwargs={
                "autocommit": True,
                "row_factory": dict_row,
                "options": _options(replica),
                **SEEN_HERE,
            },
            configure=_configure,
            min_size=2,
            max_size=connections,
            timeout=5.0,
            open=False,
        )
        self._warming: asyncio.Task[object] | None = None

    async def open(self, within_s: float = 10.0) -> None:
        """Connects; raises `StoreUnavailable` when the database does not answer within so many seconds."""
        with translated():
            await self._pool.open(wait=True, timeout=within_s)
        # SQLAlchemy takes half a second to load, which the first list should not have to wait for.
        self._warming = asyncio.create_task(asyncio.to_thread(importlib.import_module, f"{__package__}.lists"))

    async def close(self) -> None:
        """Closes every connection; transactions under way have 5 s to end."""
        if self._warming is not None:
            await self._warming
        await self._pool.close(timeout=5.0)

    def for_tenant(self, tenant_id: str) -> AbstractAsyncContextManager[Transaction]:
        """One transaction that sees this tenant's rows alone; committed when its block ends without an error."""
        return self._for_tenant(tenant_id)

    def for_operator(self) -> AbstractAsyncContextManager[OperatorTransaction]:
        """One transaction that sees every tenant's rows."""
        return self._for_operator()

    @asynccontextmanager
    async def _for_tenant(self, tenant_id: str) -> AsyncIterator[PostgresTransaction]:
        tenant = uuid_or_none(tenant_id) or _NOWHERE
        # The value is a UUID or empty, so it can stand in the statement, which spares a round trip.
        async with self._transaction(f"begin; set local plugyard.tenant_id = '{tenant}'") as connection:
            transaction = PostgresTransaction(connection, tenant_id, self._versions, self._seals)
            yield transaction
        transaction.committed()

    @asynccontextmanager
    async def _for_operator(self) -> AsyncIterator[PostgresOperatorTransaction]:
        async with self._transaction("begin; set local plugyard.operator = 'on'") as connection:
            yield PostgresOperatorTransaction(connection, _NOWHERE, self._versions, self._seals)

    @asynccontextmanager
    async def _transaction(self, begin: str) -> AsyncIterator[Connection]:
        connection = await self._begun(begin)
        try:
            try:
                yield connection
            except BaseException:
                # The error of the block is what the caller has to see, not that of the rollback; the pool discards a
                # connection that is not idle when it comes back.
                with contextlib.suppress(psycopg.Error):
                    await connection.rollback()
                raise
            with translated():
                await connection.execute("commit", prepare=False)
        finally:
            await self._pool.putconn(connection)

    async def _begun(self, begin: str) -> Connection:
        """A connection with an open transaction. One that the server has closed meanwhile is replaced."""
        with translated():
            connection = await self._pool.getconn()
            try:
                await connection.execute(begin, prepare=False)
            except psycopg.OperationalError:
                await self._pool.putconn(connection)
                # After a restart of the server every idle connection is dead.
                await self._pool.check()
                connection = await self._pool.getconn()
                await self._begin_or_return(connection, begin)
            except BaseException:
                await self._pool.putconn(connection)
                raise
        return connection

    async def _begin_or_return(self, connection: Connection, begin: str) -> None:
        try:
            await connection.execute(begin, prepare=False)
        except BaseException:
            await self._pool.putconn(connection)
            raise

    async def key_by_hash(self, secret_hash: bytes) -> ApiKey | None:
        """The key whose secret has this hash, of whichever tenant."""
        row = await self._statement(_SQL["key by hash"], {"secret_hash": secret_hash})
        return key_of(row) if row else None

    async def webhook_by_hash(self, token_hash: bytes) -> Webhook | None:
        """The webhook whose address has this hash, of whichever tenant."""
        row = await self._statement(BY_HASH, {"token_hash": token_hash})
        return webhook_of(row, self._seals) if row else None

    async def touch_keys(self, used: Mapping[str, datetime]) -> None:
        """Notes when keys were last used; a later moment that is noted already stays."""
        if used:
            await self._statement(_SQL["touch keys"], {"ids": list(used), "moments": list(used.values())})

    async def touch_rights(self, used: Mapping[UsedBy, datetime]) -> None:
        """Notes when rights were last used; a later moment that is noted already stays."""
        if used:
            uses = [
                {
                    "tenant_id": one.tenant_id,
                    "plugin_id": one.plugin_id,
                    "service": one.right.service.value,
                    "name": one.right.name,
                    "at": at.isoformat(),
                }
                for one, at in used.items()
            ]
            await self._statement(_PLUGINS["touch rights"], {"uses": Jsonb(uses), "at_most": MOST_NAMES})

    @asynccontextmanager
    async def alone(self, work: str) -> AsyncIterator[bool]:
        """Whether this replica may do a work that one replica does at a time; it may until the block ends.

        A replica that dies in the middle leaves the work to the next that asks. Raises `StoreUnavailable`.
        """
        with translated():
            connection = await self._pool.getconn()
        try:
            with translated():
                row = await (await connection.execute(_LOCK, [work], prepare=False)).fetchone()
            mine = bool(row and row["mine"])
            try:
                yield mine
            finally:
                if mine:
                    with contextlib.suppress(psycopg.Error):
                        await connection.execute(_UNLOCK, [work], prepare=False)
        finally:
            await self._pool.putconn(connection)

    async def ping(self) -> None:
        """Asks the database for a sign of life; raises `StoreUnavailable` without one."""
        await self._statement(_SQL["ping"], {})

    async def ensure_partitions(self, days_ahead: int = 7) -> None:
        """Makes the partitions of the days to come; call it at each start and once a day."""
        await self._statement(_SQL["ensure partitions"], {"days_ahead": days_ahead})

    async def fold_executions(self, at_most: int = 20_000) -> int:
        """Counts the executions that no rollup counts yet, so many in a transaction; answers how many.

        0 as well where another replica is at it.
        """
        folded = 0
        while True:
            row = await self._statement(_SQL["fold executions"], {"at_most": at_most})
            counted = int(row["folded"]) if row else 0
            folded += counted
            if counted < at_most:
                return folded

    async def clean_up(self, executions_kept: timedelta, logs_kept: timedelta, at_most: int = 20_000) -> CleanUp:
        """Drops the days that are older than their retention, and what else has served its time.

        So many rows in a transaction and one day in another, so that nobody waits for more than a piece of it and what
        is done stays done. A day that others are reading all the time is left to the next clean-up.
        """
        keys = events = 0
        parameters = {"executions_kept": executions_kept, "logs_kept": logs_kept, "at_most": at_most}
        more = True
        while more:
            row = await self._statement(_SQL["clear old"], parameters) or {"keys": 0, "events": 0, "more": False}
            keys, events, more = keys + row["keys"], events + row["events"], row["more"]
        execution_days = await self._drop_days("plugin_executions", executions_kept)
        return CleanUp(execution_days, await self._drop_days("plugin_logs", logs_kept), keys, events)

    async def _drop_days(self, parent: str, kept: timedelta) -> int:
        dropped, tries = 0, _DROP_TRIES
        while tries:
            row = await self._statement(_SQL["drop an old day"], {"parent": parent, "kept": kept})
            if row is None or row["dropped"] is False:
                break
            if row["dropped"]:
                dropped += 1
            else:
                tries -= 1
                await asyncio.sleep(_DROP_PAUSE_S)
        return dropped

    async def forget_events(self, before: datetime, at_most: int = 20_000) -> int:
        """Drops events from before then that no relay will carry on; how many. For a service without a relay.

        What a plugin published and its subscribers have not had is kept for a week longer.
        """
        forgotten = 0
        while True:
            row = await self._statement(_SQL["forget events"], {"before": before, "at_most": at_most})
            gone = int(row["gone"]) if row else 0
            forgotten += gone
            if gone < at_most:
                return forgotten

    async def _statement(self, statement: str, parameters: Mapping[str, Any]) -> DictRow | None:
        """Runs one statement in a transaction of its own, without a tenant; all that come here may be run twice."""
        with translated():
            try:
                return await self._attempt(statement, parameters)
            except _AGAIN_THE_SAME:
                raise
            except psycopg.OperationalError:
                await self._pool.check()
                return await self._attempt(statement, parameters)

    async def _attempt(self, statement: str, parameters: Mapping[str, Any]) -> DictRow | None:
        connection = await self._pool.getconn()
        try:
            return await (await connection.execute(statement, parameters)).fetchone()
        finally:
            await self._pool.putconn(connection)


def _options(replica: str) -> str:
    # What changes over these connections is this replica's own; the trigger of migration 0009 says so to the others.
    return f"{_OPTIONS} -c plugyard.replica={replica}" if replica else _OPTIONS


async def _configure(connection: Connection) -> None:
    """Ids are text everywhere in the product, and JSON is read and written the quick way."""
    connection.adapters.register_loader("uuid", TextLoader)
    set_json_loads(msgspec.json.decode, connection)
    set_json_dumps(_dumps, connection)


def _dumps(value: object) -> bytes:
    return msgspec.json.encode(value)
