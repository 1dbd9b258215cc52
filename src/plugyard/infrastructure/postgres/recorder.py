"""`application.ports.ExecutionRecorder` on PostgreSQL: executions are durable before their callers have an answer.

One writer takes everything that waits, writes it in one round trip and one commit, and then takes what came meanwhile.
A lone caller pays for one commit; many share one. COPY would be quicker still, but row-level security forbids it.
Made and opened by `plugyard.bootstrap`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
import psycopg

from plugyard.application.ports import AuditEntry, Reply, StoredLogLine
from plugyard.domain.errors import StoreUnavailable
from plugyard.domain.events import Event
from plugyard.domain.execution import Execution
from plugyard.domain.queue import QueueEnd
from plugyard.infrastructure.postgres.errors import TOO_MUCH, translated
from plugyard.infrastructure.postgres.repeated import RepeatedStatement
from plugyard.infrastructure.postgres.silence import SEEN_THERE
from plugyard.infrastructure.postgres.statements import statements

_RECORD = statements("executions")["record executions"]
_OPTIONS = "-c search_path=plugyard -c timezone=UTC -c statement_timeout=30s" + SEEN_THERE
_LARGEST_BATCH = 8 << 20
"""Most bytes of a batch, unless one execution alone has more. PostgreSQL refuses JSON beyond 256 MB, and numbers take
several times the room there that they take as text."""
_LARGEST_BIGINT = 2**63 - 1
_REPLACEMENT = "\ufffd"
_ESCAPED_NUL = b"\\u0000"


@dataclass(frozen=True)
class _Item:
    """One execution with what belongs to it, and the caller that waits for it.

    `logs` are rows in JSON, separated by commas. `size` is about how many bytes all of it takes.
    """

    tenant_id: str
    parts: dict[str, list[dict[str, Any]]]
    logs: bytes
    size: int
    done: asyncio.Future[None]


class PostgresRecorder:
    """Records executions over a connection of its own. `open` it before use and `close` it at the end."""

    def __init__(self, service_url: str, *, batch: int = 256) -> None:
        self._url = service_url
        self._batch = batch
        self._waiting: deque[_Item] = deque()
        self._wake = asyncio.Event()
        self._statement: RepeatedStatement | None = None
        self._writer: asyncio.Task[None] | None = None
        self._closing = False

    async def open(self) -> None:
        """Connects; raises `StoreUnavailable` when the database does not answer."""
        with translated():
            await self._connect()
        self._writer = asyncio.create_task(self._write_for_ever())

    async def close(self) -> None:
        """Writes what still waits, then disconnects."""
        self._closing = True
        self._wake.set()
        if self._writer is not None:
            await self._writer
        await self._disconnect()

    async def record(
        self,
        execution: Execution,
        logs: Sequence[StoredLogLine],
        events: Sequence[Event],
        audit: Sequence[AuditEntry],
        end: QueueEnd | None = None,
        reply: Reply | None = None,
    ) -> None:
        """Returns when the execution and all that belongs to it are on disk; all of it is, or nothing.

        Raises `StoreUnavailable` when the database is away. Text that PostgreSQL cannot hold, which a plugin may well
        log, is stored with replacement characters.
        """
        if self._closing or self._writer is None:
            raise StoreUnavailable
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        parts: dict[str, list[dict[str, Any]]] = {
            # What is tried again has no record yet.
            "executions": [] if end is not None and not end.state.over else [_execution_row(execution, len(logs))],
            "events": [_event_row(event) for event in events],
            "audit": [_audit_row(entry) for entry in audit],
            "ends": [_end_row(end)] if end is not None else [],
            "replies": [_reply_row(execution, reply)] if reply is not None else [],
        }
        lines = _encoded([_log_row(execution, line) for line in logs])[1:-1] if logs else b""
        # What else there is of it is small.
        size = len(lines) + (execution.output_bytes if reply is not None or end is not None else 0)
        self._waiting.append(_Item(execution.tenant_id, parts, lines, size, done))
        self._wake.set()
        await done

    async def _write_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                await self._write(self._taken())
            if self._closing:
                return

    def _taken(self) -> list[_Item]:
        """The next batch: so many as one may hold, and so much, that large answers do not fail what came with them."""
        taken = [self._waiting.popleft()]
        size = taken[0].size
        while self._waiting and len(taken) < self._batch and size + self._waiting[0].size <= _LARGEST_BATCH:
            taken.append(self._waiting.popleft())
            size += taken[-1].size
        return taken

    async def _write(self, items: list[_Item]) -> None:
        """Writes a batch and tells its callers. A row that cannot be stored fails alone, not with its neighbours."""
        try:
            await self._commit(items)
        except Exception as error:
            if len(items) > 1 and not isinstance(error, StoreUnavailable):
                for item in items:
                    await self._write([item])
                return
            for item in items:
                if not item.done.done():
                    item.done.set_exception(error)
            return
        for item in items:
            if not item.done.done():  # A caller that was cancelled no longer waits.
                item.done.set_result(None)

    async def _commit(self, items: list[_Item]) -> None:
        """One statement, which is one transaction; a lost connection is replaced once, and no row written twice."""
        document = _document(items)
        with translated():
            try:
                await self._send(document)
            except TOO_MUCH:
                raise  # It would be too much again.
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError):
                await self._disconnect()
                await self._connect()
                await self._send(document)

    async def _send(self, document: bytes) -> None:
        if self._statement is None:
            raise psycopg.InterfaceError("not connected")
        await self._statement.run(document)

    async def _connect(self) -> None:
        self._statement = await RepeatedStatement.open(self._url, _RECORD, _OPTIONS)

    async def _disconnect(self) -> None:
        if self._statement is not None:
            await self._statement.close()
            self._statement = None


def _document(items: Iterable[_Item]) -> bytes:
    """The batch as the database's function reads it: for each tenant its rows.

    The tenants stand in one order, whoever writes them: at the commit the head of each one's trail is locked in it.
    """
    tenants: dict[str, dict[str, Any]] = {}
    logs: dict[str, list[bytes]] = {}
    for item in items:
        own = tenants.get(item.tenant_id)
        if own is None:
            own = tenants[item.tenant_id] = {"tenant": item.tenant_id, **{name: [] for name in item.parts}}
            logs[item.tenant_id] = []
        for name, rows in item.parts.items():
            own[name].extend(rows)
        if item.logs:
            logs[item.tenant_id].append(item.logs)
    batch = [tenants[tenant_id] for tenant_id in sorted(tenants)]
    for own in batch:
        own["logs"] = msgspec.Raw(b"[%b]" % b",".join(logs[own["tenant"]]))
    return _encoded(batch)


def _encoded(rows: list[dict[str, Any]]) -> bytes:
    """The rows as JSON that PostgreSQL can hold."""
    try:
        encoded = msgspec.json.encode(rows)
        if _ESCAPED_NUL not in encoded:
            return encoded
    except (UnicodeEncodeError, OverflowError, TypeError):
        pass
    return msgspec.json.encode(_storable(rows))


def _storable(value: Any) -> Any:
    """The value with everything replaced that PostgreSQL has no form for; the slow way, which few batches take."""
    if isinstance(value, str):
        return value.replace("\0", _REPLACEMENT).encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(str(key)): _storable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float) and value - value != 0:  # Infinite or not a number.
        return None
    if value is None or isinstance(value, bool | int | float | msgspec.Raw):
        return value
    return _storable(str(value))


def _execution_row(execution: Execution, logged: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": execution.id,
        "tenant_id": execution.tenant_id,
        "plugin_id": execution.plugin_id,
        "version": execution.version,
        "function": execution.function,
        "status": execution.status.value,
        "started_at": execution.started_at,
        "ended_at": execution.ended_at,
        "actor": execution.actor,
        "request_id": execution.request_id,
        "input_bytes": execution.input_bytes,
        "output_bytes": execution.output_bytes,
        "logs": logged,
    }
    if execution.queued_at is not None:
        row |= {
            "queued_at": execution.queued_at,
            "attempts": [one.to_document() for one in execution.attempts],
        }
    usage, error = execution.usage, execution.error
    if usage is not None:
        row |= {
            "wall_ms": usage.wall_ms,
            "cpu_ms": usage.cpu_ms,
            "peak_memory_bytes": usage.peak_memory_bytes,
            "service_calls": usage.service_calls,
            "start": usage.start,
        }
    if error is not None:
        row |= {
            "error_code": error.code,
            "error_message": error.message,
            "error_stack": error.stack,
            "error_limit": None if error.limit is None else min(error.limit, _LARGEST_BIGINT),
            "error_used": None if error.used is None else min(error.used, _LARGEST_BIGINT),
        }
    return row


def _end_row(end: QueueEnd) -> dict[str, Any]:
    return {
        "id": end.execution_id,
        "run": end.run,
        "state": end.state.value,
        "attempts": [one.to_document() for one in end.attempts],
        "output": end.output,
        "due_at": end.due_at,
        "ended_at": end.ended_at,
        "job": end.job,
        "waits": end.waits,
    }


def _reply_row(execution: Execution, reply: Reply) -> dict[str, Any]:
    return {
        "plugin_id": execution.plugin_id,
        "key": reply.key,
        "execution_id": execution.id,
        "response": reply.response,
    }


def _log_row(execution: Execution, line: StoredLogLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "tenant_id": execution.tenant_id,
        "plugin_id": execution.plugin_id,
        "execution_id": line.execution_id,
        "at": line.line.at,
        "level": line.line.level,
        "message": line.line.message,
        "fields": line.line.fields,
    }


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "plugin_id": event.plugin_id,
        "type": event.type.value,
        "occurred_at": event.occurred_at,
        "data": event.data,
    }


def _audit_row(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "tenant_id": entry.tenant_id,
        "at": entry.at,
        "actor": entry.actor,
        "action": entry.action,
        "target": entry.target,
        "detail": dict(entry.detail),
        "request_id": entry.request_id,
    }
