"""Webhooks over HTTP: who makes them, and what becomes of what is sent to them."""

import asyncio
import hashlib
import hmac
import io
import json
import zipfile
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from plugyard.application.ports import Invocation, Outcome
from plugyard.domain.errors import PlugyardError, SandboxUnavailable, StoreUnavailable
from plugyard.domain.identity import Role
from plugyard.domain.webhooks import sign
from plugyard.http.rates import RateClass, RateLimits
from plugyard.infrastructure.rates import LimitedRates
from tests.integration.http.service import MISSING, Http, pointers, problem
from tests.memory.sandbox import failed, succeeded

FIELDS = {
    "api": {
        "endpoints": [
            {"method": "POST", "path": "/orders/{kind}", "handler": "take"},
            {"method": "GET", "path": "/orders", "handler": "take"},
        ]
    }
}
BODY = b'{"order": 7}'


@pytest.fixture
async def plugin(http: Http, admin: Any) -> str:
    """The address of a plugin with an endpoint."""
    http.world.executor.answer("take", succeeded(b'{"status": 202, "json": {"taken": true}}'))
    return f"/api/v1/plugins/{await http.plugin(admin, 'orders', fields=FIELDS, exports=('take',))}"


@pytest.fixture
async def sender(http: Http) -> AsyncIterator[Any]:
    """Somebody without a key."""
    async with http.client(None) as client:
        yield client


async def _made(admin: Any, plugin: str, **asked: Any) -> dict[str, Any]:
    answer = await admin.post(plugin + "/webhooks", json={"name": "shop", "path": "/orders/web", **asked})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def _signed(http: Http, secret: str, body: bytes = BODY, seconds: int = 0) -> dict[str, str]:
    return {"Plugyard-Signature": sign(secret, http.world.clock() + timedelta(seconds=seconds), body)}


async def test_a_signed_delivery_is_executed_and_answered_by_the_plugin(
    http: Http, admin: Any, plugin: str, sender: Any
) -> None:
    made = await _made(admin, plugin)
    headers = {**_signed(http, made["secret"]), "Content-Type": "application/json", "X-Event": "order"}
    answer = await sender.post(made["address"] + "?from=shop", content=BODY, headers=headers)
    assert (answer.status_code, answer.json()) == (202, {"taken": True})
    asked = json.loads(http.world.executor.invocations[-1].input)
    assert (asked["method"], asked["path"], asked["params"]) == ("POST", "/orders/web", {"kind": "web"})
    assert (asked["body"], asked["query"]) == ({"order": 7}, {"from": "shop"})
    assert asked["headers"]["x-event"] == "order"
    assert "plugyard-signature" not in asked["headers"]
    executed = (await admin.get(f"/api/v1/executions/{answer.headers['plugyard-execution-id']}")).json()
    assert (executed["function"], executed["actor"]) == ("take", f"webhook:{made['id']}")
    held = (await admin.get(f"{plugin}/webhooks/{made['id']}")).json()
    assert held["lastUsedAt"] is not None
    assert not {"secret", "address", "secrets"} & held.keys()


@pytest.mark.parametrize(
    "headers", [{}, {"Plugyard-Signature": "t=1,v1=0"}, {"Plugyard-Signature": "\xff"}, {"Authorization": "Bearer x"}]
)
async def test_without_a_right_signature_nothing_is_executed(
    http: Http, admin: Any, plugin: str, sender: Any, headers: dict[str, str]
) -> None:
    made = await _made(admin, plugin)
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await sender.post(made["address"], content=BODY, headers=raw)
    problem(answer, 401, "delivery_refused")
    assert "Plugyard-Signature" in answer.headers["www-authenticate"]
    problem(await admin.post(made["address"], content=BODY), 401, "delivery_refused")
    assert http.world.executor.invocations == []
    await http.world.quiet()
    denied = (await admin.get("/api/v1/audit", params={"action": "access.denied"})).json()["items"]
    assert {one["actor"] for one in denied} == {f"webhook:{made['id']}"}


async def test_what_was_signed_too_long_ago_or_for_another_body_is_refused(
    http: Http, admin: Any, plugin: str, sender: Any
) -> None:
    made = await _made(admin, plugin)
    for seconds in (-301, 301):
        headers = _signed(http, made["secret"], seconds=seconds)
        problem(await sender.post(made["address"], content=BODY, headers=headers), 401, "delivery_refused")
    headers = _signed(http, made["secret"])
    problem(await sender.post(made["address"], content=BODY + b" ", headers=headers), 401, "delivery_refused")


