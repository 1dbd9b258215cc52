"""What a publisher takes for confirmed: what the broker says it has, and where."""

from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from plugyard.infrastructure.relay import publisher as publishing
from plugyard.infrastructure.relay.publisher import Publisher
from plugyard.infrastructure.relay.settings import KafkaSettings


class Scripted:
    """A producer that reports each message at once, with the place that stands in its value."""

    def __init__(self, _: dict[str, Any]) -> None:
        pass

    def produce(self, topic: str, value: bytes, key: Any, *, on_delivery: Any, headers: Any) -> None:
        place = int(value) if value else None
        on_delivery(None, SimpleNamespace(topic=lambda: topic, partition=lambda: 3, offset=lambda: place))

    def poll(self, seconds: float) -> int:
        return 0

    def purge(self, **_: bool) -> None:
        pass

    def __len__(self) -> int:
        return 0


@pytest.mark.parametrize(
    ("places", "confirmed"),
    [
        (("0", "1", "2"), [0, 1, 2]),
        (("7", "9"), [0, 1]),
        # A batch of three that the broker says it has, and not where.
        (("7", "", "0", "1"), [0]),
        (("7", "7"), [0]),
        (("",), []),
        # The same as the first of all, and where it is longer than what is known.
        (("", "0", "1"), []),
        (("2", "", "0", "1", "2", "3", "4"), [0]),
    ],
)
async def test_what_has_no_place_behind_the_others_is_not_confirmed(
    monkeypatch: pytest.MonkeyPatch, places: tuple[str, ...], confirmed: list[int]
) -> None:
    monkeypatch.setattr(publishing, "Producer", Scripted)
    publisher = Publisher(KafkaSettings("kafka:9092", "events"))
    try:
        for number, place in enumerate(places):
            publisher.send(number, "events", "plugin", place.encode(), {})
        arrived, wrong = publisher.reports()
    finally:
        await publisher.close()
    assert arrived == confirmed
    assert wrong == ("" if len(confirmed) == len(places) else "a message was confirmed without its place")


class Ended(Scripted):
    """A producer that meets its end at the first poll, reports afterwards, and has nothing left then."""

    def __init__(self, _: dict[str, Any]) -> None:
        self.waiting: list[Any] = []
        self.told = False

    def produce(self, topic: str, value: bytes, key: Any, *, on_delivery: Any, headers: Any) -> None:
        self.waiting.append(on_delivery)

    def poll(self, seconds: float) -> int:
        assert seconds < 0.2
        if not self.told and self.waiting:
            self.told = True
            raise KafkaException(KafkaError(KafkaError._GAPLESS_GUARANTEE, "a gap", fatal=True))
        if self.told and self.waiting:
            self.waiting.pop()(KafkaError(KafkaError._PURGE_INFLIGHT), None)
        return 0

    def __len__(self) -> int:
        return len(self.waiting)


async def test_what_ends_a_producer_is_told_and_its_reports_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "Producer", Ended)
    publisher = Publisher(KafkaSettings("kafka:9092", "events"))
    producer: Any = publisher._producer
    try:
        for number in range(3):
            publisher.send(number, "events", "plugin", b"", {})
        await publisher.reported(5)
        assert publisher.reports() == ([], "a gap")
    finally:
        await publisher.close()
    assert not producer.waiting, "each was reported"
    assert publisher.reports() == ([], "a gap")
    assert not publisher._poller.is_alive()
