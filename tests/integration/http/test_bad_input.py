"""What bad requests get: a problem document that names what is wrong, and never a 5xx, a hang or a trace."""

import base64
import json
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugyard.cli.signing import SigningKey
from plugyard.domain.identity import LOWEST_ROLE, Role
from plugyard.http.app import OPERATIONS
from plugyard.http.operations import Operation
from plugyard.http.uploads import MULTIPART
from tests.integration.http.service import KEYS, MISSING, Http, pointers, problem

WITH_JSON = [one for one in OPERATIONS if one.body is not None and MULTIPART not in one.body.media_types]
TAKING_IDS = [one for one in OPERATIONS if one.path_names]
_ROLES = list(Role)


def url(one: Operation, id_: str = MISSING) -> str:
    """The operation's address with an id in it."""
    return re.sub(r"{\w+}", id_, one.path)


def named(one: Operation) -> str:
    return one.id


def good_body(one: Operation) -> dict[str, Any]:
    """Something that the operation would read without complaint."""
    if one.body is None or not one.body.examples:
        return {}
    example = next(iter(one.body.examples.values()))
    return {"json": example}


def role_for(one: Operation) -> Role:
    """The operator for the operator's own, else the admin."""
    return Role.OPERATOR if one.action is not None and LOWEST_ROLE[one.action] is Role.OPERATOR else Role.ADMIN


@pytest.mark.parametrize("one", OPERATIONS, ids=named)
@pytest.mark.parametrize("given", [None, "Bearer", "Bearer ", "Basic YTpi", "Bearer plugyard_wrong", "Bearer \x7f"])
async def test_every_operation_wants_a_valid_key(http: Http, one: Operation, given: str | None) -> None:
    async with http.client(None) as client:
        answer = await client.request(one.method, url(one), headers={"Authorization": given} if given else {})
        problem(answer, 401, "unauthenticated")
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("one", [one for one in OPERATIONS if one.action], ids=named)
async def test_a_role_that_is_too_low_is_told_which_one_is_needed(http: Http, one: Operation) -> None:
    assert one.action is not None
    needed = LOWEST_ROLE[one.action]
    for role in _ROLES[: _ROLES.index(needed)]:
        async with http.client(role) as client:
            answer = await client.request(one.method, url(one))
            assert needed.value in problem(answer, 403, "forbidden")["detail"]


async def test_a_jwt_answers_501_until_its_time_comes(http: Http) -> None:
    async with http.client(None, Authorization="Bearer aaa.bbb.ccc") as client:
        problem(await client.get("/api/v1/plugins"), 501, "not_offered")


@pytest.mark.parametrize("one", TAKING_IDS, ids=named)
async def test_a_missing_a_foreign_and_a_senseless_id_get_the_same_answer(
    http: Http, admin: Any, one: Operation
) -> None:
    plugin_id = await http.plugin(admin)
    executed = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    key = await admin.post("/api/v1/keys", json={"name": "k", "role": "viewer"})
    foreign = {"pluginId": plugin_id, "executionId": executed.json()["executionId"], "keyId": key.json()["id"]}
    await http.tenant("other")
    answers = []
    async with http.client(role_for(one), of="other") as other:
        for id_ in (MISSING, foreign.get(one.path_names[0], MISSING), "nonsense", "%00", "..%2f..", "é" * 300, "{}"):
            document = problem(await other.request(one.method, url(one, id_), **good_body(one)), 404, "not_found")
            del document["instance"], document["requestId"]
            answers.append(document)
    assert all(document == answers[0] for document in answers)


@pytest.mark.parametrize("one", [one for one in OPERATIONS if not one.any_query], ids=named)
async def test_an_unknown_query_parameter_is_refused_by_name(http: Http, one: Operation) -> None:
    async with http.client(role_for(one)) as client:
        answer = await client.request(one.method, url(one) + "?nonsense=1", **good_body(one))
        assert pointers(problem(answer, 422, "invalid_input")) == {"query/nonsense"}


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=101",
        "limit=-1",
        "limit=ten",
        "limit=1.0",
        "limit=",
        "limit=%2B5",
        "limit=٣",
        "limit=1&limit=2",
        "limit=" + "9" * 5000,
        "cursor=nonsense",
        "cursor=",
        "cursor=%00",
        "status=asleep",
        "sort=price",
        "q=",
        "q=%00",
        "q=%ff",
        "q=" + "x" * 201,
        "author=a%0Ab",
        "permission=everything",
        "&".join(f"p{n}=1" for n in range(200)),
        "q=" + "x" * 9000,
    ],
)
async def test_a_bad_query_answers_422(http: Http, admin: Any, query: str) -> None:
    problem(await admin.get("/api/v1/plugins?" + query), 422, "invalid_input")


