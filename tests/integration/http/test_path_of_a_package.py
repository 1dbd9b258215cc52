"""The whole path of a package over HTTP, with a gate and a sandbox that follow a script."""

from typing import Any

from plugyard.domain.identity import Role
from plugyard.domain.report import Consequence, Finding, Severity
from tests.integration.http.service import Http, pointers, problem
from tests.memory.sandbox import failed, succeeded


async def test_a_package_goes_from_upload_to_uninstall(http: Http, admin: Any) -> None:
    http.world.executor.answer("greet", succeeded(b'{"hello": "Ada"}'))
    uploaded = await admin.post("/api/v1/plugins/upload", files={"package": ("p.zip", http.package())})
    assert uploaded.status_code == 201, uploaded.text
    plugin = uploaded.json()["plugin"]
    assert uploaded.headers["location"] == f"/api/v1/plugins/{plugin['id']}"
    one = f"/api/v1/plugins/{plugin['id']}"
    assert plugin["status"] == "installed"
    assert (await admin.post(one + "/activate")).json()["status"] == "active"
    executed = await admin.post(one + "/execute", json={"function": "greet", "input": {"name": "Ada"}})
    assert executed.status_code == 200, executed.text
    assert executed.json()["output"] == {"hello": "Ada"}
    assert executed.json()["status"] == "succeeded"
    assert executed.json()["usage"] == {
        "wallMs": 1.5,
        "cpuMs": 0.5,
        "peakMemoryBytes": 6 << 20,
        "serviceCalls": 0,
        "start": "warm",
    }
    found = (await admin.get(f"/api/v1/executions/{executed.json()['executionId']}")).json()
    assert found["inputBytes"] == len(b'{"name":"Ada"}')
    assert (await admin.get(one + "/executions")).json()["items"] == [found]
    http.world.clock.forward(seconds=1)
    assert (await admin.get(one + "/metrics")).json()["byStatus"] == {"succeeded": 1}
    assert (await admin.get(one + "/versions")).json()["items"][0]["version"] == "1.0.0"
    assert (await admin.get(one + "/report")).json()["findings"] == []
    assert (await admin.post(one + "/deactivate")).json()["status"] == "inactive"
    assert (await admin.delete(one)).json()["status"] == "uninstalled"
    assert (await admin.get("/api/v1/plugins")).json() == {"items": [], "nextCursor": None}


async def test_the_same_bytes_again_answer_200_with_the_plugin_that_is_there(http: Http, admin: Any) -> None:
    package = {"package": ("p.zip", http.package())}
    first = await admin.post("/api/v1/plugins/upload", files=package)
    again = await admin.post("/api/v1/plugins/upload", files=package)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["plugin"]["id"] == first.json()["plugin"]["id"]
    assert again.json()["created"] is False


async def test_other_bytes_under_a_version_that_exists_answer_409(http: Http, admin: Any) -> None:
    await http.plugin(admin)
    other = {"package": ("p.zip", http.package(code="second"))}
    problem(await admin.post("/api/v1/plugins/upload", files=other), 409, "version_exists")


async def test_a_refused_package_answers_422_with_every_finding(http: Http, admin: Any) -> None:
    finding = Finding(
        "manifest.bad", Severity.ERROR, "plugin.json#/metadata/name", "bad", "because", "mend it", 3, Consequence.BLOCK
    )
    hint = Finding("manifest.hint", Severity.INFO, "plugin.json", "hint", "because", "or not")
    files = {"package": ("p.zip", http.package(findings=(finding, hint)))}
    document = problem(await admin.post("/api/v1/plugins/upload", files=files), 422, "package_refused")
    assert pointers(document) == {"plugin.json#/metadata/name"}
    assert [one["rule"] for one in document["findings"]] == ["manifest.bad", "manifest.hint"]
    assert document["findings"][0] == {
        "rule": "manifest.bad",
        "severity": "error",
        "consequence": "block",
        "where": "plugin.json#/metadata/name",
        "line": 3,
        "what": "bad",
        "why": "because",
        "mend": "mend it",
    }
    assert list(http.uploads.iterdir()) == []


