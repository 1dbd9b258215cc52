"""Events start whom they concern: of the tenant, active, subscribed, once for each event."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from plugyard.application.activate import deactivate
from plugyard.application.deliver import MOST_HOPS, deliver, deliver_waiting, hear, hear_all
from plugyard.application.publish import Published, publish
from plugyard.application.tenants import suspend
from plugyard.domain.errors import NotFound, StoreUnavailable
from plugyard.domain.events import Event, EventType, PlatformEvent
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import PluginView
from plugyard.domain.secrets import LockedSecrets
from tests.memory.world import World, manifest


async def listener(world: World, admin: Caller, name: str = "listener", **events: Any) -> PluginView:
    events = {"subscribes": ["invoice.*"], **events}
    return await world.active(admin, manifest(name, events=events), exports=("greet", "onEvent"), code=name)


async def say(world: World, view: PluginView, topic: str = "invoice.created", hops: int = 1) -> Event:
    said = Published(topic, {"n": 1}, hops)
    await publish(world.platform, view.plugin.tenant_id, view.plugin.id, world.ids(), said)
    return world.events[-1]


async def test_an_event_starts_every_plugin_that_subscribes_with_what_was_said(world: World, admin: Caller) -> None:
    speaker = await world.active(admin)
    first, second = await listener(world, admin), await listener(world, admin, "other", handler="greet")
    await listener(world, admin, "elsewhere", subscribes=["orders.*"])
    event = await say(world, speaker, hops=3)
    await deliver_waiting(world.platform)
    assert await world.work() == 2
    called = {one.plugin_id: one for one in world.executor.invocations}
    assert {key: one.function for key, one in called.items()} == {first.plugin.id: "onEvent", second.plugin.id: "greet"}
    assert {one.hops for one in called.values()} == {3}
    told = json.loads(called[first.plugin.id].input)
    assert told == {
        "eventId": event.id,
        "topic": "invoice.created",
        "payload": {"n": 1},
        "publishedBy": speaker.plugin.id,
        "source": None,
        "occurredAt": event.occurred_at.isoformat(),
    }


async def test_the_same_event_starts_a_plugin_once(world: World, admin: Caller) -> None:
    speaker = await world.active(admin)
    await listener(world, admin)
    event = await say(world, speaker)
    assert [await deliver(world.platform, event) for _ in range(3)] == [1, 0, 0]
    await world.work()
    assert await deliver(world.platform, event) == 0
    assert len(world.executor.invocations) == 1


async def test_a_plugin_whose_secrets_are_locked_here_is_started_when_they_are_not(world: World, admin: Caller) -> None:
    """During a change of the key, one replica may not have it yet; what it delivers is not to be lost."""
    speaker, view = await world.active(admin), await listener(world, admin)

    def have(secrets: Mapping[str, Any]) -> None:
        plugins = world.store.tables.plugins
        plugins[view.plugin.id] = replace(plugins[view.plugin.id], secrets=secrets)
        world.platform.copies.forget()

    have(LockedSecrets(view.plugin.id, "new", b""))
    assert await deliver(world.platform, await say(world, speaker)) == 1
    have({})
    assert await world.work() == 1
    assert [one.function for one in world.executor.invocations] == ["onEvent"]


async def test_another_tenants_plugins_hear_nothing(world: World, admin: Caller) -> None:
    speaker = await world.active(admin)
    await listener(world, await world.caller("other"))
    assert await deliver(world.platform, await say(world, speaker)) == 0


async def test_an_inactive_plugin_and_one_without_a_handler_are_not_started(world: World, admin: Caller) -> None:
    speaker = await world.active(admin)
    view = await listener(world, admin)
    await deactivate(world.platform, admin, view.plugin.id)
    await world.active(admin, manifest("deaf", events={"subscribes": ["invoice.*"]}), code="deaf")
    assert await deliver(world.platform, await say(world, speaker)) == 0


@pytest.mark.parametrize(("hops", "started"), [(MOST_HOPS, 1), (MOST_HOPS + 1, 0)])
async def test_a_chain_comes_to_an_end(world: World, admin: Caller, hops: int, started: int) -> None:
    speaker = await world.active(admin)
    await listener(world, admin)
    assert await deliver(world.platform, await say(world, speaker, hops=hops)) == started


async def test_events_of_the_service_start_nothing_and_a_plugins_is_taken_once(world: World, admin: Caller) -> None:
    view = await listener(world, admin, subscribes=["plugin.*"])
    activated = next(one for one in world.events if one.type is EventType.PLUGIN_ACTIVATED)
    assert await deliver(world.platform, activated) == 0
    assert await deliver_waiting(world.platform) == 0
    assert world.store.tables.queued == {}
    await say(world, view, topic="plugin.said")
    assert await deliver_waiting(world.platform) == 1
    assert await deliver_waiting(world.platform) == 0
    assert len(world.store.tables.queued) == 1


async def test_one_tenants_events_do_not_wait_behind_all_of_anothers(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    speaker, quiet = await world.active(admin), await world.active(other)
    await listener(world, admin)
    theirs = await listener(world, other)
    for _ in range(250):
        await say(world, speaker)
    await say(world, quiet)
    assert await deliver_waiting(world.platform) < 250
    assert theirs.plugin.id in {one.plugin_id for one in world.store.tables.queued.values()}
    while await deliver_waiting(world.platform):
        pass
    assert len(world.store.tables.queued) == 251
    started_by = [one.once for one in world.store.tables.queued.values() if one.plugin_id != theirs.plugin.id]
    said = [one for one in world.events if one.type is EventType.PLUGIN_EVENT_PUBLISHED]
    assert started_by == [f"event {one.id}" for one in said if one.plugin_id == speaker.plugin.id]


async def test_events_wait_until_their_tenant_has_room_and_hold_up_nobody_elses(world: World, admin: Caller) -> None:
    object.__setattr__(world.platform.policies, "queued_per_tenant", 3)
    other = await world.caller("other")
    speaker, quiet = await world.active(admin), await world.active(other)
    await listener(world, admin)
    await listener(world, admin, "second")
    await listener(world, other)
    for _ in range(4):
        await say(world, speaker)
    await say(world, quiet)
    # Two subscribers: the second event has room for one of them alone, and so for neither.
    assert await deliver_waiting(world.platform) == 2
    assert await deliver_waiting(world.platform) == 0
    assert len(world.store.tables.queued) == 3
    assert await world.work() == 3
    while await deliver_waiting(world.platform):
        await world.work()
    assert len(world.executor.invocations) == 9


async def test_what_the_platform_says_is_queued_however_much_waits(world: World, admin: Caller) -> None:
    object.__setattr__(world.platform.policies, "queued_per_tenant", 1)
    await listener(world, admin)
    for number in range(3):
        assert await hear(world.platform, said_to(admin, id=f"o-{number}"))
    assert len(world.store.tables.queued) == 3


def said_to(admin: Caller, **more: Any) -> PlatformEvent:
    at = datetime(2026, 11, 28, 9, tzinfo=UTC)
    event = PlatformEvent("o-1", "/shop", "invoice.created", str(admin.tenant_id), at, {"n": 1})
    return replace(event, **more)


async def test_what_the_platform_says_starts_subscribers_who_see_that_it_was_the_platform(
    world: World, admin: Caller
) -> None:
    await listener(world, admin)
    await listener(world, await world.caller("other"))
    assert await hear(world.platform, said_to(admin))
    assert await world.work() == 1
    (called,) = world.executor.invocations
    assert called.hops == 1
    assert json.loads(called.input) == {
        "eventId": "o-1",
        "topic": "invoice.created",
        "payload": {"n": 1},
        "publishedBy": None,
        "source": "/shop",
        "occurredAt": "2026-11-28T09:00:00+00:00",
    }


async def test_what_the_platform_says_is_one_by_its_source_and_id(world: World, admin: Caller) -> None:
    speaker = await world.active(admin)
    await listener(world, admin)
    ours = await say(world, speaker)
    await deliver(world.platform, ours)
    told = [said_to(admin)] * 3 + [
        said_to(admin, source="/other"),
        said_to(admin, id="o-2"),
        said_to(admin, id=ours.id),
    ]
    for one in told:
        await hear(world.platform, one)
    assert len(world.store.tables.queued) == 5, "one of the plugin, and four names of the platform's"


async def test_what_the_platform_says_to_several_tenants_is_heard_in_each_ones_order(
    world: World, admin: Caller
) -> None:
    other, stopped = await world.caller("other"), await world.caller("stopped")
    for one in (admin, other, stopped):
        await listener(world, one)
    await suspend(world.platform, Caller("operator", Role.OPERATOR, None), str(stopped.tenant_id), "abuse")
    told = [said_to(whom, id=f"o-{n}", payload={"n": n}) for n in range(3) for whom in (admin, stopped, other)]
    assert list(await hear_all(world.platform, [*told, told[0]])) == [True, False, True] * 3 + [True]
    for whom in (admin, other):
        theirs = [one for one in world.store.tables.queued.values() if one.tenant_id == whom.tenant_id]
        assert [json.loads(one.input)["payload"]["n"] for one in theirs] == [0, 1, 2]
    assert len(world.store.tables.queued) == 6


async def test_a_tenant_that_is_stopped_hears_nothing_and_one_that_is_none_is_an_error(
    world: World, admin: Caller
) -> None:
    await listener(world, admin)
    with pytest.raises(NotFound, match="There is no tenant 0"):
        await hear(world.platform, said_to(admin, tenant_id="00000000-0000-0000-0000-000000000000"))
    await suspend(world.platform, Caller("operator", Role.OPERATOR, None), str(admin.tenant_id), "abuse")
    assert not await hear(world.platform, said_to(admin))
    assert world.store.tables.queued == {}


async def test_a_store_that_goes_away_meanwhile_loses_no_event(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    speaker = await world.active(admin)
    await listener(world, admin)
    event = await say(world, speaker)

    async def away(*_: Any) -> None:
        raise StoreUnavailable()

    with monkeypatch.context() as patched:
        patched.setattr("plugyard.application.deliver.executable_of", away)
        with pytest.raises(StoreUnavailable):
            await hear(world.platform, said_to(admin))
        with pytest.raises(StoreUnavailable):
            await deliver(world.platform, event)
    assert await hear(world.platform, said_to(admin))
    assert await deliver(world.platform, event) == 1
    assert len(world.store.tables.queued) == 2