@pytest.mark.parametrize("query", ["since=yesterday", "until=2026-01-01T00:00:00", "since=2026-13-01T00:00:00Z"])
async def test_a_bad_moment_answers_422(http: Http, admin: Any, query: str) -> None:
    document = problem(await admin.get(f"/api/v1/plugins/{MISSING}/metrics?{query}"), 422, "invalid_input")
    assert pointers(document) == {"query/" + query.partition("=")[0]}


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00%2B23:59", "9999-12-31T23:59:59-23:59"])
async def test_the_ends_of_time_are_read(http: Http, admin: Any, moment: str) -> None:
    plugin_id = await http.plugin(admin)
    answer = await admin.get(f"/api/v1/plugins/{plugin_id}/executions?since={moment}&until={moment}")
    assert answer.json() == {"items": [], "nextCursor": None}


@pytest.mark.parametrize("path", ["/api/v1/keys", "/api/v1/operator-keys"])
@pytest.mark.parametrize("end", ["9999-12-31T23:59:59-01:00", "9999-12-31T23:59:59-23:59"])
async def test_a_key_may_end_with_time_itself(http: Http, path: str, end: str) -> None:
    async with http.client(Role.OPERATOR if "operator" in path else Role.ADMIN) as client:
        body = {"name": "k", "expiresAt": end} | ({} if "operator" in path else {"role": "viewer"})
        answer = await client.post(path, json=body)
        assert (answer.status_code, answer.json()["expiresAt"]) == (201, "9999-12-31T23:59:59.999999Z")
        problem(await client.post(path, json={**body, "expiresAt": "0001-01-01T00:00:00+14:00"}), 422, "invalid_input")


async def test_a_publisher_key_may_be_invalid_from_the_beginning_of_time(http: Http, admin: Any) -> None:
    key = SigningKey(Ed25519PrivateKey.generate())
    proof = key.proof((await admin.get("/api/v1/tenant")).json()["id"])
    body = {"name": "ci", "publicKey": base64.b64encode(key.public).decode(), "proof": proof}
    revoke = f"/api/v1/publisher-keys/{(await admin.post('/api/v1/publisher-keys', json=body)).json()['id']}/revoke"
    late = {"reason": "It leaked.", "invalidFrom": "9999-12-31T23:59:59-01:00"}
    problem(await admin.post(revoke, json=late), 422, "invalid_input")
    answer = await admin.post(revoke, json={**late, "invalidFrom": "0001-01-01T00:00:00+14:00"})
    assert (answer.status_code, answer.json()["invalidFrom"]) == (200, "0001-01-01T00:00:00Z")


JSON_FAULTS = [
    (b"{", 400, "malformed_json"),
    (b'{"a": NaN}', 400, "malformed_json"),
    (b"\xff\xfe", 400, "malformed_json"),
    (b'{"\xff": 1}', 400, "malformed_json"),
    (b'{"a": "\\ud800"}', 400, "malformed_json"),
    (b"\xef\xbb\xbf{}", 400, "malformed_json"),
    (b"{} {}", 400, "malformed_json"),
    (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400, "malformed_json"),
    (b"[]", 422, "invalid_input"),
    (b'"text"', 422, "invalid_input"),
    (b"null", 422, "invalid_input"),
    (b"1", 422, "invalid_input"),
    (b'{"a": 1e999}', 422, "invalid_input"),
    (b'{"a": ' + b"9" * 5000 + b"}", 422, "invalid_input"),
]


@pytest.mark.parametrize("one", WITH_JSON, ids=named)
@pytest.mark.parametrize(("raw", "status", "code"), JSON_FAULTS, ids=lambda value: str(value)[:20])
async def test_a_body_that_is_no_json_object_is_refused(
    http: Http, one: Operation, raw: bytes, status: int, code: str
) -> None:
    async with http.client(role_for(one)) as client:
        answer = await client.request(one.method, url(one), content=raw, headers={"content-type": "application/json"})
        if answer.status_code == 422 and status == 400:
            # A field that is refused before the reader comes to the fault.
            status, code = 422, "invalid_input"
        problem(answer, status, code)


