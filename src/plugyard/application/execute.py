"""Step five: run one function of an active plugin, and answer only when the record of it is durable.

``http/executions.py`` calls ``execute``. This is the service's hot path: what a plugin needs is cached for a moment,
the input is decoded once, and the record's commit is shared with others.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from plugyard.application.executable import NO_LIMITS, Call, Executable, Executed, admitted
from plugyard.application.observe import watch
from plugyard.application.once import request_hash, run_once
from plugyard.application.places import take_shared
from plugyard.application.platform import Platform, entry, event
from plugyard.application.ports import AuditEntry, Invocation, Outcome, Reply, StoredLogLine
from plugyard.application.quotas import refusal
from plugyard.application.tracing import Working, span, traceparent
from plugyard.domain.errors import StoreUnavailable, TenantSuspended, Unrecorded
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Execution, ExecutionFailure, ExecutionStatus
from plugyard.domain.identity import Caller
from plugyard.domain.limits import NO_CEILINGS, EffectiveLimits, RequestedLimits, is_ceiling
from plugyard.domain.manifest import Isolation
from plugyard.domain.plugin import Plugin
from plugyard.domain.queue import QueueEnd
from plugyard.domain.secrets import hidden, secret_texts
from plugyard.domain.tallies import Full

RECORD_TRIES, RECORD_PAUSE_S = 1_200, 0.5
Ending = Callable[[Execution, bytes | None], tuple[Execution, QueueEnd]]
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Turn:
    """One run: its execution's id, what becomes of one that waited, and the idempotency key that it holds."""

    execution_id: str
    ending: Ending | None = None
    key: str | None = None


async def execute(platform: Platform, caller: Caller, plugin_id: str, call: Call) -> Executed:
    """Run the function. Raises ``WrongState``, ``FunctionNotFound``, ``InvalidInput``, ``Overloaded``,
    ``QuotaExceeded``, ``TenantSuspended``; what the plugin does is in the answer, whatever it is."""
    executable = await admitted(platform, caller, plugin_id, call)
    if call.idempotency_key is None:
        return await run(platform, caller, executable, call, Turn(platform.ids()))
    key = call.idempotency_key

    async def under_the_key(execution_id: str) -> Executed:
        return await run(platform, caller, executable, call, Turn(execution_id, key=key))

    return await run_once(platform, executable.plugin, key, request_hash(call), under_the_key)


def _limits(platform: Platform, executable: Executable, call: Call) -> EffectiveLimits:
    if call.timeout_ms is None and call.limits is NO_LIMITS:
        return executable.limits
    asked = executable.version.manifest.limits, call.limits, RequestedLimits(timeout_ms=call.timeout_ms)
    return platform.policies.limits.effective(*asked, ceilings=executable.ceilings)


async def run(
    platform: Platform,
    caller: Caller,
    executable: Executable,
    call: Call,
    turn: Turn,
) -> Executed:
    """Run what was looked at before, and record it.

    Raises ``Overloaded``, ``QuotaExceeded``, ``TenantSuspended``, ``SandboxUnavailable``, ``StoreUnavailable``, and
    ``Unrecorded`` where it was executed; after all others nothing was.
    """
    with span("execute") as traced:
        return await _run(platform, caller, executable, call, turn, traced)


async def _run(
    platform: Platform,
    caller: Caller,
    executable: Executable,
    call: Call,
    turn: Turn,
    traced: Working,
) -> Executed:
    execution_id = turn.execution_id
    plugin, version = executable.plugin, executable.version
    if traced.recording:
        traced.set("plugyard.tenant.id", plugin.tenant_id)
        traced.set("plugyard.plugin.id", plugin.id)
        traced.set("plugyard.plugin.version", str(version.number))
        traced.set("plugyard.function", call.function)
        traced.set("plugyard.execution.id", execution_id)
    limits = _limits(platform, executable, call)
    began = platform.clock()
    execution = Execution(
        execution_id,
        plugin.tenant_id,
        plugin.id,
        version.number,
        call.function,
        ExecutionStatus.RUNNING,
        began,
        None,
        None,
        None,
        caller.actor,
        caller.request_id,
        len(call.input),
    )
    trace = traceparent(call.trace)
    context = {
        "tenantId": plugin.tenant_id,
        "userId": caller.actor,
        "executionId": execution_id,
        "configuration": executable.configuration,
        "deadline": (began + timedelta(milliseconds=limits.timeout_ms)).astimezone(UTC).isoformat(),
        "trace": {"traceparent": trace} if trace is not None else {},
    }
    invocation = Invocation(
        execution_id,
        plugin.tenant_id,
        plugin.id,
        version.number,
        version.digest,
        version.manifest.runtime,
        call.function,
        call.input,
        _encode(context),
        limits,
        executable.grants,
        version.manifest.isolation is Isolation.FRESH,
        executable.bundle,
        call.hops,
        executable.modules,
    )
    try:
        place = platform.tallies.take(plugin.tenant_id, executable.quotas, began)
    except Full as full:
        raise refusal(full, began) from None
    happened = False
    places = executable.places
    try:
        if places is not None:
            await take_shared(platform, places, plugin.tenant_id, execution_id, executable.quotas, began)
        halted = platform.halted.get(plugin.tenant_id)
        if halted is not None and began < halted[1]:
            # It was suspended while this call was on its way from the look at its plugin.
            raise TenantSuspended(halted[0] or None)
        # Nothing waits between that look and this line, so whoever suspends finds all that runs.
        platform.running[execution_id] = execution
        outcome = await platform.executor.execute(invocation)
        happened = True
        traced.set("plugyard.status", outcome.status.value)
        if outcome.error is not None:
            traced.fail(outcome.status.value)
        if outcome.error is not None and executable.ceilings is not NO_CEILINGS:
            outcome = _with_ceiling(executable.ceilings, outcome, outcome.error)
        return await _settle(platform, caller, plugin, execution, outcome, turn)
    except Full as full:
        raise refusal(full, began) from None
    finally:
        platform.running.pop(execution_id, None)
        platform.tallies.leave(place, began, happened=happened)
        if places is not None:
            places.leave(plugin.tenant_id, execution_id, began, happened=happened)


