"""Consent with everything real: an upgrade that waits survives a kill, and what plugins use is noted and written."""

import signal
from pathlib import Path
from typing import Any

from tests.acceptance.test_path_of_a_package import package, run, upload
from tests.conftest import start_service

FIRST = ["cache", {"service": "events", "topics": ["note.*", "never.used"], "reason": "tells of notes"}, "database"]
CODE = """
async def work(input, context):
    s = context.services
    await s.cache.set("a", 1)
    await s.events.publish("note.added", 1)
    try:
        await s.events.publish("other.topic", 1)
    except PermissionError as error:
        return str(error)
"""
USED = {("cache", None), ("events", None), ("events", "note.*")}


def notes(version: str, *permissions: Any) -> bytes:
    metadata = {"name": "consent-notes", "version": version}
    return package(CODE, metadata=metadata, security={"permissions": list(permissions)}, functions={"work": {}})


def names(rights: list[dict[str, Any]], *, used: bool) -> set[tuple[str, str | None]]:
    return {(one["service"], one["name"]) for one in rights if bool(one["lastUsedAt"]) is used}


def test_what_was_used_and_what_waits_outlives_the_process(data_folder: Path) -> None:
    first = start_service(data_folder)
    try:
        with first.client() as admin:
            answer = upload(admin, notes("1.0.0", *FIRST), activate="true")
            assert answer.json()["plugin"]["status"] == "active", answer.text
            plugin_id = answer.json()["plugin"]["id"]
            assert "other.topic" in run(admin, plugin_id, "work")["output"]
            secret = admin.post("/api/v1/keys", json={"name": "ci", "role": "developer"}).json()["secret"]
        with first.client(secret) as developer:
            waits = upload(developer, notes("1.1.0", *FIRST, "filesystem"), activate="true").json()
        assert [one["service"] for one in waits["consentNeeded"]] == ["filesystem"]
    finally:
        # Nobody has asked for the rights yet, so that what was used is written by the end of the service.
        assert first.stop() == 0
    second = start_service(data_folder)
    try:
        with second.client() as admin:
            held = admin.get(f"/api/v1/plugins/{plugin_id}/rights").json()["items"]
            assert names(held, used=True) == USED
            assert names(held, used=False) == {("events", "never.used"), ("database", None)}
            assert [seen["name"] for one in held for seen in one["seen"]] == ["note.added"]
            assert not any(one["unused"] for one in held)
    finally:
        second.stop(signal.SIGKILL)
    third = start_service(data_folder)
    try:
        with third.client() as admin:
            one = f"/api/v1/plugins/{plugin_id}"
            shown = admin.get(one).json()
            assert (shown["version"], shown["waiting"]["version"]) == ("1.0.0", "1.1.0")
            assert [ask["service"] for ask in shown["waiting"]["asks"]] == ["filesystem"]
            difference = admin.get(f"{one}/versions/1.0.0/diff/1.1.0").json()
            assert [change["service"] for change in difference["permissions"]] == ["filesystem"]
            changed = admin.post(f"{one}/consent", json={"version": "1.1.0"}).json()
            assert (changed["version"], changed["waiting"]) == ("1.1.0", None)
            assert run(admin, plugin_id, "work")["status"] == "succeeded"
            drop = {"rights": [{"service": "database"}, {"service": "events", "name": "never.used"}]}
            left = admin.post(f"{one}/rights/drop", json=drop).json()["grants"]
            assert {grant["service"]: grant["topics"] for grant in left} == {
                "cache": [],
                "events": ["note.*"],
                "filesystem": [],
            }
    finally:
        third.stop()
