"""The http service against real servers: where requests go, what comes back, and who shares what."""

import asyncio
import gzip
import ipaddress
import json
import shutil
import ssl
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from plugyard.application.tracing import within
from plugyard.domain.permissions import Service
from plugyard.domain.rights import Right
from plugyard.sandbox.services.base import Denied, ServiceFault, Uses
from plugyard.sandbox.services.http import EgressSettings
from tests.integration.egress.servers import GZIP, echo, egress, get, lower, raw_server, scope, server, silent
from tests.memory.tracing import MemoryTracing


async def test_a_request_arrives_as_it_was_judged_and_its_answer_comes_back() -> None:
    async with server(echo) as port, egress() as service:
        answer = await get(
            service,
            scope(f"api.test:{port}", methods=("POST",), paths=("/v1/*",)),
            f"http://API.test:{port}/x/../v1/%41?a=1#f",
            "POST",
            json={"n": 1},
            query={"b": "c d"},
            headers={"X-Key": "k"},
        )
    seen = json.loads(answer["body"])
    assert (answer["status"], answer["redirected"], answer["url"]) == (
        200,
        False,
        f"http://api.test:{port}/v1/A?a=1&b=c+d",
    )
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/v1/A?a=1&b=c+d", '{"n":1}')
    assert seen["headers"] == {
        "host": f"api.test:{port}",
        "x-key": "k",
        "content-type": "application/json",
        "content-length": "7",
        "user-agent": "Plugyard",
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
    }
    assert answer["headers"]["content-type"].startswith("application/json")


async def test_a_large_body_arrives_whole_and_bytes_come_back_as_they_were() -> None:
    async def mirror(request: web.Request) -> web.Response:
        return web.Response(body=(await request.content.read())[-3:] + b"\xff")

    async with server(mirror) as port, egress() as service:
        answer = await get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/", "PUT", body="x" * 3_000_000)
    assert answer["bodyBase64"] == "eHh4/w=="


async def test_a_denied_host_is_never_connected_to() -> None:
    asked: list[str] = []

    async def lookup(host: str, port: int) -> tuple[str, ...]:
        asked.append(host)
        return ("127.0.0.1",)

    async with server(echo) as port, egress(lookup=lookup) as service:
        for within, url in (
            (scope(), f"http://a.test:{port}/"),
            (scope(f"b.test:{port}"), f"http://a.test:{port}/"),
            (scope("a.test"), f"http://a.test:{port}/"),
            (scope(f"a.test:{port}", methods=("POST",)), f"http://a.test:{port}/"),
            (scope(f"a.test:{port}", paths=("/v1/*",)), f"http://a.test:{port}/v1/..%2fadmin"),
            (scope(f"127.0.0.1:{port}"), f"http://127.0.0.1:{port}/"),
            (scope(f"2130706433:{port}"), f"http://2130706433:{port}/"),
        ):
            with pytest.raises(Denied):
                await get(service, within, url)
    assert asked == []


async def test_without_leave_for_private_addresses_loopback_is_refused() -> None:
    async with server(echo) as port, egress(EgressSettings()) as service:
        with pytest.raises(Denied, match="not public") as refused:
            await get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/")
    assert "127.0.0.1" not in refused.value.message


async def test_calls_that_wait_for_one_lookup_are_all_refused_by_it() -> None:
    asked = 0

    async def private(host: str, port: int) -> tuple[str, ...]:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.05)
        return ("10.0.0.1",)

    async with egress(EgressSettings(), private) as service:
        calls = (get(service, scope("a.test"), "https://a.test/") for _ in range(20))
        found = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(one) for one in found} == {Denied}
    assert asked == 1


