"""`application.ports.PluginDatabases` on PostgreSQL: for each plugin of a tenant a schema and a login role of its own.

They live in a database beside the service's, so that nothing of the service, and no channel or lock of it, is in reach.
The schema is the keeper's, and the role may use and create in it; so the plugin can neither drop it nor leave anything
elsewhere. Made by `plugyard.bootstrap`; the broker's database service connects by `address`.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plugyard.infrastructure.postgres.errors import translated
from plugyard.infrastructure.postgres.silence import SEEN_HERE, SEEN_THERE

_CONNECTIONS = 8
"""What the server allows one role; the service's own cap for each tenant is below it."""

_EXISTS = "select 1 from pg_roles where rolname = %s"
_HELD = """/* schemas of plugins */
select obj_description(oid, 'pg_namespace') from pg_namespace
where nspname like 'p\\_%' and pg_has_role(nspowner, 'usage')
"""
_RELATIONS = """/* what a plugin has made, parts of tables first */
select c.relkind::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind in ('r', 'p', 'f', 'v', 'm')
order by c.relispartition desc, c.relname limit %s
"""
_KINDS = {"r": "table", "p": "table", "f": "foreign table", "v": "view", "m": "materialized view"}
_DROPPED_AT_ONCE = 100
"""Relations that go in one transaction: each takes locks, of which all sessions of a server share one table."""
_SESSIONS = "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s"


def name_of(tenant_id: str, plugin_id: str) -> str:
    """The name of the schema and of the role: it tells those who may see it nothing."""
    return "p_" + hashlib.sha256(f"{tenant_id}/{plugin_id}".encode()).hexdigest()[:32]


class PostgresPluginDatabases:
    """Makes and drops plugins' schemas as the keeper. `secret` keys the roles' passwords, which are stored nowhere."""

    def __init__(self, keeper_url: str, secret: bytes) -> None:
        self._url = keeper_url
        self._secret = secret

    async def provide(self, tenant_id: str, plugin_id: str) -> None:
        """Makes the schema and the role, or what of them is missing; raises `StoreUnavailable`."""
        name = name_of(tenant_id, plugin_id)
        role = sql.Identifier(name)
        with translated():
            async with await self._connected() as connection:
                # Two executions may find the role missing at once.
                await connection.execute("select pg_advisory_xact_lock(hashtext(%s))", [name])
                known = await (await connection.execute(_EXISTS, [name])).fetchone()
                verb = sql.SQL("alter role {}" if known else "create role {} noinherit nocreaterole nocreatedb").format(
                    role
                )
                await connection.execute(
                    sql.SQL("{} login connection limit {} password {}").format(
                        verb, sql.Literal(_CONNECTIONS), self._password(name)
                    )
                )
                await connection.execute(sql.SQL("create schema if not exists {}").format(role))
                await connection.execute(sql.SQL("grant usage, create on schema {0} to {0}").format(role))
                await connection.execute(sql.SQL("comment on schema {} is {}").format(role, f"{tenant_id} {plugin_id}"))

    async def drop(self, tenant_id: str, plugin_id: str) -> None:
        """Drops everything that the plugin has; nothing there is no error. Raises `StoreUnavailable`.

        However much that is, it goes by and by, and a call that was interrupted is gone on with by the next.
        """
        name = name_of(tenant_id, plugin_id)
        role = sql.Identifier(name)
        with translated():
            async with await self._connected() as connection:
                known = await (await connection.execute(_EXISTS, [name])).fetchone()
                if known:
                    # Nobody makes more of it meanwhile, or holds what is to go.
                    await connection.execute(sql.SQL("alter role {} nologin").format(role))
                    # The role cannot be dropped while rights of others depend on it; its maker may give itself them.
                    await connection.execute(sql.SQL("grant {} to current_user with inherit true").format(role))
                    await connection.commit()
                    await connection.execute(_SESSIONS, [name])
                await self._drop_relations(connection, name)
                await connection.execute(sql.SQL("drop schema if exists {} cascade").format(role))
                if known:
                    await connection.execute(sql.SQL("drop owned by {}").format(role))
                    await connection.execute(sql.SQL("drop role {}").format(role))

    async def _drop_relations(self, connection: psycopg.AsyncConnection[tuple[object, ...]], name: str) -> None:
        """Drops what lies in a schema, in many transactions."""
        while found := await (await connection.execute(_RELATIONS, [name, _DROPPED_AT_ONCE])).fetchall():
            for kind, relation in found:
                verb = sql.SQL(f"drop {_KINDS[str(kind)]} if exists {{}} cascade")
                await connection.execute(verb.format(sql.Identifier(name, str(relation))))
            await connection.commit()

    async def held(self) -> Sequence[tuple[str, str]]:
        """Tenant and plugin of every schema there is; raises `StoreUnavailable`."""
        with translated():
            async with await self._connected() as connection:
                rows = await (await connection.execute(_HELD)).fetchall()
        found = [str(row[0]).split(" ") for row in rows if row[0]]
        return [(parts[0], parts[1]) for parts in found if len(parts) == 2]

    def address(self, tenant_id: str, plugin_id: str, settings: Mapping[str, str]) -> str:
        """Where the plugin's own role connects, with settings that hold from the first moment. It has a password."""
        name = name_of(tenant_id, plugin_id)
        given = {"search_path": name, **settings}
        return make_conninfo(
            self._url,
            user=name,
            password=self._password(name),
            connect_timeout="5",
            application_name="plugyard plugin",
            options=" ".join(f"-c {key}={value}" for key, value in given.items()) + SEEN_THERE,
            **{name: str(value) for name, value in SEEN_HERE.items()},
        )

    def _password(self, name: str) -> str:
        return hmac.new(self._secret, f"role {name}".encode(), hashlib.sha256).hexdigest()

    async def _connected(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        options = "-c statement_timeout=60s -c lock_timeout=10s" + SEEN_THERE
        return await psycopg.AsyncConnection.connect(self._url, connect_timeout=5, options=options, **SEEN_HERE)
