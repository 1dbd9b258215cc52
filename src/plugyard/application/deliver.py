"""Events start the plugins of their tenant that subscribe to their topic.

``deliver`` queues one execution for each of them, however often the same event comes. ``deliver_waiting`` takes those
of plugins from the outbox, in their order, whether a relay carries them to a broker as well or not: what a broker hands
back may be said by anybody who can write to its topic, and the outbox is the service's own. ``hear`` takes what the
platform says that this service extends; ``infrastructure/relay/consumer.py`` reads it from a topic of the platform's.
"""

import asyncio
import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from plugyard.application.enqueue import add, entry_for
from plugyard.application.executable import Call, Executable, executable_of
from plugyard.application.platform import Platform
from plugyard.domain.covering import topic_allows
from plugyard.domain.errors import NotFound, Overloaded, PlugyardError, SecretsLocked, StoreUnavailable, TenantSuspended
from plugyard.domain.events import Event, EventType, PlatformEvent
from plugyard.domain.identity import Caller, Role
from plugyard.domain.manifest import Runtime
from plugyard.domain.plugin import PluginState, PluginView
from plugyard.domain.queue import QueuedExecution
from plugyard.domain.tenants import TenantState

MOST_HOPS = 8
"""How many events may follow from one another. Whoever is at the end of a chain may not publish."""
_AT_ONCE = 100
_TENANTS, _OF_EACH, _BESIDE = 20, 10, 4
"""How many tenants have their turn in a round, with how many of their events, and how many of them at a time."""
_SUBSCRIBER = Caller("event", Role.DEVELOPER, None)


@dataclass(frozen=True, slots=True)
class _News:
    """What subscribers are told, and by which name (``once``) it is known when it comes again."""

    tenant_id: str
    topic: str
    told: dict[str, Any]
    once: str
    hops: int
    request_id: str


async def deliver(platform: Platform, event: Event) -> int:
    """Queue an execution for each active plugin of the tenant that subscribes; how many are new.

    Raises ``StoreUnavailable``, and ``Overloaded`` where too many of the tenant's wait; then none is queued. An event
    that starts nothing, by its type or its hops, is delivered to nobody.
    """
    topic, hops = event.data.get("topic"), event.data.get("hops", 1)
    if event.type is not EventType.PLUGIN_EVENT_PUBLISHED or not isinstance(topic, str) or hops > MOST_HOPS:
        return 0
    told = _told(event.id, topic, event.data.get("payload"), event.occurred_at, published_by=event.plugin_id)
    asked_by = str(event.data.get("executionId", ""))
    news = _News(event.tenant_id, topic, told, f"event {event.id}", hops, asked_by)
    try:
        entries = await _entries(platform, news, await _listeners(platform, event.tenant_id))
    except TenantSuspended:
        return 0
    if not entries:
        return 0
    # All or none: what is tried again later would otherwise come to those that it has started already.
    async with platform.store.for_tenant(event.tenant_id) as tx:
        return sum([await add(platform, tx, entry) for entry in entries])


async def hear(platform: Platform, said: PlatformEvent) -> bool:
    """Queue an execution for each active plugin that subscribes to what the platform said; it is durable when this
    returns. Whether its tenant may execute at all: what is said to one that is stopped starts nothing, then or later.

    However many of the tenant's wait: how much it says is the platform's own choice, and no tenant's, and what is
    behind a message on its topic would have to wait for this one's room.

    Raises ``NotFound`` where there is no such tenant, and ``StoreUnavailable``.
    """
    return await _hear_of(platform, said.tenant_id, [said])


async def hear_all(platform: Platform, said: Sequence[PlatformEvent]) -> Sequence[bool]:
    """``hear`` each of them, with one commit for all of a tenant. Where it raises, some may have been heard.

    Of one tenant's, the order is kept.
    """
    tenants: dict[str, list[PlatformEvent]] = {}
    for one in said:
        tenants.setdefault(one.tenant_id, []).append(one)
    heard = {tenant_id: await _hear_of(platform, tenant_id, theirs) for tenant_id, theirs in tenants.items()}
    return [heard[one.tenant_id] for one in said]


async def _hear_of(platform: Platform, tenant_id: str, said: Sequence[PlatformEvent]) -> bool:
    listeners = await _listeners(platform, tenant_id)
    entries = None
    with suppress(TenantSuspended):
        entries = [entry for one in said for entry in await _entries(platform, _said(one), listeners)]
    async with platform.store.for_tenant(tenant_id) as tx:
        tenant = await tx.tenant(tenant_id)
        if tenant is None:
            raise NotFound(f"There is no tenant {tenant_id}.")
        if tenant.state is not TenantState.ACTIVE:
            return False
        if entries is None:
            # It goes on since a moment ago, which the next look sees.
            raise StoreUnavailable
        for entry in entries:
            await tx.enqueue(entry)
    return True


