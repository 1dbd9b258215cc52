# ruff: noqa: RUF001 - characters that only look alike are what is tested here
"""A URL is read once, strictly: what could be read in two ways is refused, and what is judged is what is sent."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from plugyard.sandbox.services.egress.target import Target, TargetError, ambiguity, follow, normal_path, parse


@pytest.mark.parametrize(
    ("url", "normal"),
    [
        ("https://api.acme.com", "https://api.acme.com/"),
        ("HTTPS://API.Acme.COM:443/V1", "https://api.acme.com/V1"),
        ("http://api.acme.com:80/?a=b#fragment", "http://api.acme.com/?a=b"),
        ("http://api.acme.com:8080/x", "http://api.acme.com:8080/x"),
        ("https://api.acme.com./", "https://api.acme.com/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://ａｐｉ.acme.com/", "https://api.acme.com/"),
        ("https://api。acme。com/", "https://api.acme.com/"),
        ("https://a/b/../c/./d", "https://a/c/d"),
        ("https://a/../../x", "https://a/x"),
        ("https://a/b/%2e%2E/c", "https://a/c"),
        ("https://a/b/..", "https://a/"),
        ("https://a/%41%7e%2f", "https://a/A~%2F"),
        ("https://a/ü?ü=ä", "https://a/%C3%BC?%C3%BC=%C3%A4"),
        ("https://a?x=1", "https://a/?x=1"),
        ("https://r4---sn-abc.example.com/", "https://r4---sn-abc.example.com/"),
    ],
)
def test_a_url_has_one_form(url: str, normal: str) -> None:
    assert parse(url).url == normal


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.acme.com",
        "//api.acme.com/",
        "ftp://api.acme.com/",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https:/api.acme.com/",
        "https:api.acme.com",
        "https://",
        "https:///etc",
        "https://:443/",
        "https://user@api.acme.com/",
        "https://user:word@api.acme.com/",
        "https://api.acme.com@evil.com/",
        "https://api.acme.com:443@evil.com/",
        "https://api.acme.com\\@evil.com/",
        "https://evil.com\\.api.acme.com/",
        "https:\\\\api.acme.com\\",
        " https://api.acme.com/",
        "https://api.acme.com/ ",
        "https://api.acme.com/a b",
        "https://api.acme.com/\r\nHost: evil.com",
        "https://api.acme.com/\t",
        "https://api.acme.com\x00.evil.com/",
        "https://api.acme.com%00.evil.com/",
        "https://api%2eacme.com/",
        "https://api.acme.com:/",
        "https://api.acme.com:0/",
        "https://api.acme.com:65536/",
        "https://api.acme.com:443:80/",
        "https://api.acme.com:-1/",
        "https://api.acme.com:８０/",
        "https://api..acme.com/",
        "https://api.acme.com../",
        "https://.acme.com/",
        "https://-a.acme.com/",
        "https://a_b.acme.com/",
        "https://xn--.acme.com/",
        "https://xn--zzzzzz99999.acme.com/",
        "https://api.acme.com\u2100.evil.com/",
        "https://evil.com\u2044.api.acme.com/",
        "https://[::1/",
        "https://api.acme.com[::1]/",
        "https://a/%",
        "https://a/%4",
        "https://a/%zz",
        "https://a/?x=%",
        "https://a/\ud800",
        "https://a/" + "x" * 9000,
        "https://" + "a" * 64 + ".com/",
    ],
)
def test_a_url_that_is_none_or_several_is_refused(url: str) -> None:
    with pytest.raises(TargetError):
        parse(url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "１２７.0.0.1",
        "127。0。0。1",
        "①②⑦.0.0.1",
        "1.2.3.4.5",
        "0x",
        "api.0x7f",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[fe80::1%25eth0]",
        "[fd00:ec2::254]",
    ],
)
def test_every_way_to_write_an_address_is_known_as_one(host: str) -> None:
    assert parse(f"http://{host}/").is_address


@pytest.mark.parametrize("host", ["a.com", "1.com", "0x7f.com", "127.0.0.1.nip.io", "7f000001.example"])
def test_a_name_with_numbers_is_a_name(host: str) -> None:
    assert not parse(f"http://{host}/").is_address


@pytest.mark.parametrize(
    ("path", "doubt"),
    [
        ("/v1//admin", "two slashes"),
        ("/v1/%2Fadmin", "encoded slash"),
        ("/v1/..%2Fadmin", "encoded slash"),
        ("/v1/%5C..%5Cadmin", "backslash"),
        ("/v1/%252e%252e/admin", "encoded twice"),
        ("/v1/\uff052e\uff052e/admin", "encoded twice"),
        ("/v1/..;/admin", "hidden dot"),
        ("/v1/..;a=b/admin", "hidden dot"),
        ("/v1/.%20/admin", "hidden dot"),
        ("/v1/%00/admin", "control"),
        ("/v1/%C0%AE%C0%AE/admin", "UTF-8"),
        ("/v1/\uff0e\uff0e/admin", "hidden dot"),
        ("/v1/..\uff0fadmin", "encoded slash"),
        ("/v1/\u2025/admin", "hidden dot"),
    ],
)
def test_a_path_that_servers_read_differently_is_told(path: str, doubt: str) -> None:
    assert doubt in (ambiguity(normal_path(path)) or "")


@pytest.mark.parametrize("path", ["/", "/v1/notes", "/v1/a.b/..c", "/100%25", "/v1/x;y=1", "/v1/ü%20z", "/a@b:c"])
def test_a_plain_path_is_not(path: str) -> None:
    assert ambiguity(normal_path(path)) is None


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://a.com:8443/x"),
        ("x", "https://a.com:8443/d/x"),
        ("../x", "https://a.com:8443/x"),
        ("?y", "https://a.com:8443/d/e?y"),
        ("", "https://a.com:8443/d/e?q"),
        ("#f", "https://a.com:8443/d/e?q"),
        ("//b.com/x", "https://b.com/x"),
        ("http://b.com", "http://b.com/"),
        ("./a:b", "https://a.com:8443/d/a:b"),
    ],
)
def test_a_redirect_is_resolved_as_the_standard_says(location: str, url: str) -> None:
    assert follow(parse("https://a.com:8443/d/e?q"), location).url == url


@pytest.mark.parametrize(
    "location", ["ftp://b.com/", "javascript:1", "//user@b.com/", "/\\evil.com", "\\\\evil.com", "///evil", "data:,x"]
)
def test_a_redirect_to_what_is_no_url_is_refused(location: str) -> None:
    with pytest.raises(TargetError):
        follow(parse("https://a.com/"), location)


HOSTILE = st.text(st.sampled_from("ahtps:/\\@.#?%2eEfF5cC;[]0x17 \t\r\n。．／ü-_") | st.characters(), max_size=40)


@given(st.sampled_from(["", "http://", "https://a.com", "https://a.com/v1/"]), HOSTILE)
def test_whatever_is_read_other_readers_read_alike(start: str, rest: str) -> None:
    try:
        target = parse(start + rest)
    except TargetError:
        return
    told = urlsplit(target.url)
    sent = URL(target.url, encoded=True)
    assert target.url.isascii()
    assert (told.scheme, told.path, told.username) == (target.scheme, target.path, None)
    if not target.is_address:
        assert told.hostname == sent.raw_host == target.host
        assert sent.port == target.port
    assert sent.raw_path == target.path
    assert parse(target.url) == target


@given(HOSTILE)
def test_a_normal_path_stays_as_it_is_and_has_no_dot_segment(rest: str) -> None:
    try:
        path = normal_path("/" + rest.replace("?", "").replace("#", ""))
    except (TargetError, UnicodeEncodeError):
        return
    assert normal_path(path) == path
    assert not {".", ".."} & set(path.split("/"))


@given(HOSTILE)
def test_whatever_a_redirect_says_it_leads_to_a_url_or_nowhere(location: str) -> None:
    try:
        target = follow(parse("https://a.com/v1/x?y"), location)
    except TargetError:
        return
    assert parse(target.url) == target


def test_a_query_is_added_behind_the_one_that_is_there() -> None:
    assert parse("https://a/x").with_query("b=1").url == "https://a/x?b=1"
    assert parse("https://a/x?a=0").with_query("b=1").url == "https://a/x?a=0&b=1"
    assert Target("https", "a", 443, "/", "?").with_query("b").url == "https://a/?b"
