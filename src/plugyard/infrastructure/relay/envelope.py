"""The form of an event on the wire: CloudEvents 1.0 in structured JSON mode. The relay writes it, consumers read it.

Source: CloudEvents 1.0.2, the JSON event format and the Kafka protocol binding; "partitionkey" is the Partitioning
extension. `docs/events/envelope.schema.json` says the same for those who read it elsewhere, and a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
SCHEMA = "urn:plugyard:events:{}:1"


class Poison(Exception):
    """It is no event that this service could have sent; the message says why."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event as a consumer has it. `id` is the same however often it comes."""

    id: str
    source: str
    type: str
    plugin_id: str
    tenant_id: str
    time: datetime
    data: dict[str, Any]


class _Context(msgspec.Struct, frozen=True):
    # Everything but the data, in the order in which it is written.
    specversion: str
    id: str
    source: str
    type: str
    subject: str
    time: datetime
    datacontenttype: str
    dataschema: str
    partitionkey: str
    tenant: str


class _Read(_Context, frozen=True):
    data: dict[str, Any]


class _Written(_Context, frozen=True):
    data: msgspec.Raw


_decoder = msgspec.json.Decoder(_Read)
_encoder = msgspec.json.Encoder()


def written(row: Mapping[str, Any], source: str) -> bytes:
    """The envelope of a row of the outbox, whose data is JSON already."""
    return _encoder.encode(
        _Written(
            specversion="1.0",
            id=row["id"],
            source=source,
            type=row["type"],
            subject=row["plugin_id"],
            time=row["occurred_at"].astimezone(UTC),
            datacontenttype="application/json",
            dataschema=SCHEMA.format(row["type"]),
            partitionkey=row["plugin_id"],
            tenant=row["tenant_id"],
            data=msgspec.Raw(row["data"]),
        )
    )


def read(value: bytes | None) -> Envelope:
    """The event of a message. Raises `Poison`."""
    if not value:
        raise Poison("the message is empty")
    try:
        wire = _decoder.decode(value)
    except (msgspec.DecodeError, RecursionError) as error:  # A wrong shape is a `DecodeError` too.
        raise Poison(f"the message is no CloudEvent in JSON: {error}") from error
    if wire.specversion != "1.0":
        raise Poison(f"the message is a CloudEvent of version {wire.specversion[:20]!r}; 1.0 is understood")
    if not wire.id or not wire.source or not wire.type or not wire.subject or not wire.tenant:
        raise Poison("the message has no id, source, type, subject or tenant")
    return Envelope(wire.id, wire.source, wire.type, wire.subject, wire.tenant, wire.time, wire.data)