@pytest.mark.parametrize("one", [one for one in WITH_JSON if one.id != "configurePlugin"], ids=named)
async def test_an_unknown_field_is_refused_by_name(http: Http, one: Operation) -> None:
    async with http.client(role_for(one)) as client:
        body = {**good_body(one)["json"], "nonsense": 1, "a/b~c": 2}
        document = problem(await client.request(one.method, url(one), json=body), 422, "invalid_input")
        assert pointers(document) == {"/nonsense", "/a~1b~0c"}


@pytest.mark.parametrize("one", WITH_JSON, ids=named)
async def test_a_name_that_stands_twice_is_refused(http: Http, one: Operation) -> None:
    assert one.body is not None
    async with http.client(role_for(one)) as client:
        example = good_body(one)["json"] or {"version": "1.0.0", "grants": None}
        name, value = next(iter(example.items())) if one.id != "installListing" else ("activate", True)
        text = json.dumps({name: value})
        raw = f"{text[:-1]}, {text[1:]}".encode()
        if one.id in ("executeFunction", "createKey", "createTenant", "rateListing", "setPolicy", "declineUpgrade") or (
            one.id in ("registerPublisherKey", "namePublisher", "createWebhook")
        ):
            rest = json.dumps(good_body(one)["json"])
            raw = f"{rest[:-1]}, {text[1:]}".encode()
        answer = await client.request(one.method, url(one), content=raw, headers={"content-type": "application/json"})
        assert pointers(problem(answer, 422, "invalid_input")) == {f"/{name}"}


@pytest.mark.parametrize("one", WITH_JSON, ids=named)
@pytest.mark.parametrize(
    "media", ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1", "json", ""]
)
async def test_another_media_type_answers_415(http: Http, one: Operation, media: str) -> None:
    async with http.client(role_for(one)) as client:
        headers = {"content-type": media} if media else {}
        answer = await client.request(one.method, url(one), content=b"{}", headers=headers)
        problem(answer, 415, "unsupported_media_type")


@pytest.mark.parametrize("one", WITH_JSON, ids=named)
@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_answers_413_also_without_a_length(
    http: Http, one: Operation, announced: bool
) -> None:
    async def pieces() -> Any:
        for _ in range(60):
            yield b" " * 100_000

    content: Any = b" " * 6_000_000 if announced else pieces()
    async with http.client(role_for(one)) as client:
        headers = {"content-type": "application/json"}
        problem(await client.request(one.method, url(one), content=content, headers=headers), 413, "too_large")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "/function"),
        ({"function": 1}, "/function"),
        ({"function": ""}, "/function"),
        ({"function": "x" * 201}, "/function"),
        ({"function": "f", "timeoutMs": True}, "/timeoutMs"),
        ({"function": "f", "timeoutMs": 0}, "/timeoutMs"),
        ({"function": "f", "timeoutMs": 300_001}, "/timeoutMs"),
        ({"function": "f", "timeoutMs": 1.5}, "/timeoutMs"),
        ({"function": "f", "mode": "later"}, "/mode"),
        ({"function": "f", "limits": 5}, "/limits"),
        ({"function": "f", "limits": {"memory": "64"}}, "/limits/memory"),
        ({"function": "f", "limits": {"memory": 31}}, "/limits/memory"),
        ({"function": "f", "limits": {"cpu": 0}}, "/limits/cpu"),
        ({"function": "f", "limits": {"logLines": -1}}, "/limits/logLines"),
        ({"function": "f", "limits": {"inFlight": 17}}, "/limits/inFlight"),
        ({"function": "f", "limits": {"startup": 1.5}}, "/limits/startup"),
        ({"function": "f", "limits": {"output": True}}, "/limits/output"),
        ({"function": "f", "limits": {"disk": 1}}, "/limits/disk"),
        ({"function": "f", "limits": {"serviceCalls": 10**20}}, "/limits/serviceCalls"),
    ],
)
async def test_execute_names_the_field_that_does_not_fit(
    http: Http, admin: Any, body: dict[str, Any], where: str
) -> None:
    answer = await admin.post(f"/api/v1/plugins/{MISSING}/execute", json=body)
    assert pointers(problem(answer, 422, "invalid_input")) == {where}


