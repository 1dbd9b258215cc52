"""How statements run inside a transaction: the base of every module that reads and writes rows.

One `Session` is one transaction of one tenant, or of the operator; `store` opens and ends it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import DictRow

from plugyard.domain.plugin import PluginVersion
from plugyard.infrastructure.postgres.errors import translated
from plugyard.infrastructure.postgres.seals import Seals

Connection = psycopg.AsyncConnection[DictRow]
Parameters = Mapping[str, Any] | Sequence[Any]


class VersionCache:
    """Versions by id. They never change, so what was read once need not be read and parsed again."""

    def __init__(self, size: int = 1024) -> None:
        self._size = size
        self._kept: dict[str, PluginVersion] = {}

    def get(self, version_id: str, tenant_id: str) -> PluginVersion | None:
        """The version, when it is kept and is this tenant's."""
        version = self._kept.get(version_id)
        return version if version is not None and version.tenant_id == tenant_id else None

    def keep(self, version: PluginVersion) -> None:
        """Keeps a version; the one kept longest makes room."""
        if len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[version.id] = version


class Session:
    """Runs statements on the connection of one transaction, with psycopg's errors translated."""

    def __init__(self, connection: Connection, tenant_id: str, versions: VersionCache, seals: Seals) -> None:
        self._connection = connection
        self._seals = seals
        self._tenant_id = tenant_id
        self._versions = versions
        self._read_versions: list[PluginVersion] = []

    def committed(self) -> None:
        """Keeps the versions that were read. Not before the commit: one that is rolled back must never be found."""
        for version in self._read_versions:
            self._versions.keep(version)

    async def _all(self, statement: str, parameters: Parameters) -> list[DictRow]:
        with translated():
            return await (await self._connection.execute(statement, parameters)).fetchall()

    async def _one(self, statement: str, parameters: Parameters) -> DictRow | None:
        with translated():
            return await (await self._connection.execute(statement, parameters)).fetchone()

    async def _run(self, statement: str, parameters: Parameters) -> int:
        """Runs a statement for its effect; answers how many rows it touched."""
        with translated():
            return (await self._connection.execute(statement, parameters)).rowcount

    async def _many(self, statement: str, parameters: Sequence[Parameters]) -> None:
        """Runs a statement once for each of the parameters without waiting for one before the next is sent."""
        if parameters:
            with translated():
                await self._connection.cursor().executemany(statement, parameters)


def uuid_or_none(text: str) -> str | None:
    """The text when it is a UUID in its usual form (RFC 9562 section 4), else `None`."""
    try:
        return text if str(uuid.UUID(text)) == text.lower() else None
    except ValueError:
        return None


def time_in(identity: str) -> datetime | None:
    """When an id of version 7 says that it was made (RFC 9562 section 5.7); `None` for another id."""
    parsed = uuid.UUID(identity)
    if parsed.version != 7:
        return None
    try:
        return datetime.fromtimestamp((parsed.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError):
        # Beyond the years that can be written.
        return None
