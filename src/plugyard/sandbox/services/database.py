"""The service ``database``: SQL on the plugin's own schema, as the plugin's own role.

PostgreSQL decides what a statement may reach. Kept here: one statement a call, parameters always bound, time, rows and
bytes, and that nothing of an execution is open when the next begins. ``bootstrap`` makes it.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import pq

from plugyard.sandbox.services.base import Denied, Scope, ServiceFault
from plugyard.sandbox.services.database_connections import Connections, Session, TooLarge
from plugyard.sandbox.services.database_statements import ALLOWED, refused
from plugyard.sandbox.services.database_values import Convert, converter, encoded, parameters

MAX_SQL_CHARACTERS = 256 * 1024
MAX_STATEMENTS = 100
MAX_BLOCKS = 2
_WAITS_S = 10.0
# The server's own timeout speaks first, because it leaves the session usable.
_GRACE_S = 0.5
_MAX_MESSAGE = 2_000

_CODES = {
    "23505": "unique_violation",
    "23503": "foreign_key_violation",
    "23502": "not_null_violation",
    "23514": "check_violation",
    "40001": "serialization_failure",
    "40P01": "deadlock_detected",
    "55P03": "lock_timeout",
    "57014": "statement_timeout",
}
_INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """What one statement may take: milliseconds, rows, bytes as they arrive."""

    statement_ms: int = 10_000
    lock_ms: int = 5_000
    rows: int = 10_000
    bytes: int = 4 * 1024 * 1024

    def session_settings(self) -> dict[str, str]:
        """The settings of every session. Options of the connection win over what a role sets for itself."""
        return {
            "statement_timeout": f"{self.statement_ms}ms",
            "lock_timeout": f"{self.lock_ms}ms",
            "idle_in_transaction_session_timeout": f"{2 * self.statement_ms}ms",
            "client_encoding": "UTF8",
            "timezone": "UTC",
            "datestyle": "ISO",
            "intervalstyle": "iso_8601",
            "bytea_output": "hex",
            "max_parallel_workers_per_gather": "0",
            "work_mem": "4MB",
        }


@dataclass(slots=True)
class _Result:
    """Rows, and how many the statement touched."""

    rows: list[dict[str, Any]]
    count: int


@dataclass(eq=False, slots=True)
class _Block:
    """An open transaction of an execution, on the one session that it has to itself."""

    session: Session
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class DatabaseService:
    """See ``services.base.Service``."""

    methods = frozenset({"query", "execute", "transaction", "begin", "commit", "rollback"})

    def __init__(self, connections: Connections, limits: DatabaseLimits | None = None) -> None:
        self._connections = connections
        self._limits = limits or DatabaseLimits()
        self._blocks: dict[str, dict[str, _Block]] = {}

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Run statements. Raises ``ServiceFault``."""
        if method in ("query", "execute"):
            result = await self._run(scope, arguments)
            return result.rows if method == "query" else result.count
        if method == "transaction":
            return await self._all_or_nothing(scope, arguments)
        if method == "begin":
            return {"transaction": await self._begin(scope)}
        await self._end(scope, arguments, method)
        return None

    async def ended(self, execution_id: str) -> None:
        """Roll back what the execution left open."""
        for block in self._blocks.pop(execution_id, {}).values():
            # A session that is in a transaction is closed, which rolls it back.
            block.session.doubtful = True
            self._connections.give_back(block.session)

    async def close(self) -> None:
        """Close every connection."""
        for execution_id in list(self._blocks):
            await self.ended(execution_id)
        await self._connections.close()

    async def _run(self, scope: Scope, arguments: dict[str, Any]) -> _Result:
        statement = _statement(arguments)
        if arguments.get("transaction") is None:
            async with self._borrowed(scope) as session:
                return await self._execute(scope, session, *statement)
        block = self._block(scope, arguments)
        # Calls of one block may come side by side; a connection does one thing at a time.
        async with block.turn:
            if not block.session.in_transaction:
                raise _no_transaction()
            return await self._execute(scope, block.session, *statement)

    async def _all_or_nothing(self, scope: Scope, arguments: dict[str, Any]) -> list[list[dict[str, Any]]]:
        given = arguments.get("statements")
        if not isinstance(given, list) or len(given) > MAX_STATEMENTS:
            raise ServiceFault("invalid_arguments", f"statements must be a list of at most {MAX_STATEMENTS}")
        statements = [_statement(one) for one in given]
        async with self._borrowed(scope) as session:
            await self._execute(scope, session, b"begin", [])
            try:
                results = [(await self._execute(scope, session, *statement)).rows for statement in statements]
            except ServiceFault:
                # A session that answered can be cleaned for the next call; any other is closed when it is given back.
                if not session.doubtful:
                    await self._execute(scope, session, b"rollback", [])
                raise
            await self._execute(scope, session, b"commit", [])
        return results

    async def _begin(self, scope: Scope) -> str:
        blocks = self._blocks.setdefault(scope.execution_id, {})
        if len(blocks) >= MAX_BLOCKS:
            raise ServiceFault(
                "too_many_transactions", f"an execution may have {MAX_BLOCKS} transactions open at a time"
            )
        name = secrets.token_hex(8)
        session = await self._connections.take(_key(scope), _patience(scope))
        # From here on `ended` knows of it, whatever happens.
        self._blocks.setdefault(scope.execution_id, {})[name] = _Block(session)
        await self._execute(scope, session, b"begin", [])
        return name

    async def _end(self, scope: Scope, arguments: dict[str, Any], method: str) -> None:
        block = self._block(scope, arguments)
        async with block.turn:
            blocks = self._blocks.get(scope.execution_id, {})
            if blocks.pop(arguments["transaction"], None) is None:
                raise _no_transaction()
            try:
                failed = block.session.transaction_failed
                await self._execute(scope, block.session, method.encode(), [])
            finally:
                self._connections.give_back(block.session)
        if failed and method == "commit":
            raise ServiceFault("transaction_failed", "a statement of the transaction had failed, so it was rolled back")

    def _block(self, scope: Scope, arguments: dict[str, Any]) -> _Block:
        name = arguments.get("transaction")
        block = self._blocks.get(scope.execution_id, {}).get(name) if isinstance(name, str) else None
        if block is None:
            raise _no_transaction()
        return block

    @asynccontextmanager
    async def _borrowed(self, scope: Scope) -> AsyncIterator[Session]:
        async with self._connections.borrowed(_key(scope), _patience(scope)) as session:
            yield session

    async def _execute(self, scope: Scope, session: Session, sql: bytes, values: list[bytes | None]) -> _Result:
        """Run one statement within its limits. The session stays doubtful unless it was heard to the end."""
        left = scope.deadline - asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(min(left, self._limits.statement_ms / 1000 + _GRACE_S)):
                return await self._read(session, sql, values)
        except TimeoutError:
            raise ServiceFault("statement_timeout", "the statement took too long and was ended") from None
        except TooLarge:
            raise ServiceFault("result_too_large", f"a result may have {self._limits.bytes} bytes") from None
        except psycopg.Error as error:
            raise ServiceFault("connection_lost", "the connection to the database was lost") from error

    async def _read(self, session: Session, sql: bytes, values: list[bytes | None]) -> _Result:
        rows: list[dict[str, Any]] = []
        columns: list[tuple[str, Convert]] = []
        count, fault = 0, None
        async for result in session.run(sql, values, self._limits.bytes):
            if result.status in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.TUPLES_CHUNK):
                if len(rows) + result.ntuples > self._limits.rows:
                    raise ServiceFault("result_too_large", f"a result may have {self._limits.rows} rows; use limit")
                columns = columns or _columns(result)
                rows += _rows(result, columns)
            elif result.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.EMPTY_QUERY):
                fault = _fault(result)
            count = result.command_tuples or 0
        if fault is not None:
            raise fault
        return _Result(rows, max(count, len(rows)))


