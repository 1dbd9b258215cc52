"""Asynchronous executions and dead letters over HTTP."""

from typing import Any

from plugyard.domain.identity import Role
from tests.integration.http.service import MISSING, Http, problem
from tests.memory.sandbox import failed, succeeded


async def queued(client: Any, plugin_id: str, **more: Any) -> Any:
    body = {"function": "greet", "mode": "async", **more}
    answer = await client.post(f"/api/v1/plugins/{plugin_id}/execute", json=body)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/v1/executions/{answer.json()['executionId']}"
    return answer.json()


async def test_async_answers_202_and_the_result_is_fetched_when_it_has_ended(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    http.world.executor.answer("greet", succeeded(b'{"a":"\xc3\xa4"}'))
    made = await queued(admin, plugin_id, input={"n": 1}, priority="high")
    assert (made["status"], made["inputBytes"], made["endedAt"]) == ("queued", 7, None)
    one = f"/api/v1/executions/{made['executionId']}"
    assert (await admin.get(one)).json() == made
    problem(await admin.get(one + "/result"), 409, "conflict")
    listed = await admin.get(f"/api/v1/plugins/{plugin_id}/executions", params={"status": "queued"})
    assert [each["executionId"] for each in listed.json()["items"]] == [made["executionId"]]
    await http.world.work()
    ended = (await admin.get(one)).json()
    assert (ended["status"], ended["queuedAt"], len(ended["attempts"])) == ("succeeded", made["queuedAt"], 1)
    result = (await admin.get(one + "/result")).json()
    assert (result["status"], result["output"], result["executionId"]) == ("succeeded", {"a": "ä"}, made["executionId"])


async def test_another_tenant_sees_nothing_of_what_waits(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    made = await queued(admin, plugin_id)
    await http.tenant("other")
    async with http.client(of="other") as stranger:
        for path in (f"/api/v1/executions/{made['executionId']}", f"/api/v1/executions/{made['executionId']}/result"):
            problem(await stranger.get(path), 404, "not_found")
        problem(await stranger.post(f"/api/v1/executions/{made['executionId']}/cancel"), 404, "not_found")


async def test_a_repeat_under_one_key_answers_202_again_and_is_queued_once(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    body = {"function": "greet", "mode": "async"}
    answers = [
        await admin.post(f"/api/v1/plugins/{plugin_id}/execute", json=body, headers={"Idempotency-Key": "order-1"})
        for _ in range(2)
    ]
    assert [one.status_code for one in answers] == [202, 202]
    assert answers[0].json()["executionId"] == answers[1].json()["executionId"]
    assert [one.headers.get("idempotency-replayed") for one in answers] == [None, "true"]
    other = {**body, "priority": "low"}
    refused = await admin.post(
        f"/api/v1/plugins/{plugin_id}/execute", json=other, headers={"Idempotency-Key": "order-1"}
    )
    problem(refused, 422, "idempotency_mismatch")
    assert await http.world.work() == 1


async def test_one_that_waits_is_cancelled(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    made = await queued(admin, plugin_id)
    answer = await admin.post(f"/api/v1/executions/{made['executionId']}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert await http.world.work() == 0
    problem(await admin.post(f"/api/v1/executions/{made['executionId']}/cancel"), 409, "conflict")


async def test_what_is_wrong_with_an_async_request_is_said_at_once(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    one = f"/api/v1/plugins/{plugin_id}/execute"
    body = {"function": "greet", "mode": "async"}
    problem(await admin.post(one, json={**body, "priority": "urgent"}), 422, "invalid_input")
    problem(await admin.post(one, json={**body, "function": "nothing"}), 404, "function_not_found")
    problem(await admin.post(one, json={**body, "input": "a" * (1 << 20)}), 413, "too_large")
    problem(await admin.post(f"/api/v1/plugins/{MISSING}/execute", json=body), 404, "not_found")


async def test_dead_letters_are_listed_shown_replayed_and_dropped(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    http.world.executor.answer("greet", failed(message="no such order"))
    first, second = await queued(admin, plugin_id, input={"n": 1}), await queued(admin, plugin_id)
    await http.world.work()
    listed = (await admin.get("/api/v1/dead-letters", params={"limit": 1})).json()
    rest = (await admin.get("/api/v1/dead-letters", params={"limit": 1, "cursor": listed["nextCursor"]})).json()
    found = [one["executionId"] for one in listed["items"] + rest["items"]]
    assert sorted(found) == sorted([first["executionId"], second["executionId"]])
    for plugin, count in ((plugin_id, 2), (MISSING, 0), ("none", 0)):
        of_it = (await admin.get("/api/v1/dead-letters", params={"plugin": plugin})).json()
        assert len(of_it["items"]) == count
    one = f"/api/v1/dead-letters/{first['executionId']}"
    shown = (await admin.get(one)).json()
    assert shown["input"] == {"n": 1}
    assert shown["deadLetter"]["attempts"][0]["message"] == "no such order"
    http.world.executor.answer("greet", succeeded())
    replayed = await admin.post(one + "/replay")
    assert replayed.status_code == 202
    assert replayed.headers["location"] == f"/api/v1/executions/{replayed.json()['executionId']}"
    await http.world.work()
    assert (await admin.get(replayed.headers["location"])).json()["status"] == "succeeded"
    problem(await admin.post(one + "/replay"), 404, "not_found")
    assert (await admin.delete(f"/api/v1/dead-letters/{second['executionId']}")).status_code == 204
    assert (await admin.get("/api/v1/dead-letters")).json()["items"] == []
    async with http.client(Role.DEVELOPER) as developer:
        problem(await developer.get("/api/v1/dead-letters"), 403, "forbidden")
