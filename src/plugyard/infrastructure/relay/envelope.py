"""The form of an event on the wire: CloudEvents 1.0 in structured JSON mode. The relay writes it.

Source: CloudEvents 1.0.2, the JSON event format and the Kafka protocol binding; "partitionkey" is the Partitioning
extension. `docs/events/envelope.schema.json` says the same for those who read it elsewhere, and a test compares.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

CONTENT_TYPE = "application/cloudevents+json; charset=UTF-8"
SCHEMA = "urn:plugyard:events:{}:1"


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


class _Written(_Context, frozen=True):
    data: msgspec.Raw


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
