"""Health: a score from 0 to 100 that is folded from a plugin's recent executions, and the rule that suspends it.

The database has the same rule as the function ``plugin_health_score``; a test holds the two against each other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from plugyard.domain.execution import ExecutionStatus


class HealthStatus(StrEnum):
    """``unknown`` until something ran; then by the score: 95 and more, 80 and more, less."""

    UNKNOWN = "unknown"
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


# An ordinary failure may be its caller's fault; meeting a limit or crashing rarely is, so it weighs half as much again.
WEIGHTS: dict[ExecutionStatus, float] = {
    ExecutionStatus.SUCCEEDED: 0.0,
    ExecutionStatus.FAILED: 1.0,
    ExecutionStatus.TIMED_OUT: 1.5,
    ExecutionStatus.OUT_OF_MEMORY: 1.5,
    ExecutionStatus.CPU_EXCEEDED: 1.5,
    ExecutionStatus.CRASHED: 1.5,
}
HEALTHY_FROM, DEGRADED_FROM = 95, 80


@dataclass(frozen=True, slots=True)
class Health:
    """A judgement: ``score`` is ``None`` while nothing ran."""

    status: HealthStatus = HealthStatus.UNKNOWN
    score: int | None = None
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SuspensionRule:
    """Suspend when at least ``minimum`` executions ended within ``window_s`` seconds and more than ``ratio`` failed."""

    minimum: int = 20
    ratio: float = 0.5
    window_s: int = 300


def judge(outcomes: Mapping[ExecutionStatus, int], at: datetime) -> Health:
    """The health after so many executions of each status. Cancelled ones tell nothing of the plugin."""
    counted = sum(outcomes.get(status, 0) for status in WEIGHTS)
    if counted == 0:
        return Health(checked_at=at)
    penalty = sum(weight * outcomes.get(status, 0) for status, weight in WEIGHTS.items()) / counted
    score = max(0, int(100 - 100 * penalty + 0.5))
    if score >= HEALTHY_FROM:
        return Health(HealthStatus.HEALTHY, score, at)
    return Health(HealthStatus.DEGRADED if score >= DEGRADED_FROM else HealthStatus.UNHEALTHY, score, at)


def reason_to_suspend(outcomes: Mapping[ExecutionStatus, int], rule: SuspensionRule) -> str | None:
    """Why the rule suspends the plugin, or ``None`` where it does not."""
    counted = sum(outcomes.get(status, 0) for status in WEIGHTS)
    failed = counted - outcomes.get(ExecutionStatus.SUCCEEDED, 0)
    if counted < rule.minimum or failed <= rule.ratio * counted:
        return None
    return f"{failed} of {counted} executions failed within {rule.window_s} s; more than {rule.ratio:.0%} suspends"
