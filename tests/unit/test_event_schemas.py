"""The schemas in docs/events are those of what is sent, and say of it what docs/events.md says."""

import json
import re
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.health import HealthStatus
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import PluginState
from plugyard.infrastructure.relay.envelope import SCHEMA, written
from tests.unit.application.test_events import a_whole_life
from tests.unit.test_documents import ROOT, rows

FOLDER = ROOT / "docs" / "events"
TYPES = [type_.value for type_ in EventType]


def schema_of(name: str) -> dict[str, Any]:
    found = json.loads((FOLDER / f"{name}.schema.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def as_sent(event: Event) -> bytes:
    """The message of an event, from the row that the outbox has of it."""
    row = {
        "id": event.id,
        "tenant_id": event.tenant_id,
        "plugin_id": event.plugin_id,
        "type": event.type.value,
        "occurred_at": event.occurred_at,
        "data": msgspec.json.encode(event.data).decode(),
    }
    return written(row, "/plugyard")


def test_every_type_has_a_schema_and_no_other_file_lies_there() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.schema.json" for name in [*TYPES, "envelope"]}


@pytest.mark.parametrize("name", [*TYPES, "envelope"])
def test_every_schema_is_one_and_explains_itself(name: str) -> None:
    schema = schema_of(name)
    jsonschema_rs.meta.validate(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["$id"] == SCHEMA.format(name)
    assert schema["description"]
    assert set(schema["required"]) <= schema["properties"].keys()
    for field, described in schema["properties"].items():
        assert described["description"].endswith((".", ")")), f"{name}.{field} says nothing"


async def test_everything_that_is_sent_is_as_its_schema_says(tmp_path: Path) -> None:
    envelope = jsonschema_rs.validator_for(schema_of("envelope"), validate_formats=False)
    sent: dict[str, set[str]] = defaultdict(set)
    for event in (await a_whole_life(tmp_path)).events:
        message = json.loads(as_sent(event))
        envelope.validate(message)
        assert message.keys() == schema_of("envelope")["properties"].keys()
        schema = schema_of(message["type"])
        assert message["dataschema"] == schema["$id"]
        jsonschema_rs.validator_for(schema).validate(message["data"])
        sent[message["type"]] |= message["data"].keys()
    assert sent.keys() == set(TYPES)
    for type_, fields in sent.items():
        assert fields == schema_of(type_)["properties"].keys(), type_


def test_the_page_names_the_fields_that_the_schemas_have() -> None:
    documented = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows("docs/events.md") if "." in row[0]
    }
    for type_ in TYPES:
        assert documented[type_] == schema_of(type_)["properties"].keys() - {"name", "state"}, type_


def test_the_words_in_the_schemas_are_those_of_the_code() -> None:
    for type_ in TYPES:
        fields = schema_of(type_)["properties"]
        assert fields["state"]["enum"] == [state.value for state in PluginState]
        for name in ("grants", "permissions"):
            if name in fields:
                assert set(fields[name]["items"]["properties"]["service"]["enum"]) == {one.value for one in Service}
    ends = schema_of("execution.failed")["properties"]["status"]["enum"]
    others = {ExecutionStatus.QUEUED, ExecutionStatus.RUNNING, ExecutionStatus.SUCCEEDED}
    assert set(ends) == {status.value for status in ExecutionStatus if status not in others}
    judged = schema_of("plugin.health_checked")["properties"]["status"]["enum"]
    assert judged == [status.value for status in HealthStatus]


async def test_what_is_written_says_what_the_event_does(tmp_path: Path) -> None:
    for event in (await a_whole_life(tmp_path)).events:
        message = json.loads(as_sent(event))
        told = tuple(message[name] for name in ("id", "type", "subject", "tenant", "data"))
        data = json.loads(msgspec.json.encode(event.data))
        assert told == (event.id, event.type.value, event.plugin_id, event.tenant_id, data)
        assert datetime.fromisoformat(message["time"]) == event.occurred_at