async def test_a_name_that_changes_its_mind_is_held_to_its_first_answer_and_judged_anew() -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]]
    asked = 0

    async def rebinding(host: str, port: int) -> list[str]:
        nonlocal asked
        asked += 1
        return answers[min(asked, len(answers)) - 1]

    seen: list[str] = []

    async def closing(request: web.Request) -> web.Response:
        seen.append(request.raw_path)
        response = web.Response(text="public")
        response.force_close()
        return response

    async def secret(request: web.Request) -> web.Response:
        seen.append("private!")
        return web.Response(text="private")

    # 127.0.0.1 plays the public address, 127.0.0.2 the private one.
    settings = EgressSettings(allow_private=True, extra_denied=(ipaddress.ip_network("127.0.0.2/32"),))
    async with server(closing) as port, server(secret, "127.0.0.2", port), egress(settings, rebinding) as service:
        within = scope(f"*.rebind.test:{port}")
        assert (await get(service, within, f"http://x.rebind.test:{port}/1"))["body"] == "public"
        # The same name within the moment that its judged addresses are kept: the name server is not asked.
        assert (await get(service, within, f"http://x.rebind.test:{port}/2"))["body"] == "public"
        assert asked == 1
        for name in ("y", "z"):
            with pytest.raises(Denied, match="not public"):
                await get(service, within, f"http://{name}.rebind.test:{port}/3")
    assert asked == 3
    assert seen == ["/1", "/2"]


async def test_a_redirect_is_followed_to_granted_places_alone() -> None:
    async def redirecting(request: web.Request) -> web.StreamResponse:
        if request.path == "/end":
            return await echo(request)
        return web.Response(status=302, headers={"Location": request.query["to"]})

    async with server(redirecting) as port, server(echo) as other, egress() as service:
        a, b = f"a.test:{port}", f"b.test:{port}"
        within = scope(a, b, f"c.test:{other}", paths=("/end", "/go"))
        answer = await get(service, within, f"http://{a}/go", query={"to": "/end"})
        assert (answer["redirected"], answer["url"]) == (True, f"http://{a}/end")
        within = replace(within, uses=Uses())
        answer = await get(service, within, f"http://{a}/go", query={"to": f"//{b}/go?to=http://c.test:{other}/end"})
        assert answer["url"] == f"http://c.test:{other}/end"
        hosts = ("", a, b, f"c.test:{other}")
        assert within.uses is not None
        assert within.uses.rights == {Right(Service.NETWORK, host) for host in hosts}
        for place in (
            f"http://d.test:{port}/end",
            "http://169.254.169.254/latest/meta-data/",
            f"http://127.0.0.1:{port}/end",
            f"http://[::1]:{port}/end",
            f"http://a.test:{other}/end",
            "/admin",
            "/go/../admin",
        ):
            with pytest.raises(Denied, match="redirects"):
                await get(service, within, f"http://{a}/go", query={"to": place})
        assert len(within.uses.rights) == len(hosts)  # what was denied was not used
        for place in ("file:///etc/passwd", "gopher://a.test/", f"http://user:word@{a}/end", "http://a.test\\@b/"):
            with pytest.raises(ServiceFault) as fault:
                await get(service, within, f"http://{a}/go", query={"to": place})
            assert fault.value.code == "bad_response"


