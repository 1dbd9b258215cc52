"""Makes the two roles and the database of a new cluster. Called by `server` on the first start.

The service connects as a role that row-level security binds: it owns nothing, is no superuser and may not look past the
policies. The owner's role runs migrations and nothing else.
"""

from __future__ import annotations

import psycopg
from psycopg import sql

from plugyard.infrastructure.embedded.credentials import Credentials

SUPERUSER = "plugyard_superuser"
OWNER = "plugyard_owner"
SERVICE = "plugyard_service"
DATABASE = "plugyard"

_ROLE_EXISTS = "select 1 from pg_roles where rolname = %s"
_DATABASE_EXISTS = "select 1 from pg_database where datname = %s"
_ATTRIBUTES = "login nosuperuser nobypassrls nocreatedb nocreaterole noreplication"


async def prepare_database(superuser_url: str, credentials: Credentials) -> None:
    """Makes what is missing, so that a first start that was interrupted here is completed by the next."""
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
        for role, password in ((OWNER, credentials.owner), (SERVICE, credentials.service)):
            known = await (await connection.execute(_ROLE_EXISTS, [role])).fetchone()
            # A role statement takes no parameters, hence the quoted literal.
            await connection.execute(
                sql.SQL("{} role {} with {} password {}").format(
                    sql.SQL("alter" if known else "create"), sql.Identifier(role), sql.SQL(_ATTRIBUTES), password
                )
            )
        if not await (await connection.execute(_DATABASE_EXISTS, [DATABASE])).fetchone():
            await connection.execute(
                sql.SQL("create database {} owner {}").format(sql.Identifier(DATABASE), sql.Identifier(OWNER))
            )
        for database in (DATABASE, "postgres", "template1"):
            await connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))
        await connection.execute(
            sql.SQL("grant connect on database {} to {}").format(sql.Identifier(DATABASE), sql.Identifier(SERVICE))
        )