async def test_no_delivery_is_taken_twice_not_even_at_once(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    made = await _made(admin, plugin)
    headers = _signed(http, made["secret"], seconds=299)
    answers = await asyncio.gather(*(sender.post(made["address"], content=BODY, headers=headers) for _ in range(5)))
    assert sorted(one.status_code for one in answers) == [202, 409, 409, 409, 409]
    # Until what was signed is too old for good.
    http.world.clock.forward(seconds=598)
    problem(await sender.post(made["address"], content=BODY, headers=headers), 409, "delivery_repeated")
    http.world.clock.forward(seconds=2)
    problem(await sender.post(made["address"], content=BODY, headers=headers), 401, "delivery_refused")
    assert len(http.world.executor.invocations) == 1


# The second as where the plugin's code cannot be fetched.
@pytest.mark.parametrize("away", [SandboxUnavailable(), StoreUnavailable()], ids=lambda one: one.code)
async def test_a_delivery_for_which_nothing_was_executed_may_come_again(
    http: Http, admin: Any, plugin: str, sender: Any, away: PlugyardError
) -> None:
    made = await _made(admin, plugin)
    headers = _signed(http, made["secret"])
    http.world.executor.failing = away
    problem(await sender.post(made["address"], content=BODY, headers=headers), 503, away.code)
    http.world.executor.failing = None
    assert (await sender.post(made["address"], content=BODY, headers=headers)).status_code == 202


async def test_a_delivery_that_was_executed_and_not_recorded_is_not_taken_again(
    http: Http, admin: Any, plugin: str, sender: Any
) -> None:
    made = await _made(admin, plugin)
    headers = _signed(http, made["secret"])
    http.world.recorder.failing = StoreUnavailable()
    told = problem(await sender.post(made["address"], content=BODY, headers=headers), 503, "store_unavailable")
    assert "nothing was changed" not in told["detail"]
    http.world.recorder.failing = None
    problem(await sender.post(made["address"], content=BODY, headers=headers), 409, "delivery_repeated")
    assert len(http.world.executor.invocations) == 1


async def test_what_the_plugin_says_of_its_failure_stays_with_the_tenant(
    http: Http, admin: Any, plugin: str, sender: Any
) -> None:
    made = await _made(admin, plugin)
    http.world.executor.answer("take", failed(message="the inner secret"))
    headers = _signed(http, made["secret"])
    answer = await sender.post(made["address"], content=BODY, headers=headers)
    assert problem(answer, 502, "endpoint_failed")["executionId"]
    assert "inner" not in answer.text
    problem(await sender.post(made["address"], content=BODY, headers=headers), 409, "delivery_repeated")
    http.world.executor.answer("take", succeeded(b'{"status": 1, "the inner": 1}'))
    headers = _signed(http, made["secret"], seconds=1)
    answer = await sender.post(made["address"], content=BODY, headers=headers)
    assert problem(answer, 502, "endpoint_answer_invalid")["errors"] == []
    assert "inner" not in answer.text


async def test_both_secrets_hold_during_a_rotation(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    made = await _made(admin, plugin)
    rotate = f"{plugin}/webhooks/{made['id']}/rotate"
    new = (await admin.post(rotate, json={"overlapSeconds": 60})).json()
    assert new["secret"] != made["secret"]
    for number, secret in enumerate((made["secret"], new["secret"])):
        headers = _signed(http, secret, seconds=number)
        assert (await sender.post(made["address"], content=BODY, headers=headers)).status_code == 202
    http.world.clock.forward(seconds=61)
    headers = _signed(http, made["secret"])
    problem(await sender.post(made["address"], content=BODY, headers=headers), 401, "delivery_refused")
    brought = (await admin.post(rotate, json={"overlapSeconds": 0, "secret": "a-secret-of-their-own"})).json()
    assert (brought["secret"], brought["previousUntil"]) == ("a-secret-of-their-own", None)
    headers = _signed(http, new["secret"])
    problem(await sender.post(made["address"], content=BODY, headers=headers), 401, "delivery_refused")


async def test_a_revoked_webhook_is_as_one_that_never_was(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    made = await _made(admin, plugin)
    headers = _signed(http, made["secret"])
    assert (await sender.post(made["address"], content=BODY, headers=headers)).status_code == 202
    one = f"{plugin}/webhooks/{made['id']}"
    revoked = (await admin.delete(one)).json()
    assert revoked["revokedAt"] is not None
    assert (await admin.delete(one)).json() == revoked
    gone = problem(await sender.post(made["address"], content=BODY, headers=headers), 404, "route_not_found")
    never = problem(await sender.post("/hooks/" + "x" * 43, content=BODY, headers=headers), 404, "route_not_found")
    assert gone["detail"] == never["detail"]
    problem(await admin.post(one + "/rotate", json={}), 409, "conflict")
    assert [one["id"] for one in (await admin.get(plugin + "/webhooks")).json()["items"]] == [made["id"]]


async def test_only_post_is_taken(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    made = await _made(admin, plugin)
    for method in ("GET", "PUT", "DELETE"):
        answer = await sender.request(method, made["address"])
        problem(answer, 405, "method_not_allowed")
        assert answer.headers["allow"] == "OPTIONS, POST"
    problem(await sender.post(made["address"], content=b"x" * 1_000_001), 413, "too_large")


async def test_a_webhook_leads_to_an_endpoint_that_takes_post(http: Http, admin: Any, plugin: str) -> None:
    for path in ("/orders", "/nothing", "/orders/%zz"):
        answer = await admin.post(plugin + "/webhooks", json={"name": "x", "path": path})
        assert pointers(problem(answer, 422, "invalid_input")) == {"/path"}
    answer = await admin.post(plugin + "/webhooks", json={"name": "x", "path": "/orders/a", "secret": "short"})
    assert pointers(problem(answer, 422, "invalid_input")) == {"/secret"}
    missing = await admin.post(f"/api/v1/plugins/{MISSING}/webhooks", json={"name": "x", "path": "/orders/a"})
    problem(missing, 404, "not_found")


async def test_a_plugin_has_so_many_webhooks(
    http: Http, admin: Any, plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("plugyard.application.webhooks.MOST_PER_PLUGIN", 2)
    made = [await _made(admin, plugin) for _ in range(2)]
    problem(await admin.post(plugin + "/webhooks", json={"name": "x", "path": "/orders/a"}), 409, "conflict")
    await admin.delete(f"{plugin}/webhooks/{made[0]['id']}")
    await _made(admin, plugin)


async def test_webhooks_are_an_admins_and_their_plugins(http: Http, admin: Any, plugin: str) -> None:
    made = await _made(admin, plugin)
    one = f"{plugin}/webhooks/{made['id']}"
    async with http.client(Role.DEVELOPER) as developer:
        for method, path in (("GET", plugin + "/webhooks"), ("GET", one), ("POST", one + "/rotate"), ("DELETE", one)):
            problem(await developer.request(method, path), 403, "forbidden")
    other = await http.plugin(admin, "another", fields=FIELDS, exports=("take",))
    problem(await admin.get(f"/api/v1/plugins/{other}/webhooks/{made['id']}"), 404, "not_found")
    await http.tenant("other")
    async with http.client(of="other") as stranger:
        problem(await stranger.get(one), 404, "not_found")
        problem(await stranger.delete(one), 404, "not_found")


async def test_a_suspended_plugin_or_tenant_takes_nothing(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    made = await _made(admin, plugin)
    await admin.post(plugin + "/deactivate")
    headers = _signed(http, made["secret"])
    problem(await sender.post(made["address"], content=BODY, headers=headers), 409, "wrong_state")
    await admin.post(plugin + "/activate")
    http.world.clock.forward(seconds=2)
    tenant_id = (await admin.get("/api/v1/tenant")).json()["id"]
    async with http.client(Role.OPERATOR) as operator:
        await operator.post(f"/api/v1/tenants/{tenant_id}/suspend", json={"reason": "unpaid"})
    problem(await sender.post(made["address"], content=BODY, headers=headers), 403, "tenant_suspended")
    assert http.world.executor.invocations == []


async def test_providers_sign_in_their_own_way(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    secret = "the-secret-of-the-provider"
    moment = str(int(http.world.clock().timestamp()))

    def mac(text: bytes) -> str:
        return hmac.new(secret.encode(), text, hashlib.sha256).hexdigest()

    headers = {
        "github": {"X-Hub-Signature-256": "sha256=" + mac(BODY)},
        "stripe": {"Stripe-Signature": f"t={moment},v1={mac(moment.encode() + b'.' + BODY)}"},
        "slack": {
            "X-Slack-Request-Timestamp": moment,
            "X-Slack-Signature": "v0=" + mac(b"v0:" + moment.encode() + b":" + BODY),
        },
    }
    for scheme, signed in headers.items():
        made = await _made(admin, plugin, scheme=scheme, secret=secret)
        problem(await sender.post(made["address"], content=BODY), 401, "delivery_refused")
        assert (await sender.post(made["address"], content=BODY, headers=signed)).status_code == 202
        problem(await sender.post(made["address"], content=BODY, headers=signed), 409, "delivery_repeated")


async def test_wrong_signatures_are_counted_by_address_and_webhook_and_unknown_ones_by_themselves(
    tmp_path: Path,
) -> None:
    rates = LimitedRates()
    limits = RateLimits(rates, per_key=dict.fromkeys(RateClass, 100), per_tenant={}, failures=4)
    http = Http(tmp_path, limits=limits)
    await http.tenant()
    http.world.executor.answer("take", succeeded(b'{"status": 202}'))
    async with http.client() as admin, http.client(None) as sender:
        plugin = f"/api/v1/plugins/{await http.plugin(admin, 'orders', fields=FIELDS, exports=('take',))}"
        made = await _made(admin, plugin)
        assert (
            (await sender.post(made["address"], content=BODY, headers=_signed(http, made["secret"])))
            .headers["ratelimit"]
            .startswith('"execute-key";r=99;')
        )
        other = await _made(admin, plugin)
        for address in ("/hooks/nobody", other["address"]):
            codes = [(await sender.post(address, content=BODY)).status_code for _ in range(5)]
            assert codes == [404 if address == "/hooks/nobody" else 401] * 4 + [429]
        headers = _signed(http, other["secret"], seconds=1)
        answer = await sender.post(other["address"], content=BODY, headers=headers)
        assert problem(answer, 429, "rate_limited")["policy"] == "failed-authentication"
        # Providers send for everybody from the same addresses.
        headers = _signed(http, made["secret"], seconds=1)
        assert (await sender.post(made["address"], content=BODY, headers=headers)).status_code == 202
    await rates.close()
    assert len(http.world.executor.invocations) == 2


async def test_the_export_names_webhooks_without_what_is_secret(http: Http, admin: Any, plugin: str) -> None:
    made = await _made(admin, plugin)
    answer = await admin.get("/api/v1/tenant/export")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        (line,) = archive.read("webhooks.jsonl").splitlines()
        everything = b"".join(archive.read(name) for name in archive.namelist())
    told = json.loads(line)
    assert (told["id"], told["path"], told["scheme"]) == (made["id"], "/orders/web", "plugyard")
    for secret in (made["secret"], made["address"].rpartition("/")[2]):
        assert secret.encode() not in everything


async def test_a_delivery_that_is_still_under_way_is_not_taken_again(
    http: Http, admin: Any, plugin: str, sender: Any
) -> None:
    made = await _made(admin, plugin)
    began, release = asyncio.Event(), asyncio.Event()

    async def hold(invocation: Invocation) -> Outcome:
        began.set()
        await release.wait()
        return succeeded(b'{"status": 202}')

    http.world.executor.scripts["take"] = hold
    headers = _signed(http, made["secret"])
    first = asyncio.ensure_future(sender.post(made["address"], content=BODY, headers=headers))
    await began.wait()
    problem(await sender.post(made["address"], content=BODY, headers=headers), 409, "delivery_repeated")
    release.set()
    assert (await first).status_code == 202


@pytest.mark.parametrize("died", [True, False])
async def test_a_delivery_whose_replica_died_is_executed_when_it_comes_again_and_once(
    http: Http, admin: Any, plugin: str, sender: Any, died: bool
) -> None:
    made = await _made(admin, plugin)
    headers = _signed(http, made["secret"])
    tables = http.world.store.tables
    signed = str(int(http.world.clock().timestamp())).encode() + b"." + BODY
    name = hashlib.sha256(signed).digest()
    tables.deliveries[made["id"], name] = http.world.clock()
    if died:
        tables.abandoned.add(name)
    answers = [await sender.post(made["address"], content=BODY, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == ([202, 409] if died else [409, 409])
    assert len(http.world.executor.invocations) == died


async def test_a_delivery_that_was_cut_off_may_come_again(http: Http, admin: Any, plugin: str, sender: Any) -> None:
    made = await _made(admin, plugin)
    headers, began = _signed(http, made["secret"]), asyncio.Event()

    async def hold(invocation: Invocation) -> Outcome:
        began.set()
        await asyncio.Event().wait()
        return succeeded(b"")

    http.world.executor.scripts["take"] = hold
    first = asyncio.ensure_future(sender.post(made["address"], content=BODY, headers=headers))
    await began.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    await http.world.platform.settle()
    http.world.executor.answer("take", succeeded(b'{"status": 202}'))
    answers = [await sender.post(made["address"], content=BODY, headers=headers) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 409]
