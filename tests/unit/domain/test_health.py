"""Health is a score between 0 and 100 that failures lower and successes raise, and a rule that suspends."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.health import WEIGHTS, HealthStatus, SuspensionRule, judge, reason_to_suspend
from tests.memory.chance import START

S = ExecutionStatus
COUNTS = st.dictionaries(st.sampled_from(list(S)), st.integers(0, 500))
BAD = sorted(set(WEIGHTS) - {S.SUCCEEDED})


@given(COUNTS)
def test_the_score_stays_within_its_bounds_and_decides_the_status(counts: Mapping[ExecutionStatus, int]) -> None:
    health = judge(counts, START)
    assert health.checked_at == START
    if health.score is None:
        assert health.status is HealthStatus.UNKNOWN
        assert not any(counts.get(status) for status in WEIGHTS)
        return
    assert 0 <= health.score <= 100
    expected = (
        HealthStatus.HEALTHY
        if health.score >= 95
        else HealthStatus.DEGRADED
        if health.score >= 80
        else HealthStatus.UNHEALTHY
    )
    assert health.status is expected


@given(COUNTS, st.sampled_from(BAD))
def test_one_more_failure_never_raises_the_score_and_one_more_success_never_lowers_it(
    counts: dict[ExecutionStatus, int], bad: ExecutionStatus
) -> None:
    counts[S.SUCCEEDED] = counts.get(S.SUCCEEDED, 0) + 1
    score = judge(counts, START).score
    better = judge({**counts, S.SUCCEEDED: counts[S.SUCCEEDED] + 1}, START).score
    assert score is not None
    assert better is not None
    assert better >= score
    swapped = judge({**counts, S.SUCCEEDED: counts[S.SUCCEEDED] - 1, bad: counts.get(bad, 0) + 1}, START).score
    assert swapped is not None
    assert swapped <= score


@pytest.mark.parametrize(
    ("counts", "score", "status"),
    [
        ({}, None, HealthStatus.UNKNOWN),
        ({S.CANCELLED: 9, S.RUNNING: 1}, None, HealthStatus.UNKNOWN),
        ({S.SUCCEEDED: 10}, 100, HealthStatus.HEALTHY),
        ({S.SUCCEEDED: 19, S.FAILED: 1}, 95, HealthStatus.HEALTHY),
        ({S.SUCCEEDED: 18, S.FAILED: 2}, 90, HealthStatus.DEGRADED),
        ({S.SUCCEEDED: 18, S.CRASHED: 2}, 85, HealthStatus.DEGRADED),
        ({S.SUCCEEDED: 1, S.FAILED: 1}, 50, HealthStatus.UNHEALTHY),
        ({S.TIMED_OUT: 3}, 0, HealthStatus.UNHEALTHY),
    ],
)
def test_the_score_follows_its_rule(
    counts: Mapping[ExecutionStatus, int], score: int | None, status: HealthStatus
) -> None:
    health = judge(counts, START)
    assert (health.score, health.status) == (score, status)


@given(COUNTS, st.integers(1, 50), st.floats(0, 1))
def test_suspension_needs_enough_executions_and_more_failures_than_the_ratio(
    counts: dict[ExecutionStatus, int], minimum: int, ratio: float
) -> None:
    counted = sum(counts.get(status, 0) for status in WEIGHTS)
    failed = sum(counts.get(status, 0) for status in BAD)
    because = reason_to_suspend(counts, SuspensionRule(minimum, ratio, 300))
    assert (because is not None) is (counted >= minimum and failed > ratio * counted)
    if because is not None:
        assert because.startswith(f"{failed} of {counted} executions failed within 300 s")


@pytest.mark.parametrize("status", list(S))
def test_only_queued_and_running_are_not_final(status: ExecutionStatus) -> None:
    assert status.final is (status not in (S.QUEUED, S.RUNNING))
