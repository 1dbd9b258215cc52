"""The statement that is run again and again: what becomes of it, and of its neighbours, when its connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import threading

import psycopg
import pytest
import uvloop

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


def test_a_connection_that_is_reset_behind_the_servers_last_words_is_lost_at_once() -> None:
    # uvloop, as in the service: it tells once that a socket is broken, and then there is more than one thing to read.
    uvloop.run(_reset_behind_last_words())


async def _reset_behind_last_words() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    told, spoken = threading.Event(), threading.Event()
    server = threading.Thread(target=_says_farewell, args=(listener, told, spoken))
    server.start()
    try:
        port = listener.getsockname()[1]
        statement = await RepeatedStatement.open(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable", SLEEP, "")
        running = asyncio.ensure_future(statement.run(b"60"))
        await asyncio.sleep(0)
        told.set()
        spoken.wait(10)  # The loop stands still, as that of a service that has much to do.
        with pytest.raises(psycopg.errors.AdminShutdown):
            await asyncio.wait_for(running, 5)
        assert not statement.usable
        await statement.close()
    finally:
        told.set()
        server.join(10)
        listener.close()


def _says_farewell(listener: socket.socket, told: threading.Event, spoken: threading.Event) -> None:
    """As a server that ends in the middle of a statement: it says why, and its kernel resets what it did not read."""
    ready = _message(b"Z", b"I")
    with contextlib.closing(listener.accept()[0]) as connection:
        connection.recv(65_536)  # The start.
        connection.sendall(_message(b"R", (0).to_bytes(4, "big")) + ready)
        connection.recv(65_536)  # What is to be prepared.
        connection.sendall(_message(b"C", b"PREPARE\0") + ready)
        told.wait(10)
        why = b"SFATAL\0VFATAL\0C57P01\0Mterminating connection due to unexpected postmaster exit\0\0"
        connection.sendall(_message(b"E", why))
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    spoken.set()


def _message(kind: bytes, body: bytes) -> bytes:
    """A message of PostgreSQL's protocol, version 3."""
    return kind + (len(body) + 4).to_bytes(4, "big") + body
