"""The migration that counts executions counts those that were there, and goes back and forth."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from plugyard.domain.analytics import Grain, Window
from plugyard.domain.execution import ExecutionStatus
from plugyard.infrastructure.postgres.migrations.run import upgrade
from plugyard.infrastructure.postgres.migrations.scripts import earlier_function
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.postgres.urls import Urls
from tests.contract.given import a_log_line, a_stored_plugin, a_tenant, an_execution
from tests.integration.conftest import SECRET_KEYS, SERVICE_ROLE
from tests.integration.postgres.test_consent_migration import downgraded


@pytest.fixture
def older(postgres_urls: Urls, superuser_url: str) -> Iterator[Urls]:
    """The addresses of a database of its own."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("create database counting owner plugyard_owner")
        connection.execute("grant connect on database counting to plugyard_service")
    owner, service = (
        url.rpartition("/")[0] + "/counting" for url in (postgres_urls.owner_url, postgres_urls.service_url)
    )
    yield Urls(owner, service, postgres_urls.keeper_url)
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        connection.execute("drop database counting with (force)")


async def test_what_was_recorded_before_is_counted_and_older_code_records_too(older: Urls) -> None:
    upgrade(older.owner_url, SERVICE_ROLE)
    store, recorder = PostgresStore(older.service_url, Seals(SECRET_KEYS)), PostgresRecorder(older.service_url)
    await store.open()
    await recorder.open()
    now = datetime.now(UTC)
    hour = now.replace(minute=0, second=0, microsecond=0)
    window = Window(hour, hour + timedelta(hours=1), Grain.HOUR)
    try:
        plugin = await a_stored_plugin(store, (await a_tenant(store)).id)
        execution = an_execution(plugin, started_at=now)
        await recorder.record(execution, [a_log_line(execution)], [], [])
        # The older schema's function takes what this code sends and what older code did.
        downgraded(older.owner_url, "0012")
        await recorder.record(an_execution(plugin, started_at=now), [], [], [])
        upgrade(older.owner_url, SERVICE_ROLE)
        await recorder.record(an_execution(plugin, started_at=now), [], [], [])
        async with store.for_tenant(plugin.tenant_id) as tx:
            assert (await tx.analytics(window, 1)).by_status == {ExecutionStatus.SUCCEEDED: 3}
        assert await store.fold_executions() == 1
        async with store.for_tenant(plugin.tenant_id) as tx:
            found = await tx.analytics(window, 1)
        assert found.by_status == {ExecutionStatus.SUCCEEDED: 3}
        assert [one.executions for one in found.plugins] == [3]
    finally:
        await recorder.close()
        await store.close()


def test_a_function_that_an_earlier_script_did_not_make_cannot_be_put_back() -> None:
    with pytest.raises(ValueError, match="makes no function"):
        earlier_function("0001", "2_executions.sql", "fold_executions")
