"""Each port's suite runs on every implementation: the one in memory that unit tests use, and PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from plugyard.application.ports import ExecutionRecorder, Store
from tests.integration.conftest import Database, database, postgres_data, postgres_urls
from tests.memory.recorder import MemoryRecorder
from tests.memory.store import MemoryStore

__all__ = ["database", "postgres_data", "postgres_urls"]


@dataclass(frozen=True)
class Stored:
    """A store, and the recorder that writes beside it."""

    store: Store
    recorder: ExecutionRecorder


@pytest.fixture(params=["memory", "postgres"])
def stored(request: pytest.FixtureRequest) -> Stored:
    """One implementation after the other."""
    if request.param == "memory":
        store = MemoryStore()
        return Stored(store, MemoryRecorder(store))
    real: Database = request.getfixturevalue("database")
    return Stored(real.store, real.recorder)
