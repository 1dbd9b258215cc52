"""Events of plugins start the plugins of the same tenant that subscribe to their topic.

``deliver`` queues one execution for each of them, however often the same event comes. ``deliver_waiting`` takes events
from the outbox, in their order, whether a relay carries them to a broker as well or not: what a broker hands back may
be said by anybody who can write to its topic, and the outbox is the service's own.
"""

import json
from dataclasses import replace

from plugyard.application.enqueue import entry_for
from plugyard.application.execute import Call, executable_of
from plugyard.application.platform import Platform
from plugyard.domain.covering import topic_allows
from plugyard.domain.errors import PlugyardError
from plugyard.domain.events import Event, EventType
from plugyard.domain.identity import Caller, Role
from plugyard.domain.manifest import Runtime
from plugyard.domain.plugin import PluginState, PluginView

MOST_HOPS = 8
"""How many events may follow from one another. Whoever is at the end of a chain may not publish."""
_AT_ONCE = 100
_SUBSCRIBER = Caller("event", Role.DEVELOPER, None)


async def deliver(platform: Platform, event: Event) -> int:
    """Queue an execution for each active plugin of the tenant that subscribes; how many are new.

    Raises ``StoreUnavailable``. An event that starts nothing, by its type or its hops, is delivered to nobody.
    """
    topic, hops = event.data.get("topic"), event.data.get("hops", 1)
    if event.type is not EventType.PLUGIN_EVENT_PUBLISHED or not isinstance(topic, str) or hops > MOST_HOPS:
        return 0
    async with platform.store.for_tenant(event.tenant_id) as tx:
        listening = [view for view in await tx.installed_plugins() if _listens(view, topic)]
    queued = 0
    for view in listening:
        queued += await _start(platform, event, view, topic, hops)
    return queued


def _listens(view: PluginView, topic: str) -> bool:
    if view.plugin.state is not PluginState.ACTIVE:
        return False
    subscribed = view.version.manifest.document.get("events", {}).get("subscribes", ())
    return handler_of(view) is not None and any(topic_allows(pattern, topic) for pattern in subscribed)


def handler_of(view: PluginView) -> str | None:
    """The function that a plugin has for events: the one it names, or ``onEvent`` (``on_event``) where it has that."""
    manifest = view.version.manifest
    usual = "on_event" if manifest.runtime is Runtime.PYTHON else "onEvent"
    named = manifest.document.get("events", {}).get("handler", usual)
    return named if named in view.version.functions else None


async def _start(platform: Platform, event: Event, view: PluginView, topic: str, hops: int) -> bool:
    told = {
        "eventId": event.id,
        "topic": topic,
        "payload": event.data.get("payload"),
        "publishedBy": event.plugin_id,
        "occurredAt": event.occurred_at.isoformat(),
    }
    try:
        executable = await executable_of(platform, event.tenant_id, view.plugin.id)
    except PlugyardError:
        # It went, or its tenant was suspended, between the look and now.
        return False
    call = Call(handler_of(view) or "", json.dumps(told).encode(), hops=hops)
    entry = entry_for(platform, executable, call, _SUBSCRIBER, origin="event", once=f"event {event.id}")
    entry = replace(entry, call=replace(entry.call, request_id=str(event.data.get("executionId", ""))))
    async with platform.store.for_tenant(event.tenant_id) as tx:
        return await tx.enqueue(entry) is not None


async def deliver_waiting(platform: Platform) -> int:
    """Deliver what waits in the outbox, and note it there; how many events that were.

    Several processes may deliver the same, and one that dies in between has some delivered again: that changes nothing,
    the order included, for each of them goes through all in order and what is queued already stays.
    """
    async with platform.store.for_operator() as tx:
        waiting = await tx.waiting_events(_AT_ONCE)
    for one in waiting:
        await deliver(platform, one)
    if waiting:
        async with platform.store.for_operator() as tx:
            await tx.mark_delivered([one.id for one in waiting], platform.clock())
    return len(waiting)
