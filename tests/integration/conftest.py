"""One PostgreSQL for all tests that need a real one, migrated as the service would do it."""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict

from plugyard.infrastructure.embedded.server import EmbeddedPostgres
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.postgres.urls import Urls
from tests.conftest import reachable_folder

SECRET_KEYS = ("2026-11:" + "A" * 43 + "=", "2025-11:" + "B" * 42 + "A=")
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


@pytest.fixture(scope="session")
def postgres_data() -> Iterator[Path]:
    """The data folder of the server below."""
    folder = reachable_folder()
    yield folder
    shutil.rmtree(folder)


@pytest_asyncio.fixture(scope="session")
async def postgres_urls(postgres_data: Path) -> AsyncIterator[Urls]:
    """A server that lives as long as the tests."""
    server = EmbeddedPostgres(postgres_data)
    urls = await server.start()
    yield urls
    await server.stop()


@pytest.fixture(scope="session")
def superuser_url(postgres_data: Path, postgres_urls: Urls) -> str:
    """The way in that the service does not have, for tests that need databases of their own."""
    password = json.loads((postgres_data / "postgres.secrets").read_text())["superuser"]
    port = conninfo_to_dict(postgres_urls.owner_url)["port"]
    return f"postgresql://plugyard_superuser:{password}@127.0.0.1:{port}/postgres"


@pytest_asyncio.fixture(scope="session")
async def database(postgres_urls: Urls) -> AsyncIterator[Database]:
    """The migrated database; tests keep apart by tenants of their own."""
    await migrate(postgres_urls.owner_url, SERVICE_ROLE)
    store, recorder = (
        PostgresStore(postgres_urls.service_url, Seals(SECRET_KEYS)),
        PostgresRecorder(postgres_urls.service_url),
    )
    await store.open()
    await recorder.open()
    yield Database(store, recorder, postgres_urls)
    await recorder.close()
    await store.close()