def _with_ceiling(ceilings: RequestedLimits, outcome: Outcome, error: ExecutionFailure) -> Outcome:
    """Say whose limit was met, where it was the tenant's ceiling: asking for more in the manifest would not help."""
    if not is_ceiling(ceilings, error.code, error.limit):
        return outcome
    message = f"{error.message}; this is the tenant's ceiling, which its operator sets"
    return replace(outcome, error=replace(error, message=message))


async def _settle(
    platform: Platform,
    caller: Caller,
    plugin: Plugin,
    execution: Execution,
    outcome: Outcome,
    turn: Turn,
) -> Executed:
    """Make the record durable, then tell whoever listens. Raises ``Unrecorded``."""
    if plugin.secrets:
        outcome = _without_secrets(outcome, plugin.secrets)
    ended = _ended(execution, outcome, platform.clock())
    end = None
    if turn.ending is not None:
        ended, end = turn.ending(ended, outcome.output)
    facts = {"executionId": ended.id, "function": ended.function, "version": ended.version}
    succeeded = ended.status is ExecutionStatus.SUCCEEDED
    type_ = EventType.EXECUTION_COMPLETED if succeeded else EventType.EXECUTION_FAILED
    events = [
        event(platform, EventType.EXECUTION_STARTED, plugin, facts, at=ended.started_at),
        event(platform, type_, plugin, {**facts, "status": ended.status.value}, at=ended.ended_at),
    ]
    if end is not None and not end.state.over:
        # It is tried again; what is told of it is told at its end.
        events.clear()
    trail = []
    for violation in outcome.violations:
        what = {**facts, "kind": violation.kind, "detail": violation.detail}
        events.append(event(platform, EventType.SECURITY_VIOLATED, plugin, what))
        trail.append(entry(platform, caller, EventType.SECURITY_VIOLATED.value, plugin.id, what))
    logs = [StoredLogLine(platform.ids(), ended.id, line) for line in outcome.logs]
    reply = None
    if turn.key is not None:
        reply = Reply(turn.key, {"output": None if outcome.output is None else outcome.output.decode()})
    try:
        with span("record"):
            if end is None:
                await platform.recorder.record(ended, logs, events, trail, reply=reply)
            else:
                await record_end(platform, end, ended, logs, events, trail)
    except StoreUnavailable as error:
        raise Unrecorded() from error
    platform.on_execution(ended)
    if outcome.used:
        platform.uses.note(plugin, outcome.used, ended.started_at)
    if not succeeded and (end is None or end.state.over):
        watch(platform, plugin.tenant_id, plugin.id)
    return Executed(ended, outcome.output)


async def ended_unrun(platform: Platform, ended: Execution) -> list[Event]:
    """What is told of one that ended without having run; nothing where its plugin is gone."""
    async with platform.store.for_tenant(ended.tenant_id) as tx:
        view = await tx.plugin(ended.plugin_id)
    if view is None:
        return []
    facts = {
        "executionId": ended.id,
        "function": ended.function,
        "version": ended.version,
        "status": ended.status.value,
    }
    return [event(platform, EventType.EXECUTION_FAILED, view.plugin, facts, at=ended.ended_at)]


async def record_end(
    platform: Platform,
    end: QueueEnd,
    execution: Execution,
    logs: Sequence[StoredLogLine] = (),
    events: Sequence[Event] = (),
    trail: Sequence[AuditEntry] = (),
) -> None:
    """Record the end of a run of a queued execution.

    It has happened and nobody but this worker knows, so it waits for a store that is away, for ten minutes.
    """
    for _ in range(RECORD_TRIES - 1):
        try:
            await platform.recorder.record(execution, logs, events, trail, end)
        except StoreUnavailable:
            await asyncio.sleep(RECORD_PAUSE_S)
        else:
            return
    await platform.recorder.record(execution, logs, events, trail, end)


def _without_secrets(outcome: Outcome, secrets: Mapping[str, Any]) -> Outcome:
    """The outcome with the plugin's secrets hidden wherever others read it; the output is the plugin's own business."""
    if not (outcome.logs or outcome.error or outcome.violations):
        return outcome
    texts = secret_texts(secrets)
    error = outcome.error
    if error is not None:
        error = replace(error, message=hidden(error.message, texts), stack=hidden(error.stack, texts))
    return replace(
        outcome,
        error=error,
        logs=tuple(
            replace(line, message=hidden(line.message, texts), fields=hidden(line.fields, texts))
            for line in outcome.logs
        ),
        violations=tuple(replace(one, detail=hidden(one.detail, texts)) for one in outcome.violations),
    )


def _ended(running: Execution, outcome: Outcome, at: datetime) -> Execution:
    # Written out, because `replace` looks at every field by its name, and this is done for each execution.
    return Execution(
        running.id,
        running.tenant_id,
        running.plugin_id,
        running.version,
        running.function,
        outcome.status,
        running.started_at,
        at,
        outcome.usage,
        outcome.error,
        running.actor,
        running.request_id,
        running.input_bytes,
        len(outcome.output or b""),
    )
