"""The audit trail over HTTP: every change and every denial is in it, and whoever reads it can verify it."""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plugyard.application.denials import write_denials
from plugyard.application.ports import Invocation, Outcome
from plugyard.cli.signing import SigningKey
from plugyard.cli.trail import check
from plugyard.domain.identity import Role
from plugyard.http import endpoints
from plugyard.http.app import OPERATIONS
from tests.integration.http.service import MISSING, Http, problem
from tests.integration.http.test_consent import WANTS, upload
from tests.memory.sandbox import failed, succeeded
from tests.unit.application.test_quarantine import SUSPICIOUS

ORDERS = {"api": {"endpoints": [{"method": "POST", "path": "/orders", "handler": "greet"}]}}
CHANGING = {one.id for one in OPERATIONS if one.method not in ("GET", "HEAD")}
RECORDED_ELSEWHERE = {"executeFunction"} | {one.id for one in endpoints.OPERATIONS}
"""Each execution has a durable record of its own, with its actor and request."""


class Changes:
    """Calls operations one after the other, and says which of them left an entry."""

    def __init__(self, http: Http, admin: Any, operator: Any) -> None:
        self.http, self.admin, self.operator = http, admin, operator
        self.left: dict[str, list[str]] = {}

    async def call(self, name: str, client: Any, path: str, **options: Any) -> Any:
        """Call an operation that has to succeed; the answer's body."""
        one = next(one for one in OPERATIONS if one.id == name)
        assert re.fullmatch(re.sub(r"{\w+}", "[^/]+", one.path), path), f"{path} is not {one.path}"
        before = len(self.http.world.store.tables.audit)
        answer = await client.request(one.method, path, **options)
        assert answer.is_success, f"{name}: {answer.text}"
        self.left[name] = [entry.action for entry in self.http.world.store.tables.audit[before:]]
        return answer.json() if answer.content else None


@pytest.fixture
async def operator(http: Http) -> AsyncIterator[Any]:
    """A client with the operator's key."""
    async with http.client(Role.OPERATOR) as client:
        yield client


async def _change_everything(changes: Changes) -> None:
    http, admin, operator = changes.http, changes.admin, changes.operator
    package = {"package": ("p.zip", http.package())}
    done = await changes.call("uploadPackage", admin, "/api/v1/plugins/upload", files=package)
    one = f"/api/v1/plugins/{done['plugin']['id']}"
    await changes.call("installPlugin", admin, one + "/install", json={})
    await changes.call("activatePlugin", admin, one + "/activate")
    async with http.client(Role.DEVELOPER) as developer:
        await upload(http, developer, "1.1.0", activate=True, **WANTS)
        await changes.call("declineUpgrade", admin, one + "/decline", json={"version": "1.1.0", "reason": "No."})
        await upload(http, developer, "1.2.0", activate=True, **WANTS)
        await changes.call("consentToUpgrade", admin, one + "/consent", json={"version": "1.2.0"})
    drop = {"rights": [{"service": "network"}]}
    await changes.call("dropPluginRights", admin, one + "/rights/drop", json=drop)
    await changes.call("rollbackPlugin", admin, one + "/rollback", json={"version": "1.0.0"})
    await upload(http, admin, "1.3.0", fields={"configuration": {"type": "object"}, **ORDERS})
    await changes.call("upgradePlugin", admin, one + "/upgrade", json={"version": "1.3.0"})
    await changes.call("configurePlugin", admin, one + "/config", json={"currency": "EUR"})
    made = await changes.call("createWebhook", admin, one + "/webhooks", json={"name": "shop", "path": "/orders"})
    hook = f"{one}/webhooks/{made['id']}"
    await changes.call("rotateWebhook", admin, hook + "/rotate")
    await changes.call("revokeWebhook", admin, hook)
    await changes.call("publishPlugin", admin, one + "/publish", json={})
    await changes.call("withdrawPlugin", admin, one + "/withdraw")
    await changes.call("deactivatePlugin", admin, one + "/deactivate")
    await changes.call("uninstallPlugin", admin, one)
    await _change_keys_and_tenants(changes)
    await _change_in_the_marketplace(changes)
    await _decide_on_suspects(changes)
    await _change_publishers(changes)
    await _decide_on_dead_letters(changes)
    await changes.call("rotateSecrets", operator, "/api/v1/secrets/rotate", json={})


