"""Consent over HTTP: what is asked and why, what waits, what is answered, and which rights are used."""

from typing import Any

from plugyard.application.ports import Outcome
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Role
from plugyard.domain.permissions import Service
from plugyard.domain.rights import Right
from tests.integration.http.service import Http, pointers, problem
from tests.memory.sandbox import USED

NETWORK = {"service": "network", "hosts": ["*.acme.com"], "reason": "asks for rates"}
WANTS = {"fields": {"security": {"permissions": [NETWORK]}}}


async def upload(http: Http, client: Any, version: str = "1.0.0", *, activate: bool = False, **how: Any) -> Any:
    files = {"package": ("p.zip", http.package("greeter", version, **how))}
    answer = await client.post("/api/v1/plugins/upload", files=files, data={"activate": str(activate).lower()})
    assert answer.status_code == 201, answer.text
    return answer.json()


async def test_installing_shows_what_is_asked_with_the_reasons_and_takes_less(http: Http, admin: Any) -> None:
    plugin = (await upload(http, admin, **WANTS))["plugin"]
    (asked,) = plugin["asks"]
    assert (asked["status"], asked["reason"], asked["grant"], asked["byPolicy"]) == (
        "waiting", "asks for rates", None, False,
    )  # fmt: skip
    one = f"/api/v1/plugins/{plugin['id']}"
    bad = {"grants": [{"service": "network", "hosts": ["https://api.acme.com"]}]}
    assert pointers(problem(await admin.post(one + "/install", json=bad), 422, "invalid_input")) == {"/grants"}
    late = {"version": "0.9.0"}
    problem(await admin.post(one + "/install", json=late), 409, "conflict")
    narrowed = {"version": "1.0.0", "grants": [{"service": "network", "hosts": ["api.acme.com"], "methods": ["GET"]}]}
    installed = (await admin.post(one + "/install", json=narrowed)).json()
    assert installed["asks"][0]["status"] == "narrowed"
    assert installed["asks"][0]["grant"]["hosts"] == ["api.acme.com"]
    assert (await admin.get(one)).json()["asks"] == installed["asks"]


