"""A host that is gone without a word holds no lock for long: both ends of a session look for each other."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from plugyard.infrastructure.postgres.changes import ChangeFeed
from plugyard.infrastructure.postgres.outbox import Outbox
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.silence import SEEN_HERE
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.queue.worker import pool_of
from tests.integration.conftest import Database

SETTINGS = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")


async def _changes(url: str) -> None:
    async def nothing(_: object) -> None: ...

    feed = ChangeFeed(url, "silent", nothing, lambda: None)
    running = asyncio.create_task(feed.run())
    await asyncio.wait_for(feed.listening.wait(), 10)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def _store(url: str) -> None:
    store = PostgresStore(url, Seals(("1:" + "A" * 43 + "=",)), replica="silent")
    await store.open()
    await store.close()


async def _recorder(url: str) -> None:
    recorder = PostgresRecorder(url)
    await recorder.open()
    await recorder.close()


async def _relay(url: str) -> None:
    await (await Outbox.open(url)).close()


async def _worker(url: str) -> None:
    pool = pool_of(url)
    await pool.open(wait=True)
    await pool.close()


@pytest.mark.parametrize("opens", [_changes, _store, _recorder, _relay, _worker])
async def test_both_ends_of_a_session_see_within_seconds_that_the_other_is_gone(
    database: Database, monkeypatch: pytest.MonkeyPatch, opens: Any
) -> None:
    seen: list[tuple[dict[str, str], str]] = []
    connect = psycopg.AsyncConnection.connect.__func__  # type: ignore[attr-defined]

    async def watched(cls: Any, conninfo: str = "", **given: Any) -> Any:
        connection = await connect(cls, conninfo, **given)
        there = []
        for name in SETTINGS:
            row = await (await connection.execute(f"select current_setting('{name}') as found")).fetchone()
            there.append(row["found"] if isinstance(row, dict) else row[0])
        if not connection.autocommit:
            await connection.rollback()
        seen.append((connection.info.get_parameters(), " ".join(there)))
        return connection

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", classmethod(watched))
    await opens(database.urls.service_url)
    assert seen
    for here, there in seen:
        assert {name: here[name] for name in SEEN_HERE} == {name: str(value) for name, value in SEEN_HERE.items()}
        assert there == "2 1 3 5000"
