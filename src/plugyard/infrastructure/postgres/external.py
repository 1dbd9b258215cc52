"""A PostgreSQL that somebody else runs: looked at before anything is built on it. Made by `plugyard.bootstrap`."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict

from plugyard.infrastructure.postgres.migrations import HEAD, REVISIONS
from plugyard.infrastructure.postgres.urls import Urls

OLDEST = 160000
_ROLE = """/* what the role may do */
select current_user, rolsuper, rolbypassrls, rolcreaterole, current_setting('server_version_num')::int
from pg_roles where rolname = current_user
"""
_CURRENT = "/* revision of the schema */ select version_num from plugyard.alembic_version"


class UnfitDatabase(Exception):
    """The database cannot be used as it is; the message says what to do about it, and holds no password."""


class ExternalPostgres:
    """The databases that the settings name. Nothing is started or ended here."""

    running = True

    def __init__(self, urls: Urls) -> None:
        self._urls = urls

    async def start(self) -> Urls:
        """Looks at both databases; raises `UnfitDatabase` where the service would not be bound, or not be able."""
        await _check("database_url", self._urls.service_url, bound=True)
        await _check("plugins_database_url", self._urls.keeper_url, bound=False)
        if self._urls.owner_url is not None:
            await _check("database_owner_url", self._urls.owner_url, bound=False)
        else:
            await self._check_revision()
        service, keeper = (conninfo_to_dict(url) for url in (self._urls.service_url, self._urls.keeper_url))
        same = [name for name in ("host", "port", "dbname") if service.get(name) != keeper.get(name)]
        if not same:
            raise UnfitDatabase(
                "plugins_database_url names the service's own database: plugins' tables need a database beside it. "
                "`plugyard database prepare` makes both."
            )
        return self._urls

    async def restart(self) -> None:
        """Whoever runs it starts it again."""

    async def stop(self) -> None:
        """Whoever runs it ends it."""

    async def _check_revision(self) -> None:
        """Nobody here may migrate, so the schema has to be one that this code knows."""
        try:
            async with await _connected(self._urls.service_url) as connection:
                row = await (await connection.execute(_CURRENT)).fetchone()
        except psycopg.errors.UndefinedTable as error:
            raise UnfitDatabase("The database has no schema yet: run `plugyard migrate`.") from error
        current = str(row[0]) if row is not None else ""
        if current in REVISIONS and current != HEAD:
            raise UnfitDatabase(
                f"The schema is at revision {current} and this code needs {HEAD}: run `plugyard migrate`."
            )


async def _check(setting: str, url: str, *, bound: bool) -> None:
    try:
        async with await _connected(url) as connection:
            row = await (await connection.execute(_ROLE)).fetchone()
    except psycopg.Error as error:
        raise UnfitDatabase(f"{setting}: {str(error).strip()}") from error
    if row is None:
        raise UnfitDatabase(f"{setting}: the role is not known to the server.")
    role, superuser, bypasses, makes_roles = row[:4]
    version = int(str(row[4]))
    if version < OLDEST:
        raise UnfitDatabase(f"{setting}: PostgreSQL {version // 10000} is too old; 16 and newer serve.")
    if superuser or bypasses:
        raise UnfitDatabase(
            f"{setting}: the role {role} {'is a superuser' if superuser else 'may bypass row-level security'}, so that "
            "no rule would bind it. Name another; `plugyard database prepare` makes the three roles."
        )
    if bound and makes_roles:
        raise UnfitDatabase(f"{setting}: the role {role} may make roles, which the service must not.")


async def _connected(url: str) -> psycopg.AsyncConnection[tuple[object, ...]]:
    return await psycopg.AsyncConnection.connect(url, autocommit=True, connect_timeout=10)
