"""Whoever asked to be told of an end is told: signed, once it is recorded, and again where nobody heard."""

import hashlib
import hmac
import json

import pytest

from plugyard.application import completions
from plugyard.application.enqueue import enqueue
from plugyard.application.executable import Call
from plugyard.domain.errors import Forbidden, InvalidInput
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import PluginView
from plugyard.domain.queue import WEBHOOK_RETRIES
from tests.memory.sandbox import failed
from tests.memory.world import World, as_role

URL = "https://allowed.example/hook"


async def queue(world: World, caller: Caller, view: PluginView, url: str = URL) -> str:
    return (await enqueue(world.platform, caller, view.plugin.id, Call("greet"), webhook=url)).execution.id


async def tell(world: World) -> list[str | None]:
    due = await world.store.take_webhooks(world.clock(), 10)
    return [await completions.deliver(world.platform, one) for one in due]


async def test_an_end_is_told_once_with_a_signature_that_the_tenants_secret_makes(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.executor.answer("greet", failed(message="no"))
    execution_id = await queue(world, admin, view)
    assert await tell(world) == []
    await world.work()
    assert await tell(world) == [None]
    assert await tell(world) == []
    ((delivery, headers, body),) = world.webhooks.sent
    assert delivery.url == URL
    told = json.loads(body)
    assert (told["executionId"], told["status"], told["error"]["message"]) == (execution_id, "failed", "no")
    at, _, proof = headers["plugyard-signature"].partition(",v1=")
    secret = completions.secret(world.platform, admin)
    expected = hmac.new(secret.encode(), f"{at[2:]}.{body}".encode(), hashlib.sha256).hexdigest()
    assert proof == expected
    assert int(at[2:]) == int(world.clock().timestamp())
    assert headers["plugyard-delivery"] == execution_id


async def test_what_nobody_heard_is_told_again_by_the_rule_and_then_no_more(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    world.webhooks.answer = "it answered with status 500"
    await queue(world, admin, view)
    await world.work()
    for _ in range(WEBHOOK_RETRIES.attempts):
        assert await tell(world) == [world.webhooks.answer]
        assert await tell(world) == []
        world.clock.forward(hours=1)
    assert await tell(world) == []
    assert len(world.webhooks.sent) == WEBHOOK_RETRIES.attempts


async def test_an_address_that_the_plugin_may_not_call_is_refused_at_once(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(InvalidInput) as caught:
        await queue(world, admin, view, "https://other.example/hook")
    assert [one.pointer for one in caught.value.errors] == ["/webhook"]
    assert world.store.tables.queued == {}


async def test_each_tenant_has_a_secret_of_its_own_that_admins_see(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    assert completions.secret(world.platform, admin) != completions.secret(world.platform, other)
    with pytest.raises(Forbidden):
        completions.secret(world.platform, as_role(Role.DEVELOPER, admin.tenant_id))
