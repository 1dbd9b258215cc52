"""Execution records in memory, beside the store that reads them."""

from collections.abc import Sequence

from plugyard.application.ports import AuditEntry, Reply, StoredLogLine
from plugyard.domain.events import Event
from plugyard.domain.execution import Execution
from plugyard.domain.queue import QueueEnd
from tests.memory.store import MemoryStore


class MemoryRecorder:
    """Writes into the store; ``failing`` is raised instead where a test sets it."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.failing: Exception | None = None

    async def record(
        self,
        execution: Execution,
        logs: Sequence[StoredLogLine],
        events: Sequence[Event],
        audit: Sequence[AuditEntry],
        end: QueueEnd | None = None,
        reply: Reply | None = None,
    ) -> None:
        """Keep all of it, or nothing."""
        if self.failing is not None:
            raise self.failing
        await self._store.keep_records(execution, logs, events, audit, end, reply)