def _statement(given: Any) -> tuple[bytes, list[bytes | None]]:
    """The statement and its parameters, ready to be sent; raises ``Denied`` for a kind that plugins may not send."""
    sql = given.get("sql") if isinstance(given, dict) else None
    if not isinstance(sql, str) or not sql.strip() or len(sql) > MAX_SQL_CHARACTERS:
        raise ServiceFault("invalid_arguments", f"sql must be a text of at most {MAX_SQL_CHARACTERS} characters")
    words = refused(sql)
    if words is not None:
        raise Denied(f"the database takes no statement that begins with {words[:60]}. It takes {ALLOWED}.")
    values = given.get("parameters")
    return encoded(sql), parameters([] if values is None else values)


def _columns(result: pq.abc.PGresult) -> list[tuple[str, Convert]]:
    return [
        ((result.fname(index) or b"").decode("utf-8", "replace"), converter(result.ftype(index)))
        for index in range(result.nfields)
    ]


def _rows(result: pq.abc.PGresult, columns: list[tuple[str, Convert]]) -> list[dict[str, Any]]:
    rows = []
    for number in range(result.ntuples):
        row = {}
        for index, (name, convert) in enumerate(columns):
            data = result.get_value(number, index)
            row[name] = None if data is None else convert(data)
        rows.append(row)
    return rows


def _fault(result: pq.abc.PGresult) -> ServiceFault:
    """What the server said, in its words; a refusal by rights is a denial."""

    def said(name: pq.DiagnosticField) -> str:
        return (result.error_field(name) or b"").decode("utf-8", "replace")

    state = said(pq.DiagnosticField.SQLSTATE)
    parts = [said(pq.DiagnosticField.MESSAGE_PRIMARY), said(pq.DiagnosticField.MESSAGE_DETAIL)]
    message = ". ".join(part.rstrip(".") for part in parts if part)[:_MAX_MESSAGE] or "the statement was not run"
    if state == _INSUFFICIENT_PRIVILEGE:
        return Denied(f"the database refused: {message}")
    position = said(pq.DiagnosticField.STATEMENT_POSITION)
    where = f", character {position}" if position else ""
    return ServiceFault(_CODES.get(state, "database_error"), f"{message} (SQLSTATE {state or 'unknown'}{where})")


def _key(scope: Scope) -> tuple[str, str]:
    return scope.tenant_id, scope.plugin_id


def _patience(scope: Scope) -> float:
    return max(0.0, min(_WAITS_S, scope.deadline - asyncio.get_running_loop().time()))


def _no_transaction() -> ServiceFault:
    return ServiceFault("no_transaction", "there is no such transaction, or it has ended")
