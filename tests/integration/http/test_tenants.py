"""Tenants over HTTP: bounded, used up, suspended, and seen."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from plugyard.domain.errors import StoreUnavailable
from plugyard.domain.identity import Role
from tests.integration.http.service import KEYS, MISSING, Http, pointers, problem


async def acme(operator: Any) -> str:
    found = (await operator.get("/api/v1/tenants")).json()["items"]
    return str(next(one["id"] for one in found if one["slug"] == "acme"))


async def test_an_operator_bounds_a_tenant_and_the_tenant_sees_it(http: Http, admin: Any) -> None:
    async with http.client(Role.OPERATOR) as operator:
        tenant_id = await acme(operator)
        asked = {
            "ceilings": {"memory": 64, "inFlight": 2},
            "grantable": ["cache", "events"],
            "autoGrantable": [],
            "quotas": {"plugins": 1, "storageBytes": None},
        }
        changed = (await operator.patch(f"/api/v1/tenants/{tenant_id}", json=asked)).json()
        assert changed["bounds"]["ceilings"]["memory"] == 64
        assert changed["bounds"]["ceilings"]["timeout"] is None
        assert changed["bounds"]["grantable"] == ["cache", "events"]
        again = (await operator.patch(f"/api/v1/tenants/{tenant_id}", json={"quotas": {"plugins": "default"}})).json()
        assert again["bounds"]["quotas"]["plugins"] is None
        assert again["bounds"]["ceilings"]["memory"] == 64
        assert (await operator.get(f"/api/v1/tenants/{tenant_id}")).json() == again
    seen = (await admin.get("/api/v1/tenant")).json()
    assert seen["bounds"] == again["bounds"]
    assert seen["quotas"]["plugins"] == {"limit": None, "used": 0}
    document = problem(await admin.patch("/api/v1/tenant/policy", json={"autoGrant": ["cache"]}), 422, "invalid_input")
    assert pointers(document) == {"/autoGrant"}


async def test_bounds_that_make_no_sense_are_refused_by_name(http: Http) -> None:
    async with http.client(Role.OPERATOR) as operator:
        address = f"/api/v1/tenants/{await acme(operator)}"
        for asked in (
            {"quotas": {"plugins": -1}},
            {"quotas": {"plugins": "none"}},
            {"quotas": {"plugin": 1}},
            {"ceilings": {"memory": 1}},
            {"grantable": ["logger"]},
            {"grantable": None},
        ):
            problem(await operator.patch(address, json=asked), 422, "invalid_input")
        problem(await operator.patch(f"/api/v1/tenants/{MISSING}", json={}), 404, "not_found")


async def test_every_quota_is_answered_alike(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    async with http.client(Role.OPERATOR) as operator:
        address = f"/api/v1/tenants/{await acme(operator)}"
        await operator.patch(address, json={"quotas": {"plugins": 1, "executionsPerMinute": 1}})
    files = {"package": ("p.zip", http.package("second", code="other"))}
    document = problem(await admin.post("/api/v1/plugins/upload", files=files), 429, "quota_exceeded")
    assert (document["quota"], document["limit"], document["used"]) == ("plugins", 1, 1)
    execute = f"/api/v1/plugins/{plugin_id}/execute"
    assert (await admin.post(execute, json={"function": "greet"})).status_code == 200
    answer = await admin.post(execute, json={"function": "greet"})
    document = problem(answer, 429, "quota_exceeded")
    assert (document["quota"], document["limit"], document["used"]) == ("executionsPerMinute", 1, 1)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    quotas = (await admin.get("/api/v1/tenant")).json()["quotas"]
    assert quotas["executionsPerMinute"] == {"limit": 1, "used": 1}
    assert quotas["executionsPerDay"] == {"limit": None, "used": 1}


async def test_a_suspended_tenant_s_keys_are_told_why_and_nothing_else(http: Http, admin: Any) -> None:
    await http.tenant("other")
    plugin_id = await http.plugin(admin)
    async with http.client(Role.OPERATOR) as operator, http.client(of="other") as other:
        address = f"/api/v1/tenants/{await acme(operator)}"
        problem(await operator.post(f"{address}/suspend", json={}), 422, "invalid_input")
        suspended = (await operator.post(f"{address}/suspend", json={"reason": "The bill is open."})).json()
        assert (suspended["state"], suspended["suspendedBecause"]) == ("suspended", "The bill is open.")
        attempts = [
            ("GET", "/api/v1/me"),
            ("GET", "/api/v1/plugins"),
            ("GET", f"/api/v1/plugins/{MISSING}"),
            ("POST", f"/api/v1/plugins/{plugin_id}/execute"),
            ("POST", "/api/v1/plugins/upload"),
        ]
        for role in (Role.VIEWER, Role.ADMIN):
            async with http.client(role) as client:
                for method, path in attempts:
                    document = problem(await client.request(method, path, json={}), 403, "tenant_suspended")
                    assert document["reason"] == "The bill is open."
        assert (await other.get("/api/v1/me")).status_code == 200
        seen = await operator.get(f"/api/v1/plugins/{plugin_id}", headers={"Plugyard-Tenant": "acme"})
        assert seen.status_code == 200
        assert (await operator.post(f"{address}/resume")).json()["state"] == "active"
        assert (await admin.get("/api/v1/me")).status_code == 200
        problem(await operator.post(f"{address}/resume"), 409, "conflict")


async def test_another_tenant_cannot_reach_what_is_an_operator_s(http: Http, admin: Any) -> None:
    async with http.client(Role.OPERATOR) as operator:
        tenant_id = await acme(operator)
    for path in (f"/api/v1/tenants/{tenant_id}", f"/api/v1/tenants/{MISSING}"):
        for method, place, body in (("GET", "", None), ("PATCH", "", {}), ("POST", "/suspend", {"reason": "x"})):
            problem(await admin.request(method, path + place, json=body), 403, "forbidden")


async def test_a_tenant_is_exported_and_then_deleted_by_what_its_export_says(http: Http, admin: Any) -> None:
    await http.tenant("other")
    plugin_id = await http.plugin(admin)
    own = await admin.get("/api/v1/tenant/export")
    assert (own.status_code, own.headers["content-type"]) == (200, "application/zip")
    assert own.headers["content-disposition"].startswith("attachment; filename=")
    with zipfile.ZipFile(io.BytesIO(own.content)) as archive:
        assert plugin_id.encode() in archive.read("plugins.jsonl")
        assert json.loads(archive.read("manifest.json"))["confirmation"] is None
    async with http.client(Role.DEVELOPER) as developer:
        problem(await developer.get("/api/v1/tenant/export"), 403, "forbidden")
    async with http.client(Role.OPERATOR) as operator, http.client(of="other") as other:
        tenant_id = await acme(operator)
        address = f"/api/v1/tenants/{tenant_id}"
        for client in (admin, other):
            problem(await client.get(f"{address}/export"), 403, "forbidden")
            problem(await client.delete(address), 403, "forbidden")
        problem(await operator.get(f"/api/v1/tenants/{MISSING}/export"), 404, "not_found")
        problem(await operator.delete(address), 409, "conflict")
        await operator.post(f"{address}/suspend", json={"reason": "They leave."})
        document = problem(await operator.delete(address, params={"confirmation": "a guess"}), 422, "invalid_input")
        assert pointers(document) == {"query/confirmation"}
        with zipfile.ZipFile(io.BytesIO((await operator.get(f"{address}/export")).content)) as archive:
            confirmation = json.loads(archive.read("manifest.json"))["confirmation"]
        going = await operator.delete(address, params={"confirmation": confirmation})
        assert (going.status_code, going.json()["state"]) == (202, "deleting")
        await http.world.quiet()
        problem(await operator.get(address), 404, "not_found")
        problem(await admin.get("/api/v1/me"), 401, "unauthenticated")
        assert (await other.get("/api/v1/me")).status_code == 200


async def test_a_head_of_an_export_makes_none(http: Http, admin: Any) -> None:
    answer = await admin.head("/api/v1/tenant/export")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_an_export_that_breaks_off_is_seen_to_be_broken(http: Http, admin: Any, monkeypatch: Any) -> None:
    await http.plugin(admin)

    async def breaks(key: str) -> AsyncIterator[bytes]:
        yield b"the beginning"
        raise StoreUnavailable

    monkeypatch.setattr(http.world.objects, "pieces", breaks)
    headers = {"Authorization": f"Bearer {KEYS[Role.ADMIN]}"}
    async with http.served() as url, httpx.AsyncClient(base_url=url, headers=headers) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/api/v1/tenant/export")
        assert (await client.get("/api/v1/me")).status_code == 200


async def test_a_tenant_exports_only_so_much_at_a_time(http: Http, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugyard.http.tenants.MAX_EXPORTS", 0)
    problem(await admin.get("/api/v1/tenant/export"), 429, "overloaded")
    monkeypatch.setattr("plugyard.http.audit.MAX_EXPORTS", 0)
    problem(await admin.get("/api/v1/audit/export"), 429, "overloaded")