async def test_an_upgrade_waits_and_an_admin_consents_to_what_was_shown(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    one = f"/api/v1/plugins/{plugin_id}"
    async with http.client(Role.DEVELOPER) as developer:
        uploaded = await upload(http, developer, "1.1.0", activate=True, **WANTS)
        assert uploaded["plugin"]["waiting"]["version"] == "1.1.0"
        assert uploaded["plugin"]["version"] == "1.0.0"
        document = problem(await developer.post(one + "/upgrade", json={}), 409, "consent_required")
        assert document["permissions"] == [NETWORK]
        problem(await developer.post(one + "/consent", json={"version": "1.1.0"}), 403, "forbidden")
    (listed,) = (await admin.get("/api/v1/plugins", params={"upgrade": "waiting"})).json()["items"]
    assert (listed["id"], listed["waitingVersion"]) == (plugin_id, "1.1.0")
    shown = (await admin.get(one)).json()["waiting"]
    assert [ask["reason"] for ask in shown["asks"]] == ["asks for rates"]
    problem(await admin.post(one + "/consent", json={"version": "1.0.9"}), 409, "conflict")
    changed = (await admin.post(one + "/consent", json={"version": shown["version"]})).json()
    assert (changed["version"], changed["waiting"], changed["waitingVersion"]) == ("1.1.0", None, None)
    assert changed["grants"][0]["hosts"] == ["*.acme.com"]


async def test_an_upgrade_is_declined_with_a_reason(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    one = f"/api/v1/plugins/{plugin_id}"
    async with http.client(Role.DEVELOPER) as developer:
        await upload(http, developer, "1.1.0", activate=True, **WANTS)
    problem(await admin.post(one + "/decline", json={"version": "1.1.0", "reason": ""}), 422, "invalid_input")
    declined = (await admin.post(one + "/decline", json={"version": "1.1.0", "reason": "No need."})).json()["waiting"]
    assert (declined["declined"], declined["declinedBecause"]) == (True, "No need.")
    refused = problem(await admin.post(one + "/upgrade", json={}), 409, "consent_required")
    assert "No need." in refused["detail"]
    assert (await admin.get("/api/v1/plugins", params={"upgrade": "waiting"})).json()["items"] == []
    assert [one_["id"] for one_ in (await admin.get("/api/v1/plugins?upgrade=available")).json()["items"]] == [
        plugin_id
    ]


async def test_a_rollback_to_what_asks_for_more_takes_grants(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin, **WANTS)
    await upload(http, admin, "1.1.0", activate=True)
    one = f"/api/v1/plugins/{plugin_id}"
    problem(await admin.post(one + "/rollback", json={}), 409, "consent_required")
    back = await admin.post(one + "/rollback", json={"grants": [{"service": "network", "hosts": ["api.acme.com"]}]})
    assert (back.json()["version"], back.json()["grants"][0]["hosts"]) == ("1.0.0", ["api.acme.com"])


async def test_unused_rights_are_listed_and_dropped(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin, fields={"security": {"permissions": [NETWORK, "database"]}})
    one = f"/api/v1/plugins/{plugin_id}"
    http.world.clock.forward(days=31)
    network = [Right(Service.NETWORK, name) for name in ("", "*.acme.com", "api.acme.com")]
    outcome = Outcome(ExecutionStatus.SUCCEEDED, b"null", None, USED, used=frozenset(network))
    http.world.executor.answer("greet", outcome)
    await admin.post(one + "/execute", json={"function": "greet"})
    found = (await admin.get(one + "/rights")).json()
    assert found["unusedAfterDays"] == 30
    assert [(each["service"], each["name"], each["unused"]) for each in found["items"]] == [
        ("network", None, False), ("network", "*.acme.com", False), ("database", None, True),
    ]  # fmt: skip
    assert [each["name"] for each in found["items"][1]["seen"]] == ["api.acme.com"]
    (unused,) = (await admin.get("/api/v1/rights", params={"unused": "true"})).json()["items"]
    assert (unused["pluginId"], unused["plugin"], unused["service"]) == (plugin_id, "greeter", "database")
    assert len((await admin.post(one + "/rights/drop", json={})).json()["grants"]) == 2
    named = {"rights": [{"service": "network", "name": "api.acme.com"}]}
    assert pointers(problem(await admin.post(one + "/rights/drop", json=named), 422, "invalid_input")) == {"/rights/0"}
    both = {"unused": True, "rights": [{"service": "database"}]}
    left = (await admin.post(one + "/rights/drop", json=both)).json()
    assert [grant["service"] for grant in left["grants"]] == ["network"]
    assert {ask["service"]: ask["status"] for ask in left["asks"]} == {"network": "granted", "database": "declined"}


async def test_the_difference_between_two_versions_is_shown(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin, fields={"functions": {"greet": {"input": {"type": "object"}}}})
    tight = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    fields = {"functions": {"greet": {"input": tight}}, "security": {"permissions": [NETWORK]}}
    await upload(http, admin, "1.1.0-rc.1+build", fields=fields)
    one = f"/api/v1/plugins/{plugin_id}/versions"
    found = (await admin.get(f"{one}/1.0.0/diff/1.1.0-rc.1+build")).json()
    assert (found["before"], found["after"], found["breaking"]) == ("1.0.0", "1.1.0-rc.1+build", True)
    (permission,) = found["permissions"]
    assert (permission["change"], permission["after"]["reason"]) == ("added", "asks for rates")
    (function,) = found["functions"]
    assert {name: value for name, value in function["input"][-1].items() if name != "what"} == {
        "pointer": "/properties/name",
        "keyword": "required",
        "change": "narrowed",
        "breaking": True,
    }
    assert found["findings"] == {"appeared": [], "gone": []}
    problem(await admin.get(f"{one}/1.0.0/diff/2.0.0"), 404, "not_found")
    problem(await admin.get(f"{one}/%00/diff/%ff"), 404, "not_found")