async def test_every_limit_that_does_not_fit_is_named_at_once_and_no_name_may_stand_twice(
    http: Http, admin: Any
) -> None:
    where = f"/api/v1/plugins/{MISSING}/execute"
    answer = await admin.post(where, json={"function": "f", "limits": {"stack": 1, "cpu": "x", "serviceRate": 0}})
    assert pointers(problem(answer, 422, "invalid_input")) == {"/limits/stack", "/limits/cpu", "/limits/serviceRate"}
    raw = b'{"function": "f", "limits": {"memory": 64, "memory": 128}}'
    answer = await admin.post(where, content=raw, headers={"content-type": "application/json"})
    assert pointers(problem(answer, 422, "invalid_input")) == {"/memory"}


async def test_all_faults_come_at_once(http: Http, admin: Any) -> None:
    body = {"stars": 6, "review": "x" * 2001, "nonsense": 1}
    answer = await admin.put(f"/api/v1/plugins/marketplace/{MISSING}/rating", json=body)
    assert pointers(problem(answer, 422, "invalid_input")) == {"/stars", "/review", "/nonsense"}


async def test_a_number_written_as_4_0_is_the_integer_that_json_schema_says(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    raw = b'{"function": "greet", "timeoutMs": 2000.0, "limits": {"cpu": 900.0}, "input": {"n": 1.0}}'
    answer = await admin.post(
        f"/api/v1/plugins/{plugin_id}/execute", content=raw, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 200, answer.text
    asked = http.world.executor.invocations[-1]
    assert (asked.limits.timeout_ms, asked.limits.cpu_ms, asked.input) == (2000, 900, b'{"n": 1.0}')


@pytest.mark.parametrize("key", ["", "x" * 256, "two words", "é"])
async def test_an_idempotency_key_of_another_shape_is_refused(http: Http, admin: Any, key: str) -> None:
    answer = await admin.post(
        f"/api/v1/plugins/{MISSING}/execute",
        json={"function": "f"},
        headers=[(b"Idempotency-Key", key.encode("latin-1"))],
    )
    assert pointers(problem(answer, 422, "invalid_input")) == {"header/Idempotency-Key"}


async def test_secrets_in_a_configuration_may_not_hold_what_no_database_keeps(http: Http, admin: Any) -> None:
    for patch, where in [({"a": "\0"}, "/a"), ({"a": {"b": ["\0"]}}, "/a/b/0"), ({"\0": 1}, "")]:
        answer = await admin.patch(f"/api/v1/plugins/{MISSING}/config", json=patch)
        assert pointers(problem(answer, 422, "invalid_input")) == {where}


async def test_routes_and_methods_that_are_not_there_answer_problems(http: Http, admin: Any) -> None:
    problem(await admin.get("/api/v2/plugins"), 404, "route_not_found")
    problem(await admin.get("/api/v1/plugins/%2e%2e/%2e%2e/nothing"), 404, "route_not_found")
    answer = await admin.put("/api/v1/plugins")
    problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"
    options = await admin.options(f"/api/v1/plugins/{MISSING}")
    assert (options.status_code, options.headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS")
    problem(await admin.request("BREW", "/api/v1/plugins"), 405, "method_not_allowed")


async def test_an_error_that_nobody_expected_answers_500_without_its_inside(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    http.world.executor.failing = RuntimeError("the password is swordfish")
    answer = await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"})
    problem(answer, 500, "internal_error")
    assert "swordfish" not in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize("given", ["x" * 65, "two words", "", "ünï"])
async def test_a_request_id_of_another_shape_is_replaced(http: Http, admin: Any, given: str) -> None:
    answer = await admin.get("/api/v1/me", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    assert answer.headers["x-request-id"] != given
    assert (await admin.get("/api/v1/me", headers={"X-Request-Id": "mine-1"})).headers["x-request-id"] == "mine-1"


async def test_no_secret_is_logged(http: Http, admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    plugin_id = await http.plugin(admin)
    await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet", "input": "swordfish"})
    await admin.post("/api/v1/keys", json={"name": "k", "role": "viewer"})
    said = capsys.readouterr()
    assert "request" in said.out + said.err
    assert "executionId=" in said.out + said.err
    assert "tenantId=" in said.out + said.err
    for secret in (KEYS[Role.ADMIN], "swordfish", "plugyard_"):
        assert secret not in said.out + said.err