def _said(said: PlatformEvent) -> _News:
    # Both parts are the platform's own words, of any length, so their hash is kept.
    name = hashlib.sha256(json.dumps([said.source, said.id]).encode()).hexdigest()
    told = _told(said.id, said.topic, said.payload, said.occurred_at, source=said.source)
    return _News(said.tenant_id, said.topic, told, f"inbox {name}", 1, said.id)


def _told(
    id_: str, topic: str, payload: Any, at: datetime, *, published_by: str | None = None, source: str | None = None
) -> dict[str, Any]:
    """What a handler is given. A plugin of the tenant said it, or the platform: one of the last two is null."""
    return {
        "eventId": id_,
        "topic": topic,
        "payload": payload,
        "publishedBy": published_by,
        "source": source,
        "occurredAt": at.isoformat(),
    }


async def _listeners(platform: Platform, tenant_id: str) -> Sequence[PluginView]:
    """The tenant's active plugins that subscribe to anything, as they are now or were a moment ago.

    In one order, so that processes which deliver the same never wait crosswise.
    """
    now = platform.clock()
    until = now + timedelta(seconds=platform.policies.plugin_cache_s)
    read = partial(_read_listeners, platform, tenant_id)
    found: Sequence[PluginView] = await platform.copies.get(("listeners", tenant_id), now, until, read)
    return found


async def _read_listeners(platform: Platform, tenant_id: str) -> Sequence[PluginView]:
    async with platform.store.for_tenant(tenant_id) as tx:
        installed = await tx.installed_plugins()
    active = [view for view in installed if view.plugin.state is PluginState.ACTIVE and _subscribed(view)]
    return sorted((view for view in active if handler_of(view) is not None), key=lambda view: view.plugin.id)


async def _entries(platform: Platform, news: _News, listeners: Sequence[PluginView]) -> list[QueuedExecution]:
    """What the news starts."""
    listening = [view for view in listeners if any(topic_allows(pattern, news.topic) for pattern in _subscribed(view))]
    entries = [await _entry(platform, news, view) for view in listening]
    return [entry for entry in entries if entry is not None]


def _subscribed(view: PluginView) -> Sequence[str]:
    found: Sequence[str] = view.version.manifest.document.get("events", {}).get("subscribes", ())
    return found


def handler_of(view: PluginView) -> str | None:
    """The function that a plugin has for events: the one it names, or ``onEvent`` (``on_event``) where it has that."""
    manifest = view.version.manifest
    usual = "on_event" if manifest.runtime is Runtime.PYTHON else "onEvent"
    named = manifest.document.get("events", {}).get("handler", usual)
    return named if named in view.version.functions else None


async def _entry(platform: Platform, news: _News, view: PluginView) -> QueuedExecution | None:
    executable: Executable | PluginView
    try:
        executable = await executable_of(platform, news.tenant_id, view.plugin.id)
    except (StoreUnavailable, TenantSuspended):
        raise
    except SecretsLocked:
        # Whoever carries it out waits for the key, as with all that is queued.
        executable = view
    except PlugyardError:
        # It went between the look and now.
        return None
    # The copy of the listeners may be older than that of the plugin, whose version is what runs.
    handler = handler_of(PluginView(executable.plugin, executable.version))
    if handler is None:
        return None
    call = Call(handler, json.dumps(news.told).encode(), hops=news.hops)
    entry = entry_for(platform, executable, call, _SUBSCRIBER, origin="event", once=news.once)
    return replace(entry, call=replace(entry.call, request_id=news.request_id))


async def deliver_waiting(platform: Platform) -> int:
    """Deliver what waits in the outbox, and note it there; how many events that were.

    Each tenant has its turn with a few, so that nobody's wait behind all of another's; those of a tenant whose queue is
    full wait until it has room. Several processes may deliver the same, and one that dies in between has some delivered
    again: that changes nothing, the order included, for each of them goes through a tenant's in order and what is
    queued already stays.
    """
    delivered = 0
    while delivered < _AT_ONCE:
        async with platform.store.for_operator() as tx:
            waiting = await tx.waiting_events(_TENANTS, _OF_EACH)
        tenants: dict[str, list[Event]] = {}
        for one in waiting:
            tenants.setdefault(one.tenant_id, []).append(one)
        places = asyncio.Semaphore(_BESIDE)
        works = (_deliver_of(platform, tenant_id, theirs, places) for tenant_id, theirs in tenants.items())
        found = await asyncio.gather(*works, return_exceptions=True)
        for count in found:
            if isinstance(count, BaseException):
                raise count
            delivered += count
        if not any(found):
            break
    return delivered


async def _deliver_of(platform: Platform, tenant_id: str, events: Sequence[Event], places: asyncio.Semaphore) -> int:
    done: list[str] = []
    async with places:
        try:
            for one in events:
                await deliver(platform, one)
                done.append(one.id)
        except Overloaded:
            pass  # It and what is behind it are delivered when there is room.
        finally:
            if done:
                async with platform.store.for_operator() as tx:
                    await tx.mark_delivered(done, platform.clock())
    return len(done)
