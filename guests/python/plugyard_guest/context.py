"""The second argument of every handler: who calls, with which settings, and the platform's services."""

import contextlib
import json

from wit_world.imports import host

from plugyard_guest import hostloop
from plugyard_guest.http import Http


class _Said:
    """What a logger method returns: nothing to wait for, whether it is awaited or not."""

    __slots__ = ()

    def __await__(self):
        return iter(())


_SAID = _Said()


class Logger:
    """Structured log lines."""

    __slots__ = ()

    def debug(self, message: object, **fields: object) -> _Said:
        return _log("debug", message, fields)

    def info(self, message: object, **fields: object) -> _Said:
        return _log("info", message, fields)

    def warn(self, message: object, **fields: object) -> _Said:
        return _log("warning", message, fields)

    def warning(self, message: object, **fields: object) -> _Said:
        return _log("warning", message, fields)

    def error(self, message: object, **fields: object) -> _Said:
        return _log("error", message, fields)


def _log(level: str, message: object, fields: dict) -> _Said:
    # What is no JSON is shown rather than refused: a log line must never be what makes a plugin fail.
    host.log(level, str(message), json.dumps(fields, default=repr) if fields else "{}")
    return _SAID


class _Statements:
    """The two methods that run a statement, inside of a transaction or outside of any."""

    __slots__ = ("_transaction",)

    def __init__(self, transaction: str | None = None) -> None:
        self._transaction = transaction

    async def query(self, sql: str, parameters=()) -> list:
        return await self._run("query", sql, parameters)

    async def execute(self, sql: str, parameters=()) -> int:
        return await self._run("execute", sql, parameters)

    async def _run(self, method: str, sql: str, parameters):
        arguments = {"sql": sql, "parameters": list(parameters)}
        if self._transaction is not None:
            arguments["transaction"] = self._transaction
        return await hostloop.call("database", method, arguments)


class _Transaction:
    """A block (`async with`), or with statements given a list of them that is awaited."""

    __slots__ = ("_begun", "_statements")

    def __init__(self, statements) -> None:
        self._statements = statements
        self._begun: dict = {}

    def __await__(self):
        return hostloop.call("database", "transaction", {"statements": list(self._statements or ())}).__await__()

    async def __aenter__(self) -> _Statements:
        self._begun = await hostloop.call("database", "begin", {})
        return _Statements(self._begun["transaction"])

    async def __aexit__(self, kind, error, trace) -> None:
        if kind is None:
            await hostloop.call("database", "commit", self._begun)
            return
        # The author's error is the one to tell, whatever becomes of the rollback.
        with contextlib.suppress(Exception):
            await hostloop.call("database", "rollback", self._begun)


class Database(_Statements):
    """The plugin's own tables."""

    __slots__ = ()

    def transaction(self, statements=None) -> _Transaction:
        return _Transaction(statements)


class Cache:
    """Short-lived values."""

    __slots__ = ()

    async def get(self, key: str):
        return await hostloop.call("cache", "get", {"key": key})

    async def set(self, key: str, value, *, ttl_seconds: float | None = None) -> None:
        await hostloop.call("cache", "set", {"key": key, "value": value, "ttlSeconds": ttl_seconds})

    async def delete(self, key: str) -> bool:
        return await hostloop.call("cache", "delete", {"key": key})

    async def increment(self, key: str, by: int = 1, *, ttl_seconds: float | None = None) -> int:
        return await hostloop.call("cache", "increment", {"key": key, "by": by, "ttlSeconds": ttl_seconds})


class Events:
    """Messages between the tenant's plugins."""

    __slots__ = ()

    async def publish(self, topic: str, payload) -> None:
        await hostloop.call("events", "publish", {"topic": topic, "payload": payload})

    async def subscribe(self, topic: str, handler: str) -> None:
        await hostloop.call("events", "subscribe", {"topic": topic, "handler": handler})


class Files:
    """The plugin's own folder."""

    __slots__ = ()

    async def read(self, path: str, *, encoding: str = "utf-8") -> str:
        return await hostloop.call("files", "read", {"path": path, "encoding": encoding})

    async def write(self, path: str, content: str, *, encoding: str = "utf-8") -> None:
        await hostloop.call("files", "write", {"path": path, "content": content, "encoding": encoding})

    async def list(self, prefix: str = ""):
        return await hostloop.call("files", "list", {"prefix": prefix})

    async def delete(self, path: str) -> bool:
        return await hostloop.call("files", "delete", {"path": path})


class Services:
    """All services; one that was not granted raises PermissionError when it is called."""

    __slots__ = ("cache", "database", "events", "files", "http", "logger")

    def __init__(self) -> None:
        self.logger, self.database, self.cache = Logger(), Database(), Cache()
        self.http, self.events, self.files = Http(), Events(), Files()


_SERVICES = Services()


class Context:
    """What `plugyard_sdk.Context` describes."""

    __slots__ = ("configuration", "deadline", "execution_id", "services", "tenant_id", "trace", "user_id")

    def __init__(self, document: dict) -> None:
        self.tenant_id = document.get("tenantId")
        self.user_id = document.get("userId")
        self.execution_id = document.get("executionId")
        self.configuration = document.get("configuration") or {}
        self.deadline = document.get("deadline")
        self.trace = document.get("trace") or {}
        self.services = _SERVICES
