"""A real PostgreSQL with two plugins of two tenants in it, and two ways in: the service, and the bare role."""

import asyncio
import uuid
from dataclasses import dataclass, field
from typing import Any

import psycopg

from plugyard.domain.permissions import Permission
from plugyard.domain.permissions import Service as Word
from plugyard.infrastructure.postgres.plugin_databases import PostgresPluginDatabases, name_of
from plugyard.sandbox.services.base import Scope
from plugyard.sandbox.services.database import DatabaseLimits, DatabaseService
from plugyard.sandbox.services.database_connections import Connections

QUICK = DatabaseLimits(statement_ms=700, lock_ms=300, rows=1_000, bytes=1 << 20)


@dataclass
class Home:
    """One plugin of one tenant, with the means that it has."""

    databases: PostgresPluginDatabases
    service: DatabaseService
    connections: Connections
    tenant: str = field(default_factory=lambda: str(uuid.uuid4()))
    plugin: str = field(default_factory=lambda: str(uuid.uuid4()))
    execution: str = "execution"

    @property
    def schema(self) -> str:
        """The name of its schema and role."""
        return name_of(self.tenant, self.plugin)

    async def call(self, method: str, **arguments: Any) -> Any:
        """A call as the broker makes it."""
        deadline = asyncio.get_running_loop().time() + 10
        scope = Scope(self.tenant, self.plugin, self.execution, Permission(Word.DATABASE), deadline)
        return await self.service.call(scope, method, arguments)

    async def query(self, sql: str, *parameters: Any, **more: Any) -> Any:
        """Rows."""
        return await self.call("query", sql=sql, parameters=list(parameters), **more)

    async def bare(self, sql: str) -> list[tuple[Any, ...]]:
        """As native code would that had stolen the role's password: no list of statements, no parameters."""
        address = self.databases.address(self.tenant, self.plugin, {"statement_timeout": "2s"})
        async with await psycopg.AsyncConnection.connect(address, autocommit=True) as connection:
            cursor = await connection.execute(sql)  # type: ignore[call-overload]
            return await cursor.fetchall() if cursor.description else []


def home(keeper_url: str, limits: DatabaseLimits = QUICK, **pool: Any) -> Home:
    """A plugin that is new, with a service of its own."""
    databases = PostgresPluginDatabases(keeper_url, b"a secret of these tests")
    settings = limits.session_settings()
    connections = Connections(databases.provide, lambda t, p: databases.address(t, p, settings), **pool)
    return Home(databases, DatabaseService(connections, limits), connections)