async def test_a_plugin_may_take_a_redirect_itself_or_refuse_it() -> None:
    async def redirecting(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://evil.test/")

    async with server(redirecting) as port, egress() as service:
        within = scope(f"a.test:{port}")
        answer = await get(service, within, f"http://a.test:{port}/", redirect="manual")
        assert (answer["status"], answer["headers"]["location"]) == (302, "http://evil.test/")
        with pytest.raises(ServiceFault) as fault:
            await get(service, within, f"http://a.test:{port}/", redirect="error")
        assert fault.value.code == "redirected"


async def test_credentials_never_cross_hosts() -> None:
    seen: list[dict[str, Any]] = []

    async def redirecting(request: web.Request) -> web.StreamResponse:
        seen.append({**lower(request), "host": request.host.partition(":")[0], "method": request.method})
        to = request.query.get("to")
        if to is None:
            return web.Response(text=(await request.read()).decode())
        response = web.Response(status=int(request.query.get("status", 302)), headers={"Location": to})
        response.set_cookie("session", "theirs")
        return response

    async with server(redirecting) as port, egress() as service:
        within = scope(f"a.test:{port}", f"b.test:{port}")
        headers = {"Authorization": "Bearer secret", "Cookie": "mine=1", "X-Api-Key": "secret", "Accept": "text/plain"}
        await get(service, within, f"http://a.test:{port}/", headers=headers, query={"to": "/same"})
        await get(service, within, f"http://a.test:{port}/", headers=headers, query={"to": f"http://b.test:{port}/"})
        # Nor does a cookie that a host set come back to it with a later request.
        await get(service, within, f"http://a.test:{port}/later")
        answer = await get(
            service, within, f"http://a.test:{port}/", "POST", body="b", query={"to": "/x", "status": "307"}
        )
        assert answer["body"] == "b"
        answer = await get(service, within, f"http://a.test:{port}/", "POST", body="b", query={"to": "/x"})
        assert answer["body"] == ""
    same, crossed, later = seen[1], seen[3], seen[4]
    assert (same["authorization"], same["cookie"], same["x-api-key"]) == ("Bearer secret", "mine=1", "secret")
    assert crossed["host"] == "b.test"
    assert crossed["accept"] == "text/plain"
    assert not {"authorization", "cookie", "x-api-key"} & crossed.keys()
    assert "cookie" not in later
    assert [one["method"] for one in seen[5:]] == ["POST", "POST", "POST", "GET"]


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """A certificate for a.test that is its own authority, and a server's context with it."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate of this test, and it is not installed")
    key, pem = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=a.test", "-addext", "subjectAltName=DNS:a.test", "-days", "2"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem, key)
    return pem, context


async def test_a_certificate_is_verified_by_authority_and_by_name(certificate: tuple[Path, ssl.SSLContext]) -> None:
    pem, context = certificate
    trusting = EgressSettings(allow_private=True, authorities=pem)
    async with server(echo, tls=context) as port, egress() as strict, egress(trusting) as trusted:
        within = scope(f"a.test:{port}", f"b.test:{port}")
        assert (await get(trusted, within, f"https://a.test:{port}/"))["status"] == 200
        for service, name in ((strict, "a.test"), (trusted, "b.test")):
            with pytest.raises(ServiceFault) as fault:
                await get(service, within, f"https://{name}:{port}/")
            assert fault.value.code == "tls_failed"


async def test_a_redirect_never_leaves_https_for_http(certificate: tuple[Path, ssl.SSLContext]) -> None:
    pem, context = certificate

    async def redirecting(request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"http://a.test:{plain}/"})

    async with (
        server(echo) as plain,
        server(redirecting, tls=context) as port,
        egress(EgressSettings(allow_private=True, authorities=pem)) as service,
    ):
        with pytest.raises(Denied, match="from https to http"):
            await get(service, scope(f"a.test:{port}", f"a.test:{plain}"), f"https://a.test:{port}/")


async def test_redirects_without_end_are_ended() -> None:
    hops = 0

    async def circle(request: web.Request) -> web.StreamResponse:
        nonlocal hops
        hops += 1
        raise web.HTTPFound("/again")

    async with server(circle) as port, egress() as service:
        with pytest.raises(ServiceFault) as fault:
            await get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/")
    assert fault.value.code == "too_many_redirects"
    assert hops == 6


async def test_a_compressed_answer_is_decoded_and_a_bomb_is_cut() -> None:
    sent = 0

    async def packed(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        if request.path == "/honest":
            return web.Response(body=gzip.compress(b"hello"), headers=GZIP)
        response = web.StreamResponse(headers=GZIP)
        await response.prepare(request)
        bomb = gzip.compress(bytes(200_000_000), 1)
        for start in range(0, len(bomb), 50_000):
            await response.write(bomb[start : start + 50_000])
            sent += 1
        return response

    async with server(packed) as port, egress() as service:
        within = scope(f"a.test:{port}")
        answer = await get(service, within, f"http://a.test:{port}/honest")
        assert (answer["body"], "content-encoding" in answer["headers"]) == ("hello", False)
        with pytest.raises(ServiceFault) as fault:
            await get(service, within, f"http://a.test:{port}/bomb")
        assert fault.value.code == "response_too_large"
        assert (await get(service, within, f"http://a.test:{port}/honest"))["body"] == "hello"
    # The first piece is enough to see it; the rest is at most what fits the buffers on the way.
    assert sent < 100


async def test_the_executions_own_deadline_ends_a_call() -> None:
    async with raw_server(silent) as port, egress() as service:
        began = time.monotonic()
        with pytest.raises(ServiceFault) as fault:
            await get(service, scope(f"a.test:{port}", seconds=0.2), f"http://a.test:{port}/")
        assert fault.value.code == "timed_out"
        assert time.monotonic() - began < 2


async def test_a_call_that_is_cancelled_gives_its_connection_back() -> None:
    left = asyncio.Event()

    async def waiting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.read(1) == b""
        left.set()

    async with raw_server(waiting) as port, egress() as service:
        task = asyncio.create_task(get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/"))
        await asyncio.sleep(0.2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(left.wait(), 2)


async def test_nobody_there_and_no_such_name_are_told_apart_without_an_address() -> None:
    async def nothing(host: str, port: int) -> tuple[str, ...]:
        if host == "none.test":
            raise OSError("unknown")
        return ("127.0.0.1",)

    async with server(echo) as port:
        pass
    async with egress(lookup=nothing) as service:
        within = scope(f"a.test:{port}", f"none.test:{port}")
        for name, words in (("a", "no connection"), ("none", "no address")):
            with pytest.raises(ServiceFault, match=words) as fault:
                await get(service, within, f"http://{name}.test:{port}/")
            assert fault.value.code == "connection_failed"
            assert "127" not in fault.value.message


async def test_a_tenant_reuses_its_connections_and_meets_none_of_anothers() -> None:
    async with server(echo) as port, egress() as service:
        peers = [
            (await get(service, scope(f"a.test:{port}", tenant=tenant), f"http://a.test:{port}/"))["headers"]["x-peer"]
            for tenant in ("acme", "acme", "globex", "acme")
        ]
    assert peers[0] == peers[1] == peers[3]
    assert peers[2] != peers[0]


async def test_a_hundred_calls_of_a_second_each_run_side_by_side() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response(text="done")

    async with server(slow) as port, egress() as service:
        within = scope(f"a.test:{port}")
        began = time.monotonic()
        answers = await asyncio.gather(*(get(service, within, f"http://a.test:{port}/") for _ in range(100)))
        assert {answer["body"] for answer in answers} == {"done"}
        assert time.monotonic() - began < 2


async def test_a_tenant_that_waits_for_its_connections_holds_up_no_other() -> None:
    release = asyncio.Event()

    async def held(request: web.Request) -> web.Response:
        if request.path == "/held":
            await release.wait()
        return web.Response(text="done")

    settings = EgressSettings(allow_private=True, connections_per_host=2, connections_per_tenant=2)
    async with server(held) as port, egress(settings) as service:
        burst = [
            asyncio.create_task(get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/held")) for _ in range(6)
        ]
        await asyncio.sleep(0.1)
        answer = await get(service, scope(f"a.test:{port}", tenant="globex", seconds=1), f"http://a.test:{port}/")
        assert answer["body"] == "done"
        release.set()
        assert [answer["body"] for answer in await asyncio.gather(*burst)] == ["done"] * 6


async def test_tenants_that_are_quiet_are_forgotten() -> None:
    settings = EgressSettings(allow_private=True, kept_tenants=2)
    async with server(echo) as port, egress(settings) as service:
        for number in range(6):
            await get(service, scope(f"a.test:{port}", tenant=f"t{number}"), f"http://a.test:{port}/")
        assert list(service._kept) == ["t4", "t5"]


async def test_nothing_is_asked_of_the_environments_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    async with server(echo) as port, egress() as service:
        assert (await get(service, scope(f"a.test:{port}"), f"http://a.test:{port}/"))["status"] == 200


async def test_after_its_end_the_service_takes_no_call() -> None:
    async with egress() as service:
        pass
    with pytest.raises(ServiceFault) as fault:
        await get(service, scope("a.test"), "http://a.test/")
    assert fault.value.code == "service_unavailable"


async def test_a_stranger_is_told_of_no_trace_and_the_span_of_a_call_names_the_grant_alone() -> None:
    tracing = MemoryTracing()
    async with server(echo) as port, egress() as service:
        with within(tracing.begin("http.request", "client", None)):
            answer = await get(service, scope(f"*.api.test:{port}"), f"http://word.api.test:{port}/word?word", "POST")
    assert {"traceparent", "tracestate"}.isdisjoint(json.loads(answer["body"])["headers"])
    (span,) = tracing.spans
    assert span.attributes == {"http.request.method": "POST", "server.address": f"*.api.test:{port}"}
