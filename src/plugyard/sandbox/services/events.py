"""The service ``events``: a plugin publishes to its own tenant. ``bootstrap`` makes it.

Publishing is a row in the outbox: an event that was published is delivered, if anybody listens, whatever happens next.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from weakref import WeakValueDictionary

import msgspec

from plugyard.domain.covering import topic_allows
from plugyard.domain.errors import PlugyardError
from plugyard.domain.events import MAX_PAYLOAD_BYTES, MAX_TOPIC, TOPIC
from plugyard.sandbox.services.base import Denied, Scope, ServiceFault

MAX_HOPS = 8
MAX_AT_ONCE = 6
MAX_AT_ONCE_PER_TENANT = 2

Publish = Callable[[Scope, str, Any, int], Awaitable[None]]
"""Writes an event: whose, on which topic, what, after how many hops."""


class EventsService:
    """See ``services.base.Service``."""

    methods = frozenset({"publish", "subscribe"})

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        # Publishing takes a connection of the store that the API needs as well.
        self._turns = asyncio.Semaphore(MAX_AT_ONCE)
        self._tenants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    async def call(self, scope: Scope, method: str, arguments: dict[str, Any]) -> Any:
        """Publish. Raises ``Denied`` for a topic beyond the grant."""
        if method == "subscribe":
            raise ServiceFault(
                "subscribe_in_manifest",
                "a plugin subscribes in its manifest, by events.subscribes, so that events find it asleep",
            )
        topic = arguments.get("topic")
        if not isinstance(topic, str) or len(topic) > MAX_TOPIC or TOPIC.fullmatch(topic) is None:
            raise ServiceFault("invalid_arguments", "topic must be words joined by dots, as in invoice.created")
        entry = next((pattern for pattern in scope.grant.topics if topic_allows(pattern, topic)), "")
        if scope.grant.topics and not entry:
            raise Denied(f"this plugin was not granted to publish on the topic {topic}")
        if scope.uses is not None:
            scope.uses.note(scope.grant.service, entry, topic)
        payload = arguments.get("payload")
        size = len(msgspec.json.encode(payload))
        if size > MAX_PAYLOAD_BYTES:
            raise ServiceFault("payload_too_large", f"a payload may have {MAX_PAYLOAD_BYTES} bytes; this has {size}")
        if scope.hops >= MAX_HOPS:
            raise ServiceFault("too_many_hops", f"this execution is the end of a chain of {MAX_HOPS} events")
        try:
            turn = self._tenants.setdefault(scope.tenant_id, asyncio.Semaphore(MAX_AT_ONCE_PER_TENANT))
            async with turn, self._turns:
                await self._publish(scope, topic, payload, scope.hops + 1)
        except PlugyardError as error:
            raise ServiceFault(error.code, "the event was not published; try again later") from error

    async def ended(self, execution_id: str) -> None:
        """Nothing is held for an execution."""

    async def close(self) -> None:
        """Nothing is held."""
