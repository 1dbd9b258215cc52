"""What the platform says on its topic, as CloudEvents 1.0. `consumer.py` reads messages with it.

Source: CloudEvents 1.0.2 and its Kafka protocol binding, which has two content modes. Structured: the value is the
whole event in JSON. Binary: the value is the data, and each attribute is a header, as `ce_id`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec

from plugyard.domain.events import MAX_PAYLOAD_BYTES, MAX_TOPIC, TOPIC, PlatformEvent

LONGEST_NAME = 500
"""Most characters of `id` and of `source`."""
_STRUCTURED, _OF_BINARY = "application/cloudevents", "ce_"


class Poison(Exception):
    """No event can be made of the message; the words say why."""


class _Attributes(msgspec.Struct, frozen=True):
    specversion: str
    id: str
    source: str
    type: str
    # Not `tenant`, as in this service's own events, so that those, carried here by mistake, are none of the platform's.
    tenantid: UUID
    datacontenttype: str = "application/json"
    time: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class _Event(_Attributes, frozen=True, kw_only=True):
    data: dict[str, Any]


_whole = msgspec.json.Decoder(_Event)
_data = msgspec.json.Decoder(dict[str, Any])


def read(value: bytes | None, headers: Mapping[str, bytes], written_at: datetime) -> PlatformEvent:
    """The event of a message. One without a time happened when the message was written. Raises `Poison`."""
    if not value:
        raise Poison("the message is empty")
    try:
        named = {name.lower(): text.decode() for name, text in headers.items() if _concerns(name.lower())}
        content_type = named.pop("content-type", "").strip().lower()
        if content_type.startswith(_STRUCTURED) or not named:
            return _judged(event := _whole.decode(value), event.data, written_at)
        found = {name.removeprefix(_OF_BINARY): text for name, text in named.items()}
        if content_type:
            found["datacontenttype"] = content_type
        return _judged(msgspec.convert(found, _Attributes), _data.decode(value), written_at)
    # A wrong shape is a `DecodeError` too, bytes that are no UTF-8 are a `ValueError`, and a time that lies outside of
    # all years once it is in UTC is an `OverflowError`.
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise Poison(f"the message is no CloudEvent: {error}") from error


def _concerns(name: str) -> bool:
    return name == "content-type" or name.startswith(_OF_BINARY)


def _judged(event: _Attributes, data: dict[str, Any], written_at: datetime) -> PlatformEvent:
    if event.specversion != "1.0":
        raise Poison(f"the message is a CloudEvent of version {event.specversion[:20]!r}; 1.0 is understood")
    for name in ("id", "source"):
        text = getattr(event, name)
        if not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
            raise Poison(f"`{name}` must have 1 to {LONGEST_NAME} printable characters")
    if len(event.type) > MAX_TOPIC or TOPIC.fullmatch(event.type) is None:
        raise Poison(f"`type` is the topic: at most {MAX_TOPIC} characters, words joined by dots, as in order.created")
    media = event.datacontenttype.partition(";")[0].strip().lower()
    if media != "application/json" and not media.endswith("+json"):
        raise Poison(f"the data must be JSON, and is said to be {media[:100]!r}")
    size = len(msgspec.json.encode(data))
    if size > MAX_PAYLOAD_BYTES:
        raise Poison(f"the data may have {MAX_PAYLOAD_BYTES} bytes as JSON; this has {size}")
    at = (event.time or written_at).astimezone(UTC)
    return PlatformEvent(event.id, event.source, event.type, str(event.tenantid), at, data)
