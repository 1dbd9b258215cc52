"""What an execution used is noted as the fences allowed it; what they denied is not."""

import asyncio
import json
from typing import Any

import pytest

from plugyard.domain.limits import LimitPolicy
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.rights import Right
from plugyard.sandbox import wire
from plugyard.sandbox.outside.calls import Calls, Holder
from plugyard.sandbox.services.base import Scope, Uses
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.events import EventsService
from plugyard.sandbox.services.registry import Services

GRANTS = (Permission(Service.EVENTS, topics=("invoice.*", "paid")), Permission(Service.CACHE))


class Heard:
    """The environment's end: remembers how each call ended, and says when so many have."""

    def __init__(self, expected: int) -> None:
        self.answers: dict[int, bool] = {}
        self.all = asyncio.Event()
        self._expected = expected

    def answer(self, answer: wire.Answer) -> None:
        self.answers[answer.ticket] = answer.ok
        if len(self.answers) == self._expected:
            self.all.set()

    def overrun(self) -> None:
        raise AssertionError("no limit is met here")


async def used(*made: tuple[str, str, dict[str, Any]]) -> tuple[frozenset[Right], list[bool]]:
    """The rights that an execution with these calls used, and how each call ended."""

    async def publish(scope: Scope, topic: str, payload: Any, hops: int) -> None:
        pass

    services, heard = Services(), Heard(len(made))
    services.offer("events", EventsService(publish))
    services.offer("cache", CacheService())
    holder = Holder("execution", "acme", "plugin", GRANTS)
    calls = Calls(services, holder, LimitPolicy().effective(), asyncio.get_running_loop().time() + 2)
    assert calls.used_rights == frozenset()
    for ticket, (service, method, arguments) in enumerate(made):
        calls.begin(wire.Call(ticket, service, method, json.dumps(arguments).encode()), heard)
    async with asyncio.timeout(2):
        await heard.all.wait()
    await calls.close()
    return calls.used_rights, [heard.answers[ticket] for ticket in range(len(made))]


async def test_a_service_that_is_granted_whole_is_used_by_any_call_of_it() -> None:
    assert await used(("cache", "get", {"key": "a"})) == (frozenset({Right(Service.CACHE)}), [True])


async def test_a_topic_is_noted_with_the_entry_of_the_grant_that_allowed_it() -> None:
    rights, ended = await used(("events", "publish", {"topic": "invoice.created", "payload": 1}))
    assert ended == [True]
    assert rights == {
        Right(Service.EVENTS), Right(Service.EVENTS, "invoice.*"), Right(Service.EVENTS, "invoice.created"),
    }  # fmt: skip


async def test_an_entry_that_is_the_name_itself_is_noted_once() -> None:
    rights, _ = await used(("events", "publish", {"topic": "paid", "payload": 1}))
    assert rights == {Right(Service.EVENTS), Right(Service.EVENTS, "paid")}


@pytest.mark.parametrize(
    ("service", "method", "arguments"),
    [
        ("events", "publish", {"topic": "secret", "payload": 1}),  # beyond the grant's topics
        ("events", "publish", {"topic": "no topic", "payload": 1}),
        ("database", "query", {"sql": "select 1"}),  # not granted
        ("cache", "explode", {}),
    ],
)
async def test_a_denied_use_is_not_a_use(service: str, method: str, arguments: dict[str, Any]) -> None:
    assert await used((service, method, arguments)) == (frozenset(), [False])


async def test_names_are_bounded_and_entries_are_not_lost_for_it() -> None:
    topics = [f"invoice.n{number}" for number in range(100)]
    rights, _ = await used(*(("events", "publish", {"topic": topic}) for topic in (*topics, "paid")))
    assert len(rights) == 3 + 16
    assert {Right(Service.EVENTS, "invoice.*"), Right(Service.EVENTS, "paid")} <= rights


def test_noting_twice_keeps_one() -> None:
    uses = Uses()
    for _ in range(100):
        uses.note(Service.NETWORK, "*.acme.com", "api.acme.com")
    uses.note(Service.NETWORK, "*.acme.com", "eu.acme.com")
    assert len(uses.rights) == 4
