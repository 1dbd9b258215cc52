# ruff: noqa: RUF001 - characters that only look alike are what is tested here
"""A grant allows what it names and nothing beside it."""

import posixpath
from unicodedata import normalize
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.services.base import Denied
from plugyard.sandbox.services.egress import fence
from plugyard.sandbox.services.egress.target import TargetError, parse


def allowed(url: str, method: str = "GET", **narrowed: tuple[str, ...]) -> bool:
    try:
        fence.judge(Permission(Service.NETWORK, **narrowed), method, parse(url))
    except Denied:
        return False
    return True


@pytest.mark.parametrize(
    ("entry", "url", "expected"),
    [
        ("api.acme.com", "https://api.acme.com/", True),
        ("api.acme.com", "http://API.acme.com./x", True),
        ("api.acme.com", "https://acme.com/", False),
        ("api.acme.com", "https://x.api.acme.com/", False),
        ("api.acme.com", "https://api.acme.com.evil.com/", False),
        ("api.acme.com", "https://evilapi.acme.com/", False),
        ("api.acme.com", "https://api.acme.com:8443/", False),
        ("api.acme.com", "http://api.acme.com:443/", False),
        ("api.acme.com", "https://api.acme.com:80/", False),
        ("api.acme.com:8443", "https://api.acme.com:8443/", True),
        ("api.acme.com:8443", "https://api.acme.com/", False),
        ("*.acme.com", "https://a.acme.com/", True),
        ("*.acme.com", "https://a.b.acme.com/", True),
        ("*.acme.com", "https://acme.com/", False),
        ("*.acme.com", "https://evilacme.com/", False),
        ("*.acme.com", "https://a.acme.com.evil.com/", False),
        ("*.acme.com:444", "https://a.acme.com:444/", True),
        ("*.acme.com", "https://a.acme.com:444/", False),
        ("*", "https://a.com/", False),
        ("*.com", "https://a.com/", False),
        ("xn--bcher-kva.example", "https://bücher.example/", True),
        ("127.0.0.1", "http://127.0.0.1/", False),
        ("[::1]", "http://[::1]/", False),
        ("2130706433", "http://2130706433/", False),
    ],
)
def test_a_host_is_matched_as_a_whole(entry: str, url: str, expected: bool) -> None:
    assert allowed(url, hosts=(entry,)) is expected


def test_without_hosts_nothing_is_allowed_and_the_admin_learns_what_to_do() -> None:
    with pytest.raises(Denied) as refused:
        fence.judge(Permission(Service.NETWORK), "GET", parse("https://api.acme.com/"))
    assert "no host is granted yet" in refused.value.message
    assert "/install" in refused.value.message
    assert refused.value.code == "permission_denied"


def test_methods_are_those_that_are_named() -> None:
    assert allowed("https://a.com/", "POST", hosts=("a.com",))
    assert allowed("https://a.com/", "POST", hosts=("a.com",), methods=("POST",))
    assert not allowed("https://a.com/", "GET", hosts=("a.com",), methods=("POST",))
    assert not allowed("https://a.com/", "HEAD", hosts=("a.com",), methods=("GET",))


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/v1/*", "/v1/notes", True),
        ("/v1/*", "/v1/", True),
        ("/v1/*", "/v1", False),
        ("/v1/*", "/v10/x", False),
        ("/v1/*", "/V1/x", False),
        ("/v1/*", "/v1/../admin", False),
        ("/v1/*", "/v1/%2e%2e/admin", False),
        ("/v1/*", "/x/../v1/y", True),
        ("/v1/*", "//v1/x", False),
        ("/v1/*", "/v1/..;/admin", False),
        ("/v1/*", "/v1/%2e%2e%2fadmin", False),
        ("/v1/*", "/%76%31/x", True),
        ("/v1", "/v1", True),
        ("/v1", "/v1/", False),
        ("/v1*", "/v10", True),
        ("/a%20b/*", "/a%20b/c", True),
        ("/%61/*", "/a/c", True),
        ("/ü/*", "/%C3%BC/c", True),
        ("/*", "/anything/at/all", True),
        ("/v1/../*", "/admin", False),
        ("/%/*", "/%25/x", False),
    ],
)
def test_a_path_is_matched_in_its_normal_form(pattern: str, path: str, expected: bool) -> None:
    assert allowed(f"https://a.com{path}", hosts=("a.com",), paths=(pattern,)) is expected


def test_an_encoded_slash_is_no_matter_where_paths_are_not_narrowed() -> None:
    assert allowed("https://a.com/group%2Fproject", hosts=("a.com",))


PIECES = st.sampled_from(
    ["..", ".", "%2e", "%2E%2e", "/", "//", "%2f", "%5c", ";", "v1", "admin", "%25", "2e", "．", "％"]
)


@given(st.lists(PIECES, max_size=12))
def test_nothing_that_is_allowed_leaves_the_granted_path_however_often_it_is_decoded(pieces: list[str]) -> None:
    try:
        target = parse("https://a.com/v1/" + "".join(pieces))
    except TargetError:
        return
    if not allowed(target.url, hosts=("a.com",), paths=("/v1/*",)):
        return
    path = target.path
    for _ in range(3):
        path = normalize("NFKC", unquote(path)).replace("\\", "/")
        bare = "/".join(segment.partition(";")[0] for segment in path.split("/"))
        assert posixpath.normpath(bare).startswith("/v1")
