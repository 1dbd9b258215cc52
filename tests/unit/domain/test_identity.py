"""Roles, keys and policies: who may do what, and until when."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.identity import LOWEST_ROLE, Action, ApiKey, Role, TenantPolicy, allows
from plugyard.domain.permissions import Service
from tests.memory.chance import START


@pytest.mark.parametrize("action", list(Action))
def test_each_role_may_do_all_that_the_ones_before_it_may(action: Action) -> None:
    answers = [allows(role, action) for role in Role]
    assert answers == sorted(answers)
    assert allows(LOWEST_ROLE[action], action)
    assert allows(Role.OPERATOR, action)


def test_every_action_has_a_lowest_role() -> None:
    assert set(LOWEST_ROLE) == set(Action)


def test_a_viewer_may_only_read() -> None:
    assert [action for action in Action if allows(Role.VIEWER, action)] == [Action.READ]


@given(st.sets(st.sampled_from(list(Service))))
def test_a_policy_survives_being_written_and_read(services: set[Service]) -> None:
    policy = TenantPolicy(frozenset(services))
    assert TenantPolicy.from_document(policy.to_document()) == policy


def test_a_policy_without_words_has_the_default() -> None:
    assert TenantPolicy.from_document({}) == TenantPolicy() == TenantPolicy(frozenset({Service.CACHE}))


@pytest.mark.parametrize(
    ("expires_in", "revoked", "usable"), [(None, False, True), (1, False, True), (0, False, False), (None, True, False)]
)
def test_a_key_is_usable_until_it_expires_or_is_revoked(expires_in: int | None, revoked: bool, usable: bool) -> None:
    expires = None if expires_in is None else START + timedelta(seconds=expires_in)
    key = ApiKey("k", "t", "ci", Role.DEVELOPER, START, expires, START if revoked else None)
    assert key.usable_at(START) is usable