async def _change_keys_and_tenants(changes: Changes) -> None:
    admin, operator = changes.admin, changes.operator
    key = await changes.call("createKey", admin, "/api/v1/keys", json={"name": "ci", "role": "viewer"})
    await changes.call("rotateKey", admin, f"/api/v1/keys/{key['id']}/rotate")
    await changes.call("revokeKey", admin, f"/api/v1/keys/{key['id']}")
    await changes.call("setPolicy", admin, "/api/v1/tenant/policy", json={"autoGrant": ["cache"]})
    made = await changes.call("createOperatorKey", operator, "/api/v1/operator-keys", json={"name": "Grace"})
    rotated = await changes.call("rotateOperatorKey", operator, f"/api/v1/operator-keys/{made['id']}/rotate")
    await changes.call("revokeOperatorKey", operator, f"/api/v1/operator-keys/{rotated['id']}")
    made = await changes.call("createTenant", operator, "/api/v1/tenants", json={"slug": "new", "name": "New"})
    tenant = f"/api/v1/tenants/{made['tenant']['id']}"
    await changes.call("changeTenant", operator, tenant, json={"modulesDenied": ["pickle"]})
    await changes.call("suspendTenant", operator, tenant + "/suspend", json={"reason": "unpaid"})
    await changes.call("resumeTenant", operator, tenant + "/resume")
    await changes.call("suspendTenant", operator, tenant + "/suspend", json={"reason": "unpaid"})
    await changes.call("deleteTenant", operator, tenant, params={"force": "for a test"})


async def _change_in_the_marketplace(changes: Changes) -> None:
    http, admin = changes.http, changes.admin
    await http.tenant("seller")
    async with http.client(of="seller") as seller:
        offered = await http.plugin(seller, "offered")
        listing = (await seller.post(f"/api/v1/plugins/{offered}/publish", json={})).json()["id"]
    one = f"/api/v1/plugins/marketplace/{listing}"
    await changes.call("installListing", admin, one + "/install", json={"activate": True})
    await changes.call("rateListing", admin, one + "/rating", json={"stars": 4})


async def _change_publishers(changes: Changes) -> None:
    admin, operator = changes.admin, changes.operator
    tenant_id = (await admin.get("/api/v1/tenant")).json()["id"]
    key = SigningKey(Ed25519PrivateKey.generate())
    body = {"name": "ci", "publicKey": base64.b64encode(key.public).decode(), "proof": key.proof(tenant_id)}
    made = await changes.call("registerPublisherKey", admin, "/api/v1/publisher-keys", json=body)
    revoke = f"/api/v1/publisher-keys/{made['id']}/revoke"
    await changes.call("revokePublisherKey", admin, revoke, json={"reason": "It is retired."})
    named = {"name": "Acme", "verified": True}
    await changes.call("namePublisher", operator, f"/api/v1/tenants/{tenant_id}/publisher", json=named)


async def _decide_on_dead_letters(changes: Changes) -> None:
    http, admin = changes.http, changes.admin
    plugin = await http.plugin(admin, "failing")
    http.world.executor.answer("greet", failed())
    call = {"function": "greet", "mode": "async"}
    letters = [(await admin.post(f"/api/v1/plugins/{plugin}/execute", json=call)).json() for _ in range(2)]
    await http.world.work()
    first, second = (f"/api/v1/dead-letters/{one['executionId']}" for one in letters)
    await changes.call("replayDeadLetter", admin, first + "/replay")
    await changes.call("dropDeadLetter", admin, second)
    http.world.executor.scripts.clear()


