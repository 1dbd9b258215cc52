"""Drives Alembic without its configuration file. Called by `migrate`, and only when there is something to migrate."""

from __future__ import annotations

import logging
from pathlib import Path

import sqlalchemy
from alembic import command
from alembic.config import Config

FOLDER = Path(__file__).parent
_LOCK_KEY = 0x706C756779617264  # "plugyard" in ASCII, as PostgreSQL's advisory locks are named by numbers.


def configuration() -> Config:
    """Alembic's settings: where the scripts are."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(owner_url: str, service_role: str | None, to: str = "head") -> None:
    """Runs all missing migrations up to one, in one transaction, under a lock that makes a second service wait."""
    # Alembic tells of each step by logging; what the operator needs to know, `migrate` answers.
    logging.getLogger("alembic").setLevel(logging.WARNING)
    engine = sqlalchemy.create_engine(
        sqlalchemy.make_url(owner_url).set(drivername="postgresql+psycopg"), poolclass=sqlalchemy.NullPool
    )
    try:
        with engine.begin() as connection:
            connection.exec_driver_sql(f"select pg_advisory_xact_lock({_LOCK_KEY})")
            connection.exec_driver_sql("create schema if not exists plugyard")
            config = configuration()
            config.attributes["connection"] = connection
            config.attributes["service_role"] = service_role
            command.upgrade(config, to)
    finally:
        engine.dispose()
