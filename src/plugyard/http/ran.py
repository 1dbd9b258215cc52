"""Turns executions, and what waits or gave up, into the views that answers are made of."""

from plugyard.domain.execution import Attempt, Execution, ExecutionFailure, Usage
from plugyard.domain.queue import QueuedExecution
from plugyard.http.views import AttemptView, DeadLetterView, ExecutionView, FailureView, UsageView


def failure(one: ExecutionFailure | None) -> FailureView | None:
    """Why it did not succeed."""
    if one is None:
        return None
    return FailureView(code=one.code, message=one.message, stack=one.stack, limit=one.limit, used=one.used)


def usage(one: Usage | None) -> UsageView | None:
    """What was used."""
    if one is None:
        return None
    return UsageView(
        wall_ms=round(one.wall_ms, 3),
        cpu_ms=round(one.cpu_ms, 3),
        peak_memory_bytes=one.peak_memory_bytes,
        service_calls=one.service_calls,
        start=one.start,
    )


def execution(one: Execution) -> ExecutionView:
    """The record of an execution."""
    return ExecutionView(
        execution_id=one.id,
        plugin_id=one.plugin_id,
        version=one.version,
        function=one.function,
        status=one.status,
        error=failure(one.error),
        usage=usage(one.usage),
        started_at=one.started_at,
        ended_at=one.ended_at,
        actor=one.actor,
        request_id=one.request_id,
        input_bytes=one.input_bytes,
        output_bytes=one.output_bytes,
        queued_at=one.queued_at,
        attempts=[attempt(each) for each in one.attempts],
    )


def attempt(one: Attempt) -> AttemptView:
    """One try."""
    return AttemptView(
        started_at=one.started_at, ended_at=one.ended_at, status=one.status, code=one.code, message=one.message
    )


def dead_letter(one: QueuedExecution) -> DeadLetterView:
    """An execution that gave up."""
    return DeadLetterView(
        execution_id=one.id,
        plugin_id=one.plugin_id,
        version=one.version,
        function=one.call.function,
        origin=one.call.origin,
        priority=one.priority.name.lower(),
        actor=one.call.actor,
        queued_at=one.queued_at,
        died_at=one.ended_at or one.queued_at,
        attempts=[attempt(each) for each in one.attempts],
        input_bytes=one.input_bytes,
    )