async def _decide_on_suspects(changes: Changes) -> None:
    http, admin, operator = changes.http, changes.admin, changes.operator
    for name, verb in (("releaseQuarantined", "release"), ("refuseQuarantined", "refuse")):
        await http.plugin(admin, f"suspicious-{verb}", findings=(SUSPICIOUS,), activate=False)
        (waiting,) = (await operator.get("/api/v1/quarantine", params={"state": "quarantined"})).json()["items"]
        one = f"/api/v1/quarantine/{waiting['versionId']}"
        await changes.call(name, operator, f"{one}/{verb}", json={"reason": "It was looked at."})
    await changes.call("demandRescan", operator, "/api/v1/rescan")


async def test_every_operation_that_changes_something_leaves_an_entry(http: Http, admin: Any, operator: Any) -> None:
    changes = Changes(http, admin, operator)
    await _change_everything(changes)
    # Its own test is below: it needs an execution that runs meanwhile.
    tried = changes.left.keys() | {"cancelExecution"}
    assert CHANGING - RECORDED_ELSEWHERE - tried == set(), "say here how these are called"
    assert [name for name, actions in changes.left.items() if not actions] == []


async def test_a_cancelled_execution_leaves_an_entry(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)
    began, release = asyncio.Event(), asyncio.Event()

    async def hold(invocation: Invocation) -> Outcome:
        began.set()
        await release.wait()
        return succeeded()

    http.world.executor.scripts["greet"] = hold
    running = asyncio.ensure_future(admin.post(f"/api/v1/plugins/{plugin_id}/execute", json={"function": "greet"}))
    await began.wait()
    (execution_id,) = http.world.platform.running
    http.world.executor.cancellable.add(execution_id)
    answer = await admin.post(f"/api/v1/executions/{execution_id}/cancel")
    release.set()
    await running
    assert answer.status_code == 200, answer.text
    (entry,) = (await admin.get("/api/v1/audit", params={"action": "execution.cancelled"})).json()["items"]
    assert (entry["target"], entry["detail"]["pluginId"]) == (execution_id, plugin_id)


async def test_what_a_role_is_denied_is_in_the_trail_once_with_a_count_of_the_rest(http: Http, admin: Any) -> None:
    async with http.client(Role.VIEWER) as viewer:
        for _ in range(50):
            problem(await viewer.post(f"/api/v1/plugins/{MISSING}/activate"), 403, "forbidden")
        problem(await viewer.get("/api/v1/keys"), 403, "forbidden")
    await http.world.quiet()
    denied = (await admin.get("/api/v1/audit", params={"action": "access.denied"})).json()["items"]
    assert {one["target"] for one in denied} == {"POST /api/v1/plugins/{pluginId}/activate", "GET /api/v1/keys"}
    assert len(denied) == 2
    assert denied[0]["detail"] == {"code": "forbidden", "reason": "viewer"}
    http.world.clock.forward(seconds=61)
    await write_denials(http.world.platform)
    (summed, *others) = (await admin.get("/api/v1/audit", params={"action": "access.denied"})).json()["items"]
    assert summed["detail"]["count"] == 49
    assert len(others) == 2


async def test_a_revoked_and_an_expired_key_are_in_their_tenants_trail(http: Http, admin: Any) -> None:
    made = [
        (await admin.post("/api/v1/keys", json={"name": name, "role": "viewer", "expiresInDays": 1})).json()
        for name in ("revoked", "expired")
    ]
    await admin.delete(f"/api/v1/keys/{made[0]['id']}")
    http.world.clock.forward(days=2)
    for key in made:
        problem(await admin.get("/api/v1/plugins", headers={"Authorization": f"Bearer {key['secret']}"}), 401,
                "unauthenticated")  # fmt: skip
    await http.world.quiet()
    denied = (await admin.get("/api/v1/audit", params={"action": "access.denied"})).json()["items"]
    assert {(one["actor"], one["detail"]["reason"]) for one in denied} == {
        (f"key:{made[0]['id']}", "revoked"),
        (f"key:{made[1]['id']}", "expired"),
    }


