"""The migration of consent keeps what was there, and its downgrade takes away what it brought."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import sqlalchemy
from alembic import command

from plugyard.infrastructure.postgres.migrations.run import configuration, upgrade
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.postgres.urls import Urls
from tests.contract.given import a_manifest, a_stored_listing, a_stored_plugin, a_tenant
from tests.integration.conftest import SECRET_KEYS, SERVICE_ROLE


@pytest.fixture
def older(postgres_urls: Urls, superuser_url: str) -> Iterator[Urls]:
    """The addresses of a database of its own."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database consenting owner plugyard_owner")
        connection.execute("grant connect on database consenting to plugyard_service")
    owner, service = (
        url.rpartition("/")[0] + "/consenting" for url in (postgres_urls.owner_url, postgres_urls.service_url)
    )
    yield Urls(owner, service, postgres_urls.keeper_url)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("drop database consenting with (force)")


def downgraded(url: str, to: str) -> None:
    engine = sqlalchemy.create_engine(
        sqlalchemy.make_url(url).set(drivername="postgresql+psycopg"), poolclass=sqlalchemy.NullPool
    )
    with engine.begin() as connection:
        config = configuration()
        config.attributes["connection"] = connection
        config.attributes["service_role"] = SERVICE_ROLE
        command.downgrade(config, to)
    engine.dispose()


async def test_the_migration_goes_back_and_forth_and_listings_keep_their_place_in_the_order(older: Urls) -> None:
    upgrade(older.owner_url, SERVICE_ROLE)
    store = PostgresStore(older.service_url, Seals(SECRET_KEYS), connections=2)
    await store.open()
    try:
        listing = await a_stored_listing(store, manifest=a_manifest("listed", version="1.10.0"))
        plugin = await a_stored_plugin(store, (await a_tenant(store)).id)
    finally:
        await store.close()
    with psycopg.connect(older.owner_url, options="-c plugyard.operator=on") as owner:
        before = owner.execute("select precedence from plugyard.marketplace_listings").fetchall()
    assert before != [("",)]
    downgraded(older.owner_url, "0006")
    with psycopg.connect(older.owner_url, options="-c plugyard.operator=on") as owner:
        columns = owner.execute(
            "select column_name from information_schema.columns where table_schema = 'plugyard' "
            "and (table_name, column_name) in (('plugins', 'waiting'), ('plugins', 'grant_times'), "
            "('marketplace_listings', 'precedence'), ('used_rights', 'name'))"
        ).fetchall()
        assert columns == []
        assert owner.execute("select to_regproc('plugyard.touch_rights')").fetchone() == (None,)
    upgrade(older.owner_url, SERVICE_ROLE)
    with psycopg.connect(older.owner_url, options="-c plugyard.operator=on") as owner:
        assert owner.execute("select precedence from plugyard.marketplace_listings").fetchall() == before
        rows = owner.execute("select id, waiting, grant_times from plugyard.plugins").fetchall()
    assert {str(identity): (waiting, times) for identity, waiting, times in rows} == {
        plugin.id: (None, {}),
        listing.plugin_id: (None, {}),
    }