async def test_an_execution_that_failed_answers_200_with_its_error(http: Http, admin: Any) -> None:
    http.world.executor.answer("greet", failed())
    plugin_id = await http.plugin(admin)
    answer = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    assert answer.status_code == 200
    assert answer.json()["output"] is None
    assert answer.json()["error"] == {
        "code": "plugin_error",
        "message": "it broke",
        "stack": None,
        "limit": None,
        "used": None,
    }


async def test_a_wrong_state_names_itself_and_what_is_allowed(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin, activate=False)
    answer = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    document = problem(answer, 409, "wrong_state")
    assert document["state"] == "installed"
    assert "activate" in document["allowed"]


async def test_a_function_that_does_not_exist_answers_404_with_those_that_do(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    answer = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "grete"})
    assert problem(answer, 404, "function_not_found")["available"] == ["greet"]


async def test_input_that_does_not_fit_the_functions_schema_answers_422_with_pointers(http: Http, admin: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    plugin_id = await http.plugin(admin, fields={"functions": {"greet": {"input": schema}}})
    answer = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet", "input": {"n": "1"}})
    assert pointers(problem(answer, 422, "invalid_input")) == {"/input/n"}


async def test_secrets_are_set_by_merge_patch_and_never_read_back(http: Http, admin: Any) -> None:
    schema = {
        "type": "object",
        "properties": {
            "currency": {"type": "string", "default": "EUR"},
            "token": {"type": "string", "writeOnly": True},
        },
    }
    plugin_id = await http.plugin(admin, fields={"configuration": schema})
    one = f"/api/v1/plugins/{plugin_id}"
    patch = {"currency": "USD", "token": "very-secret"}
    answer = await admin.patch(one + "/config", json=patch, headers={"content-type": "application/merge-patch+json"})
    assert answer.json()["configuration"] == {"currency": "USD", "token": "********"}
    assert "very-secret" not in (await admin.get(one)).text
    wrong = await admin.patch(one + "/config", json={"currency": 3})
    assert pointers(problem(wrong, 422, "invalid_input")) == {"/currency"}


async def test_an_idempotency_key_replays_the_first_answer_and_says_so(http: Http, admin: Any) -> None:
    http.world.executor.answer("greet", succeeded(b"[1, 2]"))
    plugin_id = await http.plugin(admin)
    url, headers = f"/api/v1/plugins/{plugin_id}/execute", {"Idempotency-Key": "order-1"}
    first = await admin.post(url, json={"function": "greet"}, headers=headers)
    again = await admin.post(url, json={"function": "greet"}, headers=headers)
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert again.json() == first.json()
    assert len(http.world.executor.invocations) == 1
    other = await admin.post(url, json={"function": "greet", "input": 1}, headers=headers)
    problem(other, 422, "idempotency_mismatch")


async def test_a_listing_is_published_found_installed_and_rated(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    listing = (await admin.post(f"/api/v1/plugins/{plugin_id}/publish")).json()
    await http.tenant("other")
    async with http.client(of="other") as other:
        market = "/api/v1/plugins/marketplace"
        assert [one["id"] for one in (await other.get(market + "?q=greets")).json()["items"]] == [listing["id"]]
        assert (await other.get(market + "/categories")).json() == {"items": [{"name": "utility", "count": 1}]}
        one = f"{market}/{listing['id']}"
        installed = await other.post(one + "/install", json={"activate": True})
        assert installed.status_code == 201, installed.text
        assert installed.json()["status"] == "active"
        rated = await other.put(one + "/rating", json={"stars": 4, "review": "Kind.\nAnd quick."})
        assert (rated.json()["stars"], rated.json()["mine"]) == (4, True)
        assert len((await other.get(one + "/ratings")).json()["items"]) == 1
        assert (await other.get(one)).json()["rating"] == 4.0
        assert len((await other.get(market + "/featured")).json()["items"]) == 1
    withdrawn = await admin.post(f"/api/v1/plugins/{plugin_id}/withdraw")
    assert withdrawn.json()["withdrawnAt"] is not None
    problem(await admin.post(f"/api/v1/plugins/{plugin_id}/withdraw"), 409, "conflict")


async def test_upgrade_and_rollback_move_between_versions(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    second = {"package": ("p.zip", http.package(version="1.1.0"))}
    await admin.post("/api/v1/plugins/upload", files=second)
    one = f"/api/v1/plugins/{plugin_id}"
    assert (await admin.post(one + "/upgrade")).json()["version"] == "1.1.0"
    assert (await admin.post(one + "/rollback", json={"version": "1.0.0"})).json()["version"] == "1.0.0"
    problem(await admin.post(one + "/rollback", json={"version": "9.0.0"}), 404, "not_found")


async def test_keys_are_made_shown_once_and_revoked(http: Http, admin: Any) -> None:
    asked = {"name": "pipeline", "role": "developer", "expiresInDays": 1}
    made = (await admin.post("/api/v1/keys", json=asked)).json()
    assert made["expiresAt"] == "2026-03-02T12:00:00Z"
    async with http.client(None, Authorization=f"Bearer {made['secret']}") as theirs:
        assert (await theirs.get("/api/v1/me")).json()["role"] == "developer"
        listed = (await admin.get("/api/v1/keys")).json()["items"]
        assert made["id"] in {one["id"] for one in listed}
        assert made["secret"] not in str(listed)
        revoked = await admin.delete(f"/api/v1/keys/{made['id']}")
        assert revoked.json()["revokedAt"] is not None
        problem(await theirs.get("/api/v1/me"), 401, "unauthenticated")
    problem(await admin.post("/api/v1/keys", json={"name": "x", "role": "operator"}), 403, "forbidden")


async def test_an_operator_makes_tenants_and_acts_in_one_that_it_names(http: Http) -> None:
    async with http.client(Role.OPERATOR) as operator:
        made = await operator.post("/api/v1/tenants", json={"slug": "globex", "name": "Globex"})
        assert made.status_code == 201, made.text
        assert made.json()["key"]["role"] == "admin"
        problem(await operator.post("/api/v1/tenants", json={"slug": "globex", "name": "G"}), 409, "name_taken")
        problem(await operator.get("/api/v1/plugins"), 422, "tenant_required")
        inside = {"Plugyard-Tenant": "globex"}
        assert (await operator.get("/api/v1/tenant", headers=inside)).json()["slug"] == "globex"
        problem(await operator.get("/api/v1/tenant", headers={"Plugyard-Tenant": "nobody"}), 404, "not_found")
        one = f"/api/v1/tenants/{made.json()['tenant']['id']}"
        denied = await operator.patch(one, json={"modulesDenied": ["pickle", "node:crypto", "pickle"]})
        assert denied.json() == {**made.json()["tenant"], "modulesDenied": ["node:crypto", "pickle"]}
        bad = await operator.patch(one, json={"modulesDenied": ["no module!", "fine"]})
        assert pointers(problem(bad, 422, "invalid_input")) == {"/modulesDenied/0"}
    async with http.client(None, Authorization=f"Bearer {made.json()['key']['secret']}") as theirs:
        policy = await theirs.patch("/api/v1/tenant/policy", json={"autoGrant": ["events", "cache"]})
        assert policy.json()["policy"]["autoGrant"] == ["cache", "events"]
        assert policy.json()["modulesDenied"] == ["node:crypto", "pickle"]
        problem(await theirs.patch(one, json={"modulesDenied": []}), 403, "forbidden")
        assert next(one["action"] for one in (await theirs.get("/api/v1/audit")).json()["items"]) == (
            "tenant.policy_changed"
        )
