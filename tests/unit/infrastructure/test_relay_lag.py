"""What a relay says of its lag stays true whatever is met while it is measured."""

import asyncio
from typing import Any

import psycopg
import pytest

from plugyard.infrastructure.postgres.outbox import Lag
from plugyard.infrastructure.relay import relay as relaying
from plugyard.infrastructure.relay.relay import Relay
from plugyard.infrastructure.relay.settings import KafkaSettings


async def test_a_lag_that_cannot_be_measured_for_once_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    met = [psycopg.errors.InsufficientPrivilege("not now"), RuntimeError("nobody thought of this"), None]

    class Looked:
        async def lag(self) -> Lag:
            error = met.pop(0)
            if error is not None:
                raise error
            met.append(None)
            return Lag(7, 1.5)

        async def close(self) -> None:
            pass

    async def opened(*_: Any, **__: Any) -> Looked:
        return Looked()

    monkeypatch.setattr(relaying.Outbox, "open", opened)
    for name in ("MEASURED_EVERY_S", "LONGEST_PAUSE_S"):
        monkeypatch.setattr(relaying, name, 0.01)
    relay = Relay("postgresql://nowhere", KafkaSettings("kafka:9092", "events"), 4)
    measuring = asyncio.create_task(relay._measure())
    try:
        async with asyncio.timeout(2):
            while relay.lag != Lag(7, 1.5):
                await asyncio.sleep(0.01)
                assert not measuring.done()
    finally:
        measuring.cancel()
        await asyncio.gather(measuring, return_exceptions=True)
