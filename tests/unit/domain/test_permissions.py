"""A grant never holds more than what was asked, however it was made."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.permissions import Permission, Service, carried, missing, narrowed, not_covered

NARROWINGS = ("hosts", "methods", "paths", "topics")
FEW = st.lists(st.sampled_from(["a", "b", "c"]), unique=True, max_size=3).map(tuple)
PERMISSIONS = st.builds(Permission, st.sampled_from(list(Service)), FEW, FEW, FEW, FEW)
SETS = st.lists(PERMISSIONS, unique_by=lambda one: one.service, max_size=4).map(tuple)


def exceeds(asked: Permission, grant: Permission) -> bool:
    """Whether a grant allows something that was not asked. Empty means everything, so it has to be asked so."""
    return any(
        getattr(asked, key) and not (getattr(grant, key) and set(getattr(grant, key)) <= set(getattr(asked, key)))
        for key in NARROWINGS
    )


@given(SETS, SETS)
def test_a_grant_that_is_covered_never_exceeds_the_request(
    asked: tuple[Permission, ...], granted: tuple[Permission, ...]
) -> None:
    if not_covered(asked, granted):
        return
    wanted = {one.service: one for one in asked}
    full = narrowed(asked, granted)
    assert len(full) == len(granted)
    assert not any(exceeds(wanted[grant.service], grant) for grant in full)


@given(SETS)
def test_granting_all_that_is_asked_is_covered_and_changes_nothing(asked: tuple[Permission, ...]) -> None:
    assert not_covered(asked, asked) == []
    assert narrowed(asked, asked) == asked


@given(PERMISSIONS, PERMISSIONS, PERMISSIONS)
def test_a_grant_carried_to_another_version_never_exceeds_its_request(
    before: Permission, now: Permission, grant: Permission
) -> None:
    before, now = replace(before, service=Service.NETWORK), replace(now, service=Service.NETWORK)
    granted = narrowed((before,), (replace(grant, service=Service.NETWORK),))[0]
    if not_covered((before,), (granted,)):
        return
    kept = carried(before, now, granted)
    if kept is not None:
        assert not exceeds(now, kept)
        assert not exceeds(granted, kept)


@given(PERMISSIONS)
def test_a_version_that_asks_the_same_keeps_its_grant(asked: Permission) -> None:
    assert carried(asked, asked, asked) == asked


def network(*hosts: str, methods: tuple[str, ...] = ()) -> Permission:
    return Permission(Service.NETWORK, hosts, methods)


@pytest.mark.parametrize(
    ("before", "now", "grant", "kept"),
    [
        (network("a", "b"), network("a"), network("a", "b"), network("a")),
        (network("a", "b"), network("b"), network("a"), None),  # nothing of the grant is left, and empty means all
        (network("a"), network("a", "b"), network("a"), None),
        (network(), network("b"), network("a"), None),  # the admin named a host, the author now names another
        (network(), network("b"), network(), None),
        (network(), network("a"), network("a", "b"), network("a")),
        (network(), network(), network("a"), network("a")),
        (network("a"), network(), network("a"), network("a")),  # the admin may still name more
        (network("a", methods=("GET",)), network("a"), network("a", methods=("GET",)), None),
        (
            network("a"),
            network("a", methods=("GET",)),
            network("a"),
            network("a", methods=("GET",)),
        ),
    ],
)
def test_a_grant_is_carried_as_far_as_the_next_version_asks_for_no_more(
    before: Permission, now: Permission, grant: Permission, kept: Permission | None
) -> None:
    assert carried(before, now, grant) == kept


def test_a_service_that_was_not_asked_for_is_named() -> None:
    assert not_covered((), (network(),)) == ["the plugin does not ask for network"]


def test_values_beyond_the_request_are_named() -> None:
    problems = not_covered((network("a", methods=("GET",)),), (network("a", "evil", methods=("POST", "GET")),))
    assert problems == [
        "network: hosts evil are not among those asked for",
        "network: methods POST are not among those asked for",
    ]


def test_the_plain_word_leaves_the_hosts_to_the_admin() -> None:
    assert not_covered((network(),), (network("api.acme.com"),)) == []


def test_a_policy_leaves_the_rest_to_an_admin() -> None:
    asked = (Permission(Service.CACHE), network("a"))
    assert missing(asked, frozenset({Service.CACHE})) == (network("a"),)
    assert missing(asked, frozenset(Service)) == ()


@given(PERMISSIONS, st.text(max_size=20))
def test_a_permission_survives_being_written_and_read(permission: Permission, reason: str) -> None:
    permission = replace(permission, reason=reason)
    assert Permission.from_document(permission.to_document()) == permission


def test_a_plain_word_is_a_permission_without_narrowing() -> None:
    assert Permission.from_document("database") == Permission(Service.DATABASE)
    assert Permission(Service.DATABASE).to_document() == {"service": "database"}
