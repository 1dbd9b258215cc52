"""The statement that is run again and again: what becomes of it, and of its neighbours, when its connection is lost."""

from __future__ import annotations

import asyncio
import os
import socket

import psycopg
import pytest

from plugyard.infrastructure.postgres.repeated import RepeatedStatement
from tests.integration.conftest import Database

SLEEP = "select pg_sleep($1::text::float8)"


async def _lost(database: Database, statement: RepeatedStatement, pid: int) -> None:
    """The server ends the connection, and the loop has heard of it."""
    with database.as_service() as same_role:
        same_role.execute("select pg_terminate_backend(%s)", [pid])
    for _ in range(500):
        if not statement.usable:
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody heard that the connection ended")


async def test_a_lost_connection_leaves_the_next_holder_of_its_descriptor_alone(database: Database) -> None:
    statement = await RepeatedStatement.open(database.urls.service_url, SLEEP, "")
    await statement.run(b"0")
    descriptor = statement.descriptor
    await _lost(database, statement, statement.backend)
    with pytest.raises(psycopg.OperationalError, match="lost"):
        await statement.run(b"0")
    # Whoever opens something next gets the number that is free by now.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        if ours.fileno() != descriptor:
            os.dup2(ours.fileno(), descriptor)
        heard = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(descriptor, heard.set)
        try:
            await statement.close()
            theirs.send(b"hello")
            await asyncio.wait_for(heard.wait(), 5)
        finally:
            loop.remove_reader(descriptor)
            if ours.fileno() != descriptor:
                os.close(descriptor)


async def test_a_connection_that_ends_during_a_run_says_so(database: Database) -> None:
    statement = await RepeatedStatement.open(database.urls.service_url, SLEEP, "")
    running = asyncio.ensure_future(statement.run(b"60"))
    await asyncio.sleep(0.2)
    await _lost(database, statement, statement.backend)
    with pytest.raises(psycopg.OperationalError):
        await running
    await statement.close()
    await statement.close()


async def test_a_server_that_does_not_answer_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugyard.infrastructure.postgres.repeated._LONGEST_S", 0.3)
    statement = await RepeatedStatement.open(database.urls.service_url, SLEEP, "")
    with pytest.raises(psycopg.OperationalError, match="does not answer"):
        await statement.run(b"60")
    with pytest.raises(psycopg.OperationalError, match="lost"):
        await statement.run(b"0")
    await statement.close()
