"""What is sent and what is read: a plugin's fields and body are checked, an answer is counted while it is decoded."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.sandbox.services.base import ServiceFault
from plugyard.sandbox.services.egress import body, fields, request
from plugyard.sandbox.services.egress.target import parse

CAP = 100_000


def gzipped(data: bytes) -> bytes:
    """The same bytes each time: they name tests, and without this they would hold the time."""
    return gzip.compress(data, mtime=0)


def ask(method: str = "GET", url: str = "https://a.com/", **options: Any) -> request.Request:
    return request.read({"method": method, "url": url, "options": options}, CAP)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"method": "GET"},
        {"method": 1, "url": "https://a.com/"},
        {"method": "GET", "url": "https://a.com/", "verify": False},
        {"method": "GET", "url": "https://a.com/", "options": {"proxy": "http://b"}},
        {"method": "GET", "url": "https://a.com/", "options": {"headers": {"a": None}}},
        {"method": "GET", "url": "https://a.com/", "options": {"headers": [["a", "b"]]}},
        {"method": "GET", "url": "https://a.com/", "options": {"timeoutMs": -1}},
        {"method": "GET", "url": "https://a.com/", "options": {"timeoutMs": 0}},
        {"method": "GET", "url": "https://a.com/", "options": {"redirect": "always"}},
        {"method": "GET", "url": "https://a.com/", "options": {"body": "x"}},
        {"method": "POST", "url": "https://a.com/", "options": {"body": "x", "json": 1}},
        {"method": "POST", "url": "https://a.com/", "options": {"bodyBase64": "!"}},
        {"method": "POST", "url": "https://a.com/", "options": {"body": "\ud800"}},
        {"method": "CONNECT", "url": "https://a.com/"},
        {"method": "TRACE", "url": "https://a.com/"},
        {"method": "GET / HTTP/1.1\r\nX: y", "url": "https://a.com/"},
        {"method": "GET", "url": "https://user@a.com/"},
        {"method": "GET", "url": "https://a.com/", "options": {"query": {"a": {"b": 1}}}},
    ],
)
def test_arguments_that_are_wrong_are_told_and_never_sent(arguments: dict[str, Any]) -> None:
    with pytest.raises(ServiceFault) as fault:
        request.read(arguments, CAP)
    assert fault.value.code == "invalid_argument"


@given(
    st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner), max_leaves=9)
)
def test_whatever_the_arguments_are_there_is_a_request_or_a_fault(options: Any) -> None:
    code = ""
    try:
        request.read({"method": "POST", "url": "https://a.com/", "options": options}, CAP)
    except ServiceFault as fault:
        code = fault.code
    assert code in ("", "invalid_argument", "request_too_large")


def test_a_request_is_read_with_its_query_and_its_body() -> None:
    asked = ask("post", query={"q": "a b&c", "n": 1, "t": True, "l": [1, 2], "none": None}, json={"x": "ü"})
    assert asked.method == "POST"
    assert asked.target.url == "https://a.com/?q=a+b%26c&n=1&t=true&l=1&l=2"
    assert json.loads(asked.body or b"") == {"x": "ü"}
    assert asked.headers["content-type"] == "application/json"
    assert ask("PUT", json=None).body == b"null"
    assert ask("PUT", bodyBase64="AAE=").body == b"\x00\x01"
    assert ask("PUT", body="x", headers={"Content-Type": "text/csv"}).headers == {"content-type": "text/csv"}


def test_a_body_beyond_its_cap_is_refused() -> None:
    with pytest.raises(ServiceFault) as fault:
        ask("POST", body="x" * (CAP + 1))
    assert fault.value.code == "request_too_large"


@pytest.mark.parametrize(
    "headers",
    [
        *({name: "x"} for name in ("Host", "content-length", "Transfer-Encoding", "Connection", "TE", "Upgrade")),
        *({name: "x"} for name in ("Proxy-Authorization", "Keep-Alive", "Trailer", "Expect", "HTTP2-Settings")),
        *({name: "x"} for name in ("", "a b", "a:", "ü", "a\n", ":path", "a" * 101)),
        *({"x": value} for value in ("a\r\nHost: b", "a\nb", "a\x00", "\x7f", "\ud800")),
        {"a": "1", "A": "2"},
        {"a": "x" * 20_000},
        {f"h{number}": "1" for number in range(65)},
    ],
)
def test_a_header_that_is_not_the_plugins_to_set_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ServiceFault):
        fields.outgoing(headers)


def test_the_platform_says_itself_what_it_can_decode() -> None:
    assert fields.outgoing({"Accept-Encoding": "br", "X-Key": " v\t"}) == {"x-key": "v"}


@pytest.mark.parametrize(
    ("method", "status", "expected"),
    [
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("POST", 303, "GET"),
        ("PUT", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("PUT", 301, "PUT"),
        ("DELETE", 302, "DELETE"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
        ("GET", 302, "GET"),
    ],
)
def test_a_redirect_changes_the_method_as_the_standard_says(method: str, status: int, expected: str) -> None:
    options = {} if method == "HEAD" else {"headers": {"content-language": "de"}}
    asked = ask(method, **options) if method in ("GET", "HEAD") else ask(method, body="x", **options)
    further = asked.redirected(status, parse("https://a.com/next"))
    assert further.method == expected
    if method != expected:
        assert further.body is None
        assert not [name for name in further.headers if name.startswith("content-")]
    else:
        assert further.body == asked.body


@pytest.mark.parametrize("url", ["https://b.com/", "http://a.com/", "https://a.com:8443/", "https://x.a.com/"])
def test_no_credential_crosses_to_another_origin(url: str) -> None:
    headers = {"Authorization": "Bearer x", "Cookie": "a=b", "X-Api-Key": "k", "Accept": "text/csv", "Referer": "r"}
    further = ask(headers=headers).redirected(302, parse(url))
    assert further.headers == {"accept": "text/csv"}


def test_within_an_origin_the_fields_stay() -> None:
    assert ask(headers={"Authorization": "x"}).redirected(302, parse("https://a.com/2")).headers == {
        "authorization": "x"
    }


def test_an_answers_fields_are_lower_case_joined_and_capped() -> None:
    pairs = [("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("Content-Encoding", "gzip"), ("X", "\udcff")]
    assert fields.incoming(pairs, 1000) == {"set-cookie": "a=1, b=2", "x": "?"}
    with pytest.raises(ServiceFault):
        fields.incoming([("a", "b" * 500)] * 3, 1000)


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        ("", b"hello" * 999),
        ("identity", b"hello" * 999),
        ("gzip", gzipped(b"hello" * 999)),
        ("X-GZIP", gzipped(b"hello" * 999)),
        ("gzip", gzipped(b"hello" * 500) + gzipped(b"hello" * 499)),
        ("gzip", gzipped(b"hello" * 999) + b"\0\0\0"),
        ("deflate", zlib.compress(b"hello" * 999)),
        ("deflate", raw_deflate(b"hello" * 999)),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_a_body_is_decoded_however_it_is_cut(coding: str, encoded: bytes, size: int) -> None:
    assert await body.read(pieces(encoded, size), coding, CAP) == b"hello" * 999


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        ("", b"x" * (CAP + 1)),
        ("gzip", gzipped(bytes(50_000_000))),
        ("deflate", zlib.compress(bytes(50_000_000))),
        ("gzip", gzipped(b"") * (CAP // 20 + 1)),
    ],
)
async def test_a_body_that_grows_beyond_the_cap_is_cut_where_it_does(coding: str, encoded: bytes) -> None:
    with pytest.raises(ServiceFault) as fault:
        await body.read(pieces(encoded, 65_536), coding, CAP)
    assert fault.value.code == "response_too_large"


@pytest.mark.parametrize(
    ("coding", "encoded"),
    [
        ("gzip", b"no gzip at all"),
        ("gzip", gzipped(b"hello")[:-9]),
        ("deflate", zlib.compress(b"hello")[:-5]),
        ("br", b"x"),
        ("gzip, gzip", gzipped(gzipped(b"x"))),
        ("gzip", gzipped(b"x")[:-2] + b"zz"),
    ],
)
async def test_a_body_that_cannot_be_decoded_is_a_fault(coding: str, encoded: bytes) -> None:
    with pytest.raises(ServiceFault) as fault:
        await body.read(pieces(encoded), coding, CAP)
    assert fault.value.code == "bad_response"


@given(st.binary(max_size=2000), st.sampled_from(["gzip", "deflate"]))
async def test_whatever_the_bytes_are_there_is_a_body_or_a_fault(data: bytes, coding: str) -> None:
    code = ""
    try:
        assert len(await body.read(pieces(data), coding, 500)) <= 500
    except ServiceFault as fault:
        code = fault.code
    assert code in ("", "bad_response", "response_too_large")


def test_a_body_that_is_no_text_travels_as_base64() -> None:
    assert body.told("hällo\0".encode()) == {"body": "hällo\0"}
    assert body.told(b"\xff\x00") == {"bodyBase64": "/wA="}
