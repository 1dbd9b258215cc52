"""One PostgreSQL for all tests that need a real one, migrated as the service would do it."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import psycopg
import pytest
import pytest_asyncio

from plugyard.infrastructure.embedded.server import EmbeddedPostgres, Urls
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.store import PostgresStore
from tests.conftest import reachable_folder

SERVICE_ROLE = "plugyard_service"


@dataclass(frozen=True)
class Database:
    """The store and the recorder on a migrated database, with direct ways in for what tests look at."""

    store: PostgresStore
    recorder: PostgresRecorder
    urls: Urls

    def as_service(self) -> psycopg.Connection:
        """A plain connection as the service's role."""
        return psycopg.connect(self.urls.service_url, autocommit=True, options="-c search_path=plugyard")

    def as_owner(self) -> psycopg.Connection:
        """A plain connection as the owner of the tables, who crosses tenants."""
        options = "-c search_path=plugyard -c plugyard.operator=on"
        return psycopg.connect(self.urls.owner_url, autocommit=True, options=options)


@pytest_asyncio.fixture(scope="session")
async def postgres_urls() -> AsyncIterator[Urls]:
    """A server that lives as long as the tests."""
    folder = reachable_folder()
    server = EmbeddedPostgres(folder)
    urls = await server.start()
    yield urls
    await server.stop()
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session")
async def database(postgres_urls: Urls) -> AsyncIterator[Database]:
    """The migrated database; tests keep apart by tenants of their own."""
    await migrate(postgres_urls.owner_url, SERVICE_ROLE)
    store, recorder = PostgresStore(postgres_urls.service_url), PostgresRecorder(postgres_urls.service_url)
    await store.open()
    await recorder.open()
    yield Database(store, recorder, postgres_urls)
    await recorder.close()
    await store.close()


@pytest.fixture
def service_url(postgres_urls: Urls) -> str:
    """How the service connects."""
    return postgres_urls.service_url