async def test_an_unknown_key_is_in_nobodys_trail(http: Http) -> None:
    before = len(http.world.store.tables.audit)
    async with http.client(None, Authorization="Bearer plugyard_nobody-knows-this-key-at-all-000000") as stranger:
        problem(await stranger.get("/api/v1/plugins"), 401, "unauthenticated")
    await http.world.quiet()
    assert len(http.world.store.tables.audit) == before


async def test_a_suspended_tenants_calls_are_in_its_trail(http: Http, admin: Any, operator: Any) -> None:
    tenant_id = (await admin.get("/api/v1/tenant")).json()["id"]
    await operator.post(f"/api/v1/tenants/{tenant_id}/suspend", json={"reason": "unpaid"})
    problem(await admin.post("/api/v1/keys", json={"name": "x", "role": "viewer"}), 403, "tenant_suspended")
    await http.world.quiet()
    codes = [one.detail.get("code") for one in http.world.store.tables.audit if one.tenant_id == tenant_id]
    assert "tenant_suspended" in codes


async def test_a_denial_is_answered_and_written_later_while_the_store_is_away(http: Http, admin: Any) -> None:
    async with http.client(Role.VIEWER) as viewer:
        await viewer.get("/api/v1/me")
        http.world.store.available = False
        assert (await viewer.post("/api/v1/keys", json={})).status_code in (403, 503)
    await http.world.quiet()
    http.world.store.available = True
    await write_denials(http.world.platform, all_of_them=True)
    assert http.world.platform.denials.waiting == []


async def test_the_export_is_the_chain_that_its_head_tells(http: Http, admin: Any) -> None:
    await http.plugin(admin)
    answer = await admin.get("/api/v1/audit/export")
    assert answer.headers["content-type"] == "application/jsonl"
    lines = answer.content.splitlines()
    told = (await admin.get("/api/v1/audit/head")).json()
    head = check(lines)
    assert {"sequence": head.sequence, "hash": head.hash} == told
    assert head.sequence == len(lines) > 3
    behind = (await admin.get("/api/v1/audit/export", params={"after": 2})).content.splitlines()
    assert behind == lines[2:]
    assert [json.loads(line)["sequence"] for line in lines] == list(range(1, len(lines) + 1))


async def test_an_operator_reads_the_platforms_trail_and_that_of_a_tenant_by_name(http: Http, operator: Any) -> None:
    await operator.post("/api/v1/tenants", json={"slug": "new", "name": "New"})
    platform = (await operator.get("/api/v1/audit")).json()["items"]
    assert platform[0]["action"] == "tenant.created"
    named = (await operator.get("/api/v1/audit", headers={"Plugyard-Tenant": "acme"})).json()["items"]
    assert {one["action"] for one in named} == {"key.created"}
    assert check((await operator.get("/api/v1/audit/export")).content.splitlines()).sequence >= 1


async def test_the_trail_is_filtered(http: Http, admin: Any) -> None:
    plugin_id = await http.plugin(admin)

    async def found(**filters: str) -> list[str]:
        items = (await admin.get("/api/v1/audit", params=filters)).json()["items"]
        return [one["action"] for one in items]

    assert await found(action="plugin.activated") == ["plugin.activated"]
    assert set(await found(target=plugin_id)) == {
        "plugin.uploaded", "plugin.validated", "plugin.installed", "plugin.activated",
    }  # fmt: skip
    assert await found(actor="nobody") == []
    http.world.clock.forward(seconds=1)
    later = http.world.clock().isoformat()
    assert await found(since=later) == []
    assert len(await found(until=later)) > 3
