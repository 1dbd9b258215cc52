"""Keys with scopes over HTTP, and rotation with an overlap."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from plugyard.http.app import OPERATIONS
from plugyard.http.operations import Operation
from tests.integration.http.service import MISSING, Http, problem


async def _made(admin: Any, *scopes: dict[str, Any], role: str = "admin", **more: Any) -> dict[str, Any]:
    answer = await admin.post("/api/v1/keys", json={"name": "narrow", "role": role, "scopes": list(scopes), **more})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


@asynccontextmanager
async def _with(http: Http, secret: str) -> AsyncIterator[httpx.AsyncClient]:
    async with http.client(None, Authorization=f"Bearer {secret}") as client:
        yield client


async def test_a_key_of_one_function_executes_that_and_nothing_else(http: Http, admin: Any) -> None:
    plugin, other = await http.plugin(admin, "mine"), await http.plugin(admin, "another")
    key = await _made(admin, {"actions": ["execute"], "plugin": plugin, "functions": ["greet"]}, role="developer")
    assert key["scopes"] == [{"actions": ["execute"], "plugin": plugin, "functions": ["greet"]}]
    async with _with(http, key["secret"]) as client:
        ran = await client.post(f"/api/v1/plugins/{plugin}/execute", json={"function": "greet"})
        assert ran.status_code == 200, ran.text
        upper = await client.post(f"/api/v1/plugins/{plugin.upper()}/execute", json={"function": "greet"})
        assert upper.status_code == 200, upper.text
        refused = await client.post(f"/api/v1/plugins/{plugin}/execute", json={"function": "wave"})
        assert problem(refused, 403, "forbidden")["detail"] == "The key is narrowed to other functions."
        for path in (f"/api/v1/plugins/{other}/execute", f"/api/v1/plugins/{MISSING}/execute"):
            said = problem(await client.post(path, json={"function": "greet"}), 403, "forbidden")
            assert "execute" in said["detail"]
        assert (await client.get(f"/api/v1/plugins/{plugin}")).status_code == 403
        assert (await client.get(f"/api/v1/executions/{ran.json()['executionId']}")).status_code == 403
        assert (await client.get("/api/v1/plugins")).status_code == 403
        assert (await client.get("/api/v1/me")).status_code == 200


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.path != "/api/v1/me"], ids=lambda one: one.id)
async def test_a_key_of_another_plugin_reaches_no_operation(http: Http, admin: Any, one: Operation) -> None:
    key = await _made(admin, {"plugin": MISSING[:-1] + "1"})
    path = one.path.replace("{pluginId}", MISSING).replace("{path}", "x")
    async with _with(http, key["secret"]) as client:
        answer = await client.request(one.method, path)
    assert answer.status_code == 403, answer.text


async def test_a_key_makes_and_rotates_no_key_that_may_do_more(http: Http, admin: Any) -> None:
    wide = await _made(admin)
    narrow = await _made(admin, {"actions": ["manage_keys", "read"]})
    async with _with(http, narrow["secret"]) as client:
        for scopes in ([], [{}], [{"actions": ["read", "execute"]}]):
            asked = {"name": "more", "role": "admin", "scopes": scopes}
            problem(await client.post("/api/v1/keys", json=asked), 403, "forbidden")
        made = await client.post(
            "/api/v1/keys", json={"name": "x", "role": "viewer", "scopes": [{"actions": ["read"]}]}
        )
        assert made.status_code == 201, made.text
        problem(await client.post(f"/api/v1/keys/{wide['id']}/rotate", json={}), 403, "forbidden")
        problem(await client.delete(f"/api/v1/keys/{wide['id']}"), 403, "forbidden")
        assert (await client.delete(f"/api/v1/keys/{made.json()['id']}")).status_code == 200


async def test_a_key_makes_no_key_that_lives_longer(http: Http, admin: Any) -> None:
    short = await _made(admin, expiresInDays=1)
    async with _with(http, short["secret"]) as client:
        for more in ({}, {"expiresInDays": 2}):
            asked = {"name": "longer", "role": "admin", **more}
            said = problem(await client.post("/api/v1/keys", json=asked), 403, "forbidden")
            assert "lives longer" in said["detail"]
        assert (await _made(client, expiresInDays=1))["expiresAt"] == short["expiresAt"]


async def test_scopes_that_do_not_fit_are_named(http: Http, admin: Any) -> None:
    scopes = [{"actions": ["configure"]}, {"functions": ["f"]}, {"plugin": "no id"}]
    asked = {"name": "x", "role": "viewer", "scopes": scopes[:2]}
    said = problem(await admin.post("/api/v1/keys", json=asked), 422, "invalid_input")
    assert {one["pointer"] for one in said["errors"]} == {"/scopes/0/actions", "/scopes/1/functions"}
    said = problem(await admin.post("/api/v1/keys", json={**asked, "scopes": scopes[2:]}), 422, "invalid_input")
    assert {one["pointer"] for one in said["errors"]} == {"/scopes/0/plugin"}
    past = {"name": "x", "role": "viewer", "expiresAt": "2001-01-01T00:00:00Z"}
    said = problem(await admin.post("/api/v1/keys", json=past), 422, "invalid_input")
    assert {one["pointer"] for one in said["errors"]} == {"/expiresAt"}


async def test_of_two_ends_the_earlier_holds(http: Http, admin: Any) -> None:
    for days, at, ends in ((1, "2090-01-01T00:00:00Z", "2090"), (3650, "2031-05-05T00:00:00+02:00", "2031-05-04")):
        key = await _made(admin, expiresInDays=days, expiresAt=at)
        assert key["expiresAt"].startswith(ends) == (days == 3650)


async def test_rotation_keeps_the_old_secret_for_the_overlap(http: Http, admin: Any) -> None:
    old = await _made(admin, {"actions": ["read"]}, role="viewer")
    answer = await admin.post(f"/api/v1/keys/{old['id']}/rotate", json={"overlapSeconds": 60})
    new = answer.json()
    assert answer.status_code == 201
    assert (new["succeeds"], new["role"], new["scopes"]) == (old["id"], "viewer", old["scopes"])
    assert new["secret"] != old["secret"]
    for secret, status in ((old["secret"], 200), (new["secret"], 200)):
        async with _with(http, secret) as client:
            assert (await client.get("/api/v1/me")).status_code == status
    http.world.clock.forward(seconds=61)
    for secret, status in ((old["secret"], 401), (new["secret"], 200)):
        async with _with(http, secret) as client:
            assert (await client.get("/api/v1/me")).status_code == status
    problem(await admin.post(f"/api/v1/keys/{old['id']}/rotate", json={}), 409, "conflict")
    shown = (await admin.get(f"/api/v1/keys/{old['id']}")).json()
    assert shown["expiresAt"] is not None
    assert "secret" not in shown


async def test_a_key_is_rotated_once_and_its_successor_keeps_its_end(http: Http, admin: Any) -> None:
    old = await _made(admin, expiresInDays=30)
    new = (await admin.post(f"/api/v1/keys/{old['id']}/rotate", json={"overlapSeconds": 3600})).json()
    ends = (await admin.get(f"/api/v1/keys/{old['id']}")).json()["expiresAt"]
    said = problem(await admin.post(f"/api/v1/keys/{old['id']}/rotate", json={"overlapSeconds": 60}), 409, "conflict")
    assert new["id"] in said["detail"]
    assert (await admin.get(f"/api/v1/keys/{old['id']}")).json()["expiresAt"] == ends
    assert new["expiresAt"] == old["expiresAt"]
    again = await admin.post(f"/api/v1/keys/{new['id']}/rotate", json={})
    assert (again.status_code, again.json()["succeeds"]) == (201, new["id"])


async def test_rotation_without_an_overlap_ends_the_old_secret_at_once(http: Http, admin: Any) -> None:
    old = await _made(admin)
    new = (await admin.post(f"/api/v1/keys/{old['id']}/rotate", json={"overlapSeconds": 0})).json()
    async with _with(http, old["secret"]) as client:
        problem(await client.get("/api/v1/me"), 401, "unauthenticated")
    async with _with(http, new["secret"]) as client:
        assert (await client.get("/api/v1/me")).status_code == 200


WANTS = {"security": {"permissions": ["database"]}}


async def test_a_key_for_uploads_neither_consents_nor_activates_by_them(http: Http, admin: Any) -> None:
    key = await _made(admin, {"actions": ["upload", "read"]})
    async with _with(http, key["secret"]) as client:
        for name, fields in (("plain", {}), ("asks", WANTS)):
            files = {"package": ("p.zip", http.package(name, fields=fields))}
            answer = await client.post("/api/v1/plugins/upload", files=files, data={"activate": "true"})
            assert answer.status_code == 201, answer.text
            found = answer.json()
            assert found["plugin"]["status"] != "active"
            assert found["consentNeeded"] if fields else "narrowed" in found["notActivated"]


async def test_a_key_for_activating_consents_to_nothing(http: Http, admin: Any) -> None:
    plugin = await http.plugin(admin, "asks", fields=WANTS)
    files = {"package": ("p.zip", http.package("asks", "1.1.0", fields=WANTS))}
    await admin.post("/api/v1/plugins/upload", files=files)
    key = await _made(admin, {"actions": ["activate"], "plugin": plugin})
    async with _with(http, key["secret"]) as client:
        for path in ("upgrade", "rollback"):
            asked = {"version": "1.1.0", "grants": [{"service": "database"}]}
            said = problem(await client.post(f"/api/v1/plugins/{plugin}/{path}", json=asked), 403, "forbidden")
            assert "narrowed" in said["detail"]
        upgraded = await client.post(f"/api/v1/plugins/{plugin}/upgrade", json={"version": "1.1.0"})
        assert upgraded.status_code == 200, upgraded.text


async def test_a_key_for_installing_activates_no_listing(http: Http, admin: Any) -> None:
    await http.tenant("globex")
    plugin = await http.plugin(admin, "shown")
    published = await admin.post(f"/api/v1/plugins/{plugin}/publish")
    assert published.status_code in (200, 201), published.text
    listing = published.json()["id"]
    async with http.client(of="globex") as other:
        key = await _made(other, {"actions": ["install"]})
    async with _with(http, key["secret"]) as client:
        path = f"/api/v1/plugins/marketplace/{listing}/install"
        problem(await client.post(path, json={"activate": True}), 403, "forbidden")
        installed = await client.post(path, json={"activate": False})
        assert installed.status_code in (200, 201), installed.text


async def test_a_key_that_ends_rotates_none_that_lives_longer_but_itself(http: Http, admin: Any) -> None:
    lasting = await _made(admin)
    ends = (http.world.clock() + timedelta(days=1)).isoformat()
    short = await _made(admin, expiresAt=ends)
    async with _with(http, short["secret"]) as client:
        refused = problem(await client.post(f"/api/v1/keys/{lasting['id']}/rotate", json={}), 403, "forbidden")
        assert "lives longer than itself" in refused["detail"]
        assert (await client.post(f"/api/v1/keys/{short['id']}/rotate", json={})).status_code in (200, 201)
