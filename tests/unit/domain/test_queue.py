"""When an execution is tried again."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.execution import Attempt, ExecutionStatus
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.queue import NO_RETRY, QueuedCall, QueueState, RetryRule
from tests.contract.given import NOW


@pytest.mark.parametrize(("failed", "expected_s"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (6, 10), (7, None)])
def test_each_pause_is_longer_by_the_factor_until_the_cap_and_the_last_try_is_the_last(
    failed: int, expected_s: int | None
) -> None:
    rule = RetryRule(attempts=7, delay_ms=1_000, factor=2.0, max_delay_ms=10_000, jitter=0.5)
    expected = None if expected_s is None else timedelta(seconds=expected_s)
    assert rule.delay(failed, 0.0) == expected


def test_without_a_rule_nothing_is_tried_again() -> None:
    assert NO_RETRY.delay(1, 0.5) is None


@given(
    failed=st.integers(1, 19),
    chance=st.floats(0, 1),
    jitter=st.floats(0, 1),
    factor=st.floats(1, 10),
    delay_ms=st.integers(10, 3_600_000),
    longest_ms=st.integers(10, 14_400_000),
)
def test_chance_shortens_a_pause_by_no_more_than_the_jitter(
    failed: int, chance: float, jitter: float, factor: float, delay_ms: int, longest_ms: int
) -> None:
    rule = RetryRule(20, delay_ms, factor, longest_ms, jitter)
    whole, found = rule.delay(failed, 0.0), rule.delay(failed, chance)
    assert whole is not None
    assert found is not None
    assert whole <= timedelta(milliseconds=longest_ms)
    assert whole * (1 - jitter) - timedelta(microseconds=1) <= found <= whole


def test_a_manifests_rule_has_defaults() -> None:
    assert RetryRule.from_document({}) == RetryRule(3, 1_000, 2.0, 300_000, 0.5)
    given_all = {"attempts": 5, "delayMs": 20, "factor": 3, "maxDelayMs": 90, "jitter": 0}
    assert RetryRule.from_document(given_all) == RetryRule(5, 20, 3, 90, 0)


def test_what_is_stored_of_a_call_and_an_attempt_comes_back_as_it_was() -> None:
    call = QueuedCall(
        "run", "key:1", "request-1", 500, RequestedLimits(memory_mb=64), "00-1", 3, "event", "https://a/b"
    )
    assert QueuedCall.from_document(call.to_document()) == call
    attempt = Attempt(NOW, NOW, ExecutionStatus.FAILED, "plugin_error", "it broke")
    assert Attempt.from_document(attempt.to_document()) == attempt


def test_an_entry_waits_or_runs_or_is_over() -> None:
    assert {one for one in QueueState if one.waiting} == {QueueState.QUEUED, QueueState.PARKED}
    assert {one for one in QueueState if one.over} == {QueueState.ENDED, QueueState.DEAD}
