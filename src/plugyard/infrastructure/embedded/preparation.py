"""Makes the roles and the two databases of a new cluster. Called by `server` on the first start.

The service connects as a role that row-level security binds: it owns nothing, is no superuser and may not look past the
policies. The owner's role runs migrations and nothing else. Plugins' tables live in a database of their own, which the
keeper owns and `lockdown.sql` strips of what plugins could use to look at, or hinder, each other.
"""

from __future__ import annotations

from importlib.resources import files

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from plugyard.infrastructure.embedded.credentials import Credentials
from plugyard.infrastructure.embedded.roles import DATABASE, KEEPER, OWNER, PLUGINS_DATABASE, SERVICE

_ROLE_EXISTS = "select 1 from pg_roles where rolname = %s"
_DATABASE_EXISTS = "select 1 from pg_database where datname = %s"
_ATTRIBUTES = "login nosuperuser nobypassrls nocreatedb nocreaterole noreplication"
# The keeper makes a login role for each plugin; since PostgreSQL 16 this right reaches no role that it did not make.
_KEEPER_ATTRIBUTES = "login nosuperuser nobypassrls nocreatedb createrole noreplication"


async def prepare_database(superuser_url: str, credentials: Credentials) -> None:
    """Makes what is missing, so that a first start that was interrupted here is completed by the next."""
    roles = (
        (OWNER, credentials.owner, _ATTRIBUTES),
        (SERVICE, credentials.service, _ATTRIBUTES),
        (KEEPER, credentials.keeper, _KEEPER_ATTRIBUTES),
    )
    async with await psycopg.AsyncConnection.connect(superuser_url, autocommit=True) as connection:
        for role, password, attributes in roles:
            known = await (await connection.execute(_ROLE_EXISTS, [role])).fetchone()
            # A role statement takes no parameters, hence the quoted literal.
            await connection.execute(
                sql.SQL("{} role {} with {} password {}").format(
                    sql.SQL("alter" if known else "create"), sql.Identifier(role), sql.SQL(attributes), password
                )
            )
        for database, owner in ((DATABASE, OWNER), (PLUGINS_DATABASE, KEEPER)):
            if not await (await connection.execute(_DATABASE_EXISTS, [database])).fetchone():
                await connection.execute(
                    sql.SQL("create database {} owner {}").format(sql.Identifier(database), sql.Identifier(owner))
                )
        for database in (DATABASE, PLUGINS_DATABASE, "postgres", "template1"):
            await connection.execute(sql.SQL("revoke all on database {} from public").format(sql.Identifier(database)))
        await connection.execute(
            sql.SQL("grant connect on database {} to {}").format(sql.Identifier(DATABASE), sql.Identifier(SERVICE))
        )
        # A grant for each plugin would make one row of the catalog ever longer; there is nothing here but what a role
        # owns or was given.
        await connection.execute(
            sql.SQL("grant connect on database {} to public").format(sql.Identifier(PLUGINS_DATABASE))
        )
    plugins_url = make_conninfo(superuser_url, dbname=PLUGINS_DATABASE)
    async with await psycopg.AsyncConnection.connect(plugins_url) as connection:
        text = (files(__package__) / "lockdown.sql").read_text(encoding="utf-8")
        await connection.execute(sql.SQL(text.replace(":keeper", KEEPER)))
