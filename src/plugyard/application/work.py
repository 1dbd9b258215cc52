"""Runs executions whose turn has come. ``infrastructure/queue`` calls ``work_on`` with each that a worker took.

An execution runs at least once and is recorded once. What cannot run for want of room is put back and has used up no
attempt; what a plugin fails is tried again by its rule; what a request got wrong is given up at once.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from plugyard.application.enqueue import call_of
from plugyard.application.executable import check_call, executable_of
from plugyard.application.execute import Turn, ended_unrun, record_end, run
from plugyard.application.platform import Platform
from plugyard.application.tracing import note, well_formed, within
from plugyard.domain.errors import PlugyardError, QuotaExceeded, Unavailable
from plugyard.domain.execution import Attempt, Execution, ExecutionFailure, ExecutionStatus
from plugyard.domain.identity import Caller, Role
from plugyard.domain.queue import NO_RETRY, QueuedExecution, QueueEnd, QueueState, RetryRule

MOST_LOST = 3
"""How many workers may die with an execution before it is given up: it may be what they die of."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = timedelta(seconds=0.2), timedelta(seconds=60)


async def work_on(platform: Platform, entry: QueuedExecution) -> None:
    """Run what was taken, and record what came of it; nothing is raised but what nobody expects."""
    if platform.tracing is None:
        await _work_on(platform, entry)
        return
    # What was queued names the span that queued it, with its word on recording; each run is a span below that one.
    parent = entry.call.trace if entry.call.trace is not None and well_formed(entry.call.trace) else None
    with within(platform.tracing.begin("queue.run", "consumer", parent, ours=True)):
        note("plugyard.tenant.id", entry.tenant_id)
        note("plugyard.execution.id", entry.id)
        note("plugyard.queue.origin", entry.call.origin)
        note("plugyard.queue.attempt", len(entry.attempts) + 1)
        if entry.call.origin == "event":
            # The outbox keeps no trace; the execution that published names its own.
            note("plugyard.published_by", entry.call.request_id)
        await _work_on(platform, entry)


async def _work_on(platform: Platform, entry: QueuedExecution) -> None:
    caller = Caller(entry.call.actor, Role.DEVELOPER, entry.tenant_id, entry.call.request_id)
    try:
        if entry.cancel_requested:
            await _give_up(platform, entry, ExecutionStatus.CANCELLED, None)
        elif entry.lost > MOST_LOST:
            lost = ExecutionFailure("worker_lost", f"{entry.lost} workers ended while they ran it; it is given up.")
            await _give_up(platform, entry, ExecutionStatus.CRASHED, lost)
        elif entry.input is None:
            late = ExecutionFailure("expired", "It waited for more than a day; its input is no longer kept.")
            await _give_up(platform, entry, ExecutionStatus.FAILED, late)
        else:
            executable = await executable_of(platform, entry.tenant_id, entry.plugin_id)
            call = call_of(entry)
            check_call(platform, executable, call)
            spec = executable.version.manifest.functions.get(call.function)
            ending = partial(_ending, platform, entry, spec.retry if spec is not None else NO_RETRY)
            await run(platform, caller, executable, call, Turn(entry.id, ending))
    except (Unavailable, QuotaExceeded) as error:
        await _put_back(platform, entry, error)
    except PlugyardError as error:
        await _give_up(platform, entry, ExecutionStatus.FAILED, ExecutionFailure(error.code, error.message))
    finally:
        platform.told_to_end.discard(entry.id)


def _ending(
    platform: Platform, entry: QueuedExecution, rule: RetryRule, ended: Execution, output: bytes | None
) -> tuple[Execution, QueueEnd]:
    """What becomes of a run that happened."""
    now = platform.clock()
    if ended.status is ExecutionStatus.CANCELLED and entry.id not in platform.told_to_end:
        # Nobody asked for it: the service ends, and another worker takes it up.
        return ended, _back(entry, None)
    attempts = (*entry.attempts, Attempt.of(ended, now))
    ended = replace(ended, queued_at=entry.queued_at, attempts=attempts)
    if ended.status in (ExecutionStatus.SUCCEEDED, ExecutionStatus.CANCELLED):
        kept = output if output is not None and len(output) <= platform.policies.queue_result_bytes else None
        text = kept.decode() if kept is not None else None
        return ended, QueueEnd(entry.id, entry.run, QueueState.ENDED, attempts, text, ended_at=now, job=entry.job)
    delay = rule.delay(len(attempts), platform.chance())
    if delay is None:
        return ended, QueueEnd(entry.id, entry.run, QueueState.DEAD, attempts, ended_at=now, job=entry.job)
    return ended, QueueEnd(entry.id, entry.run, QueueState.QUEUED, attempts, due_at=now + delay, job=entry.job)


def _back(entry: QueuedExecution, due_at: datetime | None) -> QueueEnd:
    return QueueEnd(entry.id, entry.run, QueueState.QUEUED, entry.attempts, due_at=due_at, job=entry.job)


async def _put_back(platform: Platform, entry: QueuedExecution, error: Unavailable | QuotaExceeded) -> None:
    """Let it wait again: there was no room. It comes back a while later, and not with all others at once."""
    now, after_s = platform.clock(), getattr(error, "retry_after_s", None)
    pause = timedelta(seconds=after_s) if after_s is not None else _LONGEST_PAUSE
    pause = min(max(pause, _SHORTEST_PAUSE), _LONGEST_PAUSE)
    due = now + pause * (0.5 + platform.chance() / 2)
    if isinstance(error, QuotaExceeded):
        due = platform.returns.after(entry.tenant_id, due, now)
    await record_end(platform, _back(entry, due), entry.execution())


async def _give_up(
    platform: Platform, entry: QueuedExecution, status: ExecutionStatus, error: ExecutionFailure | None
) -> None:
    """Record that it ended without having run."""
    now = platform.clock()
    began = entry.started_at or now
    ended = replace(entry.execution(), status=status, started_at=began, ended_at=max(began, now), error=error)
    if error is not None:
        ended = replace(ended, attempts=(*entry.attempts, Attempt.of(ended, now)))
    state = QueueState.ENDED if status is ExecutionStatus.CANCELLED else QueueState.DEAD
    end = QueueEnd(entry.id, entry.run, state, ended.attempts, ended_at=now, job=entry.job)
    await record_end(platform, end, ended, (), await ended_unrun(platform, ended))
    platform.on_execution(ended)
