"""What a publisher takes for confirmed: what the broker says it has, and where."""

from types import SimpleNamespace
from typing import Any

import pytest

from plugyard.infrastructure.relay import publisher as publishing
from plugyard.infrastructure.relay.publisher import Publisher
from plugyard.infrastructure.relay.settings import KafkaSettings


class Scripted:
    """A producer that reports each message at once, with the place that stands in its value."""

    def __init__(self, _: dict[str, Any]) -> None:
        pass

    def produce(self, topic: str, value: bytes, key: Any, *, on_delivery: Any, headers: Any) -> None:
        place = int(value) if value else None
        on_delivery(None, SimpleNamespace(offset=lambda: place))

    def poll(self, seconds: float) -> int:
        return 0

    def purge(self, **_: bool) -> None:
        pass

    def flush(self, seconds: float) -> int:
        return 0


async def test_what_is_confirmed_without_its_place_is_not_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a broker answers a message whose number it knows from a try before, whether it has the message or lost it."""
    monkeypatch.setattr(publishing, "Producer", Scripted)
    publisher = Publisher(KafkaSettings("kafka:9092", "events"))
    try:
        for number, value in enumerate((b"7", b"", b"9")):
            publisher.send(number, "events", "plugin", value, {})
        arrived, wrong = publisher.reports()
    finally:
        await publisher.close()
    assert arrived == [0, 2]
    assert wrong == "a message was confirmed without its place"
