"""Brings the schema to the version of this code. Called by `plugyard.bootstrap` and `plugyard migrate` at each start.

The scripts are Alembic's. Each says in its docstring whether it runs before the code that needs it is deployed, as
additions do, or after the code that needed the old form is gone, as removals do.
"""

from __future__ import annotations

import asyncio
from typing import LiteralString

import psycopg

from plugyard.infrastructure.postgres.errors import translated

HEAD = "0016"
"""The newest revision, kept here so that a start with nothing to do need not load Alembic; a test compares."""

REVISIONS = frozenset(f"{number:04}" for number in range(1, 17))
"""Every revision that this code knows. A database at another one was migrated by newer code, which keeps what running
older code needs."""

AFTER: tuple[tuple[LiteralString, LiteralString, LiteralString], ...] = ()
"""What the phase after does: a name, a question whether it is still to do, and the statement. Nothing at present."""

_CURRENT = "/* revision of the schema */ select version_num from plugyard.alembic_version"


async def migrate(owner_url: str, service_role: str | None = None) -> bool:
    """Migrates the database as the owner of its tables; answers whether there was anything to do.

    `service_role` is the role that the service connects as; without one, the owner serves. Services that start at once
    wait for each other and do it once. Raises `StoreUnavailable` when the database cannot be reached.
    """
    with translated():
        current = await _current(owner_url)
        if current is not None and (current == HEAD or current not in REVISIONS):
            return False
        await asyncio.to_thread(_upgrade, owner_url, service_role)
    return True


async def clean_up_after(owner_url: str) -> list[str]:
    """Takes away what only older code needed, once no replica of it runs; answers what went. Repeating it is harmless.

    These steps are no revisions: a schema that has them and one that has not serve the same code.
    """
    gone = []
    with translated():
        async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True, connect_timeout=10) as connection:
            for name, there, statement in AFTER:
                if await (await connection.execute(there)).fetchone():
                    await connection.execute(statement)
                    gone.append(name)
    return gone


async def revision_of(owner_url: str) -> str | None:
    """The revision that the database is at; none where nothing was ever migrated."""
    with translated():
        return await _current(owner_url)


async def _current(owner_url: str) -> str | None:
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True, connect_timeout=10) as connection:
        try:
            row = await (await connection.execute(_CURRENT)).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return None
    return None if row is None else str(row[0])


def _upgrade(owner_url: str, service_role: str | None) -> None:
    """Runs Alembic. Imported here, because it takes half a second that later starts do not have to spend."""
    from plugyard.infrastructure.postgres.migrations.run import upgrade

    upgrade(owner_url, service_role)
