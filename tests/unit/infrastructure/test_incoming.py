"""What the platform's messages are read as, in both content modes, and which of them are none of its events."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plugyard.domain.events import MAX_PAYLOAD_BYTES, PlatformEvent
from plugyard.infrastructure.relay.envelope import CONTENT_TYPE, written
from plugyard.infrastructure.relay.incoming import Poison, read

TENANT = "019ca945-0a00-7000-8000-000000000001"
WRITTEN_AT = datetime(2026, 11, 28, 10, tzinfo=UTC)
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "o-1",
    "source": "https://shop.example.com/orders",
    "type": "order.created",
    "tenantid": TENANT,
    "time": "2026-11-28T10:00:00+01:00",
    "data": {"total": 12},
}
STRUCTURED = {"content-type": CONTENT_TYPE.encode()}
MEANT = PlatformEvent("o-1", EVENT["source"], "order.created", TENANT, WRITTEN_AT - timedelta(hours=1), {"total": 12})


def structured(**changes: Any) -> PlatformEvent:
    event = {name: value for name, value in {**EVENT, **changes}.items() if value is not None}
    return read(json.dumps(event).encode(), STRUCTURED, WRITTEN_AT)


def binary(value: bytes = b'{"total": 12}', **headers: bytes | None) -> PlatformEvent:
    named = {f"ce_{name}": text.encode() for name, text in EVENT.items() if name != "data"}
    given = {**named, "content-type": b"application/json; charset=UTF-8", **headers}
    return read(value, {name: text for name, text in given.items() if text is not None}, WRITTEN_AT)


def test_both_modes_say_the_same() -> None:
    assert structured() == MEANT
    assert binary() == MEANT
    assert read(json.dumps(EVENT).encode(), {}, WRITTEN_AT) == MEANT, "a whole event explains itself"


def test_what_is_not_needed_may_be_missing_and_what_is_not_known_is_left_out() -> None:
    assert structured(time=None).occurred_at == WRITTEN_AT
    assert binary(**{"ce_time": None, "content-type": None}).occurred_at == WRITTEN_AT
    more = {"subject": "order/1", "datacontenttype": "application/vnd.shop+json", "traceparent": "00-1"}
    assert structured(**more) == MEANT
    assert binary(ce_subject=b"order/1", trace=b"\xff") == MEANT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"specversion": "0.3"}, "version '0.3'"),
        ({"id": None}, "missing required field `id`"),
        ({"id": ""}, "`id` must have"),
        ({"id": "x" * 501}, "`id` must have"),
        ({"source": None}, "missing required field `source`"),
        ({"source": "a\nb"}, "`source` must have"),
        ({"type": None}, "missing required field `type`"),
        ({"type": "order created"}, "words joined by dots"),
        ({"type": "order.*"}, "words joined by dots"),
        ({"type": "order.created\n"}, "words joined by dots"),
        ({"type": "x" * 121}, "words joined by dots"),
        ({"tenantid": None}, "missing required field `tenantid`"),
        ({"tenantid": "acme"}, "Invalid UUID"),
        ({"time": "yesterday"}, "RFC3339"),
        ({"time": "0001-01-01T00:00:00+01:00"}, "out of range"),
        ({"time": "2026-11-28T10:00:00"}, "timezone"),
        ({"data": None}, "missing required field `data`"),
        ({"data": [1]}, "Expected `object`"),
        ({"data": {"x": "x" * MAX_PAYLOAD_BYTES}}, "the data may have 65536 bytes"),
        ({"datacontenttype": "text/xml"}, "said to be 'text/xml'"),
    ],
)
def test_what_is_no_event_says_why(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Poison, match=reason):
        structured(**changes)
    if "data" not in changes and "datacontenttype" not in changes:
        headers = {f"ce_{name}": None if text is None else text.encode() for name, text in changes.items()}
        with pytest.raises(Poison, match=reason):
            binary(**headers)


@pytest.mark.parametrize("value", [b"", b"\xff", b"[]", b"1", b"[" * 100_000, b'{"a":' * 100_000, b'{"a": "\xff"}'])
def test_bytes_that_are_no_json_object_are_no_event(value: bytes) -> None:
    for headers in ({}, STRUCTURED, {"content-type": b"application/cloudevents-batch+json"}):
        with pytest.raises(Poison):
            read(value, headers, WRITTEN_AT)
    with pytest.raises(Poison):
        binary(value)


def test_headers_that_are_no_text_are_no_event_and_data_of_another_kind_is_not_guessed_at() -> None:
    with pytest.raises(Poison, match="no CloudEvent"):
        binary(ce_id=b"\xff")
    with pytest.raises(Poison, match="said to be 'application/xml'"):
        binary(**{"content-type": b"application/xml"})


def test_an_event_of_this_service_is_none_of_the_platforms() -> None:
    row = {
        "id": "1",
        "type": "plugin.rated",
        "plugin_id": TENANT,
        "tenant_id": TENANT,
        "occurred_at": WRITTEN_AT,
        "data": "{}",
    }
    with pytest.raises(Poison, match="tenantid"):
        read(written(row, "/plugyard"), STRUCTURED, WRITTEN_AT)
