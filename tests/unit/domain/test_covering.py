"""What covers what: an entry that is covered allows nothing that the covering one does not, whatever is asked of it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.covering import (
    COVERS,
    METHODS,
    common,
    covered,
    host_allows,
    malformed,
    path_allows,
    topic_allows,
)
from plugyard.domain.permissions import Permission, Service, carried, narrowed, not_covered
from plugyard.sandbox.services.base import Denied
from plugyard.sandbox.services.egress import fence
from plugyard.sandbox.services.egress.target import Target, TargetError, normal_path

LABELS = st.sampled_from(["acme", "api", "com", "a", "evilacme", "b"])
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PORTS = st.sampled_from(["", ":80", ":443", ":8443"])
HOSTS = st.builds(lambda star, name, dot, port: star + name + dot + port, st.sampled_from(["", "*."]), NAMES,
                  st.sampled_from(["", "."]), PORTS)  # fmt: skip
SEGMENTS = st.sampled_from(["v1", "v", "rates", "", "%61", "a", ".", "..", "%2e", "%2F", "ü", "%"])
PATHS = st.builds(
    lambda parts, star: "/" + "/".join(parts) + star, st.lists(SEGMENTS, max_size=3), st.sampled_from(["", "*", "/*"])
)
WORDS = st.sampled_from(["invoice", "created", "invoices", "a"])
TOPICS = st.builds(
    lambda words, star: ".".join(words) + star,
    st.lists(WORDS, min_size=1, max_size=3),
    st.sampled_from(["", ".*"]),
)
ENTRIES = {"hosts": HOSTS, "methods": st.sampled_from([*METHODS, "get"]), "paths": PATHS, "topics": TOPICS}


def targets() -> st.SearchStrategy[Target]:
    def target(scheme: str, host: str, port: int, path: str) -> Target:
        try:
            return Target(scheme, host, port, normal_path(path))
        except TargetError:
            return Target(scheme, host, port, "/")

    return st.builds(target, st.sampled_from(["http", "https"]), NAMES, st.sampled_from([80, 443, 8443]), PATHS)


@given(HOSTS, HOSTS, NAMES, st.sampled_from(["http", "https"]), st.sampled_from([80, 443, 8443]))
def test_a_host_that_a_covered_entry_allows_is_allowed_by_the_covering_one(
    wide: str, narrow: str, host: str, scheme: str, port: int
) -> None:
    usual = port == {"http": 80, "https": 443}[scheme]
    if COVERS["hosts"](wide, narrow) and host_allows(narrow, host, port, usual=usual):
        assert host_allows(wide, host, port, usual=usual)


@given(PATHS, PATHS, PATHS)
def test_a_path_that_a_covered_entry_allows_is_allowed_by_the_covering_one(wide: str, narrow: str, path: str) -> None:
    if COVERS["paths"](wide, narrow) and path_allows(narrow, path):
        assert path_allows(wide, path)


@given(TOPICS, TOPICS, TOPICS.filter(lambda one: "*" not in one))
def test_a_topic_that_a_covered_entry_allows_is_allowed_by_the_covering_one(wide: str, narrow: str, topic: str) -> None:
    if COVERS["topics"](wide, narrow) and topic_allows(narrow, topic):
        assert topic_allows(wide, topic)


@pytest.mark.parametrize("key", COVERS)
@given(data=st.data())
def test_every_entry_covers_itself_and_covering_passes_on(key: str, data: st.DataObject) -> None:
    first, second, third = (data.draw(ENTRIES[key]) for _ in range(3))
    covers = COVERS[key]
    assert covers(first, first)
    if covers(first, second) and covers(second, third):
        assert covers(first, third)


@pytest.mark.parametrize("key", COVERS)
@given(data=st.data())
def test_what_two_lists_have_in_common_is_covered_by_both(key: str, data: st.DataObject) -> None:
    ours, theirs = (tuple(data.draw(st.lists(ENTRIES[key], max_size=3))) for _ in range(2))
    both = common(key, ours, theirs)
    assert all(covered(key, entry, ours) and covered(key, entry, theirs) for entry in both)
    assert common(key, ours, ours) == tuple(dict.fromkeys(ours))


def allows(grant: Permission, method: str, target: Target) -> bool:
    try:
        fence.judge(grant, method, target)
    except Denied:
        return False
    return True


def few(key: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(ENTRIES[key], max_size=3).map(tuple)


NETWORK = st.builds(
    lambda hosts, methods, paths: Permission(Service.NETWORK, hosts, methods, paths),
    few("hosts"), few("methods"), few("paths"),
)  # fmt: skip


@given(NETWORK, NETWORK, st.sampled_from(METHODS), targets())
def test_a_narrowed_grant_never_lets_a_request_out_that_the_request_for_it_did_not(
    asked: Permission, grant: Permission, method: str, target: Target
) -> None:
    if not_covered((asked,), (grant,)):
        return
    (full,) = narrowed((asked,), (grant,))
    if allows(full, method, target):
        # Where the author names no host, the admin does; all else that was asked holds as it was asked.
        assert allows(asked if asked.hosts else Permission(
            Service.NETWORK, full.hosts, asked.methods, asked.paths), method, target)  # fmt: skip


@given(NETWORK, NETWORK, NETWORK, st.sampled_from(METHODS), targets())
def test_a_grant_carried_to_another_version_lets_nothing_out_that_was_not_agreed_to(
    before: Permission, now: Permission, named: Permission, method: str, target: Target
) -> None:
    if not_covered((before,), (named,)):
        return
    (grant,) = narrowed((before,), (named,))
    kept = carried(before, now, grant)
    if kept is not None and allows(kept, method, target):
        assert allows(grant, method, target) or not grant.hosts


@pytest.mark.parametrize(
    ("key", "wide", "narrow", "expected"),
    [
        ("hosts", "*.acme.com", "api.acme.com", True),
        ("hosts", "*.acme.com", "*.eu.acme.com", True),
        ("hosts", "*.acme.com", "acme.com", False),
        ("hosts", "*.acme.com", "evilacme.com", False),
        ("hosts", "*.acme.com", "api.acme.com:8443", False),
        ("hosts", "*.acme.com:8443", "api.acme.com:8443", True),
        ("hosts", "api.acme.com", "*.acme.com", False),
        ("hosts", "API.acme.com.", "api.acme.com", True),
        ("hosts", "api.acme.com", "api.acme.com:443", False),
        ("hosts", "*.com", "evil.com", False),
        ("paths", "/v1/*", "/v1/rates", True),
        ("paths", "/v1/*", "/v1/rates/*", True),
        ("paths", "/v1/*", "/v1", False),
        ("paths", "/v1/*", "/v10/*", False),
        ("paths", "/v1/*", "/v1/../admin", True),  # which is no request's path, and so allows nothing
        ("paths", "/%61/*", "/a/b", True),
        ("paths", "/v1", "/v1*", False),
        ("topics", "invoice.*", "invoice.created", True),
        ("topics", "invoice.*", "invoice.paid.*", True),
        ("topics", "invoice.*", "invoice", False),
        ("topics", "invoice.*", "invoices.created", False),
        ("topics", "invoice.created", "invoice.*", False),
        ("methods", "GET", "GET", True),
        ("methods", "GET", "HEAD", False),
    ],
)
def test_what_covers_what(key: str, wide: str, narrow: str, expected: bool) -> None:
    assert COVERS[key](wide, narrow) is expected


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("hosts", ["api.acme.com", "*.acme.com", "localhost", "a.b:8443"],
         ["https://a.com", "a.com/x", "*", "*.com", "a.*.com", "a.com:0", ""]),
        ("methods", ["GET"], ["get", "TRACE", ""]),
        ("paths", ["/", "/*", "/v1/*", "/ü"], ["v1", "/v1/*/x", "/a b", "/a?b", "/%zz", ""]),
        ("topics", ["a", "a.b", "a.*"], ["*", "a.", "a.*.b", ".a", "a b", ""]),
    ],
)  # fmt: skip
def test_an_entry_that_could_never_allow_anything_is_malformed(key: str, good: list[str], bad: list[str]) -> None:
    assert [malformed(key, one) for one in good] == [None] * len(good)
    assert all(malformed(key, one) for one in bad)


def test_the_methods_are_those_that_a_manifest_may_name() -> None:
    schema = json.loads((Path(__file__).parents[3] / "sdk/manifest.schema.json").read_text())
    assert schema["$defs"]["permission"]["properties"]["methods"]["items"]["enum"] == list(METHODS)
