"""Decoys answer as services do, hold nothing, and write down what was asked in few words."""

import asyncio
from typing import Any

import pytest

from plugyard.domain.behaviour import ServiceUse
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.services.base import Denied, Scope, ServiceFault, Uses
from plugyard.sandbox.services.decoys import Record, decoys
from plugyard.sandbox.services.registry import PERMISSIONS

GRANTS = tuple(Permission(service) for service in Service)


class Stage:
    """New decoys and their record."""

    def __init__(self) -> None:
        self.record, self.uses = Record(), Uses()
        self.services = decoys(self.record)

    async def call(self, name: str, called: str, /, **arguments: Any) -> Any:
        service, grant = self.services.find(name, called, GRANTS)
        scope = Scope("acme", "notes", "e", grant, asyncio.get_running_loop().time() + 5, 0, self.uses)
        return await service.call(scope, called, arguments)

    @property
    def told(self) -> list[tuple[str, str, str, str, int]]:
        return [(use.service, use.method, use.target, use.refused, use.count) for use in self.record.uses]


async def test_there_is_a_decoy_for_every_service_that_plugins_know() -> None:
    stage = Stage()
    for name in PERMISSIONS:
        with pytest.raises(ServiceFault):
            stage.services.find(name, "no such method", GRANTS)
    await stage.services.close()


async def test_a_database_is_empty_and_its_transactions_begin_and_end_once() -> None:
    stage = Stage()
    assert await stage.call("database", "query", sql="select 1", parameters=[1]) == []
    assert await stage.call("database", "execute", sql="insert into t values (1)") == 0
    name = (await stage.call("database", "begin"))["transaction"]
    assert await stage.call("database", "query", sql="select 1", transaction=name) == []
    assert await stage.call("database", "commit", transaction=name) is None
    for method in ("commit", "rollback"):
        with pytest.raises(ServiceFault, match="no such transaction"):
            await stage.call("database", method, transaction=name)
    with pytest.raises(ServiceFault, match="no such transaction"):
        await stage.call("database", "query", sql="select 1", transaction=name)
    both = [{"sql": "select 1"}, {"sql": "select 2"}]
    assert await stage.call("database", "transaction", statements=both) == [[], []]
    with pytest.raises(Denied):
        await stage.call("database", "transaction", statements=[{"sql": "listen x"}])
    with pytest.raises(ServiceFault, match="sql must be a text"):
        await stage.call("database", "query", sql=7)


async def test_two_answers_are_not_told_apart_by_what_is_always_the_same() -> None:
    stage = Stage()
    first, second = [await stage.call("http", "request", method="GET", url="https://a.example/") for _ in range(2)]
    assert first["headers"]["etag"] != second["headers"]["etag"]
    assert (await stage.call("database", "begin")) != (await stage.call("database", "begin"))


async def test_a_request_is_written_down_without_its_query_headers_and_body() -> None:
    stage = Stage()
    asked = {"headers": {"authorization": "Bearer secret"}, "json": {"secret": 1}, "query": {"key": "secret"}}
    for _ in range(2):
        await stage.call(
            "http", "request", method="post", url="https://API.acme.com:8443/a?secret#secret", options=asked
        )
    assert stage.told == [("http", "request", "POST https://api.acme.com:8443/a", "", 2)]
    assert "secret" not in repr(stage.record.uses)
    assert {right.key for right in stage.uses.rights} == {"network", "network api.acme.com:8443"}


@pytest.mark.parametrize("url", ["ftp://a.example/", "https://user@a.example/", "nonsense", "https://a b/"])
async def test_a_request_that_could_not_be_sent_is_refused_and_named_by_nothing(url: str) -> None:
    stage = Stage()
    with pytest.raises(ServiceFault):
        await stage.call("http", "request", method="GET", url=url)
    assert stage.told == [("http", "request", "?", "invalid_argument", 1)]


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        *((host, True) for host in ("127.0.0.1", "127.1", "0177.0.0.1", "3232235777", "[::1]", "[::ffff:10.0.0.1]")),
        *((host, True) for host in ("localhost", "a.localhost", "printer.local", "db", "x.internal", "nas.home.arpa")),
        *((host, True) for host in ("169.254.169.254", "100.100.100.200", "168.63.129.16", "[fd00:ec2::254]", "0")),
        *((host, True) for host in ("[not-an-address]", "[\u202eabc]", f"[{'f' * 5000}]", "999.999.999.999")),
        *((host, False) for host in ("8.8.8.8", "134744072", "[2606:4700::1111]", "api.acme.com", "local.example")),
    ],
)
async def test_what_leads_inside_is_told_from_what_leads_outside(host: str, inside: bool) -> None:
    stage = Stage()
    await stage.call("http", "request", method="GET", url=f"http://{host}/")
    (use,) = stage.record.uses
    assert use.host is not None
    assert use.host.inside is inside
    assert use.target.isprintable()
    assert len(use.target) < 300


async def test_topics_are_kept_and_what_is_no_topic_is_not() -> None:
    stage = Stage()
    assert await stage.call("events", "publish", topic="invoice.created", payload={"secret": 1}) is None
    with pytest.raises(ServiceFault):
        await stage.call("events", "publish", topic="\x1b[2J", payload=1)
    assert [(told[2], told[3]) for told in stage.told] == [("invoice.created", ""), ("?", "invalid_arguments")]


async def test_files_and_cache_work_and_are_gone_with_the_decoys() -> None:
    stage, other = Stage(), Stage()
    await stage.call("files", "write", path="a/b.txt", content="text")
    assert await stage.call("files", "list", prefix="a") == ["a/b.txt"]
    assert await stage.call("files", "read", path="a/b.txt") == "text"
    assert await stage.call("files", "delete", path="a/b.txt") is True
    with pytest.raises(ServiceFault, match="no such file"):
        await stage.call("files", "read", path="a/b.txt")
    await stage.call("cache", "set", key="secret", value=1)
    assert await other.call("cache", "get", key="secret") is None
    assert ServiceUse("files", "write") in stage.record.uses
    assert all("secret" not in repr(use) for use in stage.record.uses)
    for one in (stage, other):
        await one.services.close()


async def test_a_call_that_was_cut_off_is_on_record() -> None:
    stage = Stage()
    service, _ = stage.services.find("cache", "get", GRANTS)

    async def hang(scope: Scope, method: str, arguments: dict[str, Any]) -> None:
        await asyncio.sleep(60)

    service._decoy.call = hang  # type: ignore[attr-defined]
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await stage.call("cache", "get", key="a")
    assert stage.told == [("cache", "get", "", "cut_off", 1)]
