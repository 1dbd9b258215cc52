"""An execution that nobody waits for: acknowledged when it is durable, run when its turn comes.

``http/executions.py`` calls ``enqueue``; events and replays add theirs by ``add``. Schedules of many tenants are queued
in one transaction, so ``schedules.py`` looks for room itself. ``work.py`` runs them.
"""

from dataclasses import dataclass, replace
from datetime import datetime

from plugyard.application.completions import check_webhook
from plugyard.application.executable import NO_LIMITS, Call, Executable, admitted
from plugyard.application.once import request_hash
from plugyard.application.platform import Platform
from plugyard.application.ports import StoredReply, Transaction
from plugyard.application.tracing import traceparent
from plugyard.domain.errors import FieldError, IdempotencyConflict, IdempotencyMismatch, Overloaded, TooLarge
from plugyard.domain.execution import Execution
from plugyard.domain.identity import Caller
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.plugin import PluginView
from plugyard.domain.queue import Priority, QueuedCall, QueuedExecution

_REPLY = {"queued": True}


@dataclass(frozen=True, slots=True)
class Queued:
    """The execution as it stands; ``replayed`` where the same request had queued it before."""

    execution: Execution
    replayed: bool = False


async def enqueue(
    platform: Platform,
    caller: Caller,
    plugin_id: str,
    call: Call,
    *,
    priority: Priority = Priority.NORMAL,
    webhook: str | None = None,
) -> Queued:
    """Queue it; it is durable when this returns. Raises what ``execute`` does of a request's own faults, ``TooLarge``
    for an input that is not kept, and ``Overloaded`` where too many of the tenant's wait."""
    executable = await admitted(platform, caller, plugin_id, call)
    most = platform.policies.queue_input_bytes
    if len(call.input) > most:
        raise TooLarge(f"The input of an execution that waits may have {most} bytes; this has {len(call.input)}.")
    if webhook is not None:
        check_webhook(platform, executable, webhook)
    entry = entry_for(platform, executable, call, caller, priority=priority)
    entry = replace(entry, call=replace(entry.call, webhook=webhook))
    async with platform.store.for_tenant(entry.tenant_id) as tx:
        if call.idempotency_key is not None:
            asked = request_hash(call, "async", priority.value, webhook)
            before = await tx.claim_key(
                plugin_id, call.idempotency_key, StoredReply(asked, entry.id, None, entry.due_at)
            )
            if before is not None:
                return Queued(await _replayed(tx, before, asked), replayed=True)
            await tx.settle_key(plugin_id, call.idempotency_key, entry.id, _REPLY)
        await add(platform, tx, entry)
    return Queued(entry.execution())


async def add(platform: Platform, tx: Transaction, entry: QueuedExecution) -> bool:
    """Queue an entry with the transaction; whether it is new. Raises ``Overloaded``, which undoes the transaction."""
    before = await tx.enqueue(entry)
    if before is not None and before >= platform.policies.queued_per_tenant:
        raise Overloaded(f"{before} executions of this tenant wait already; let them run first.", retry_after_s=10.0)
    return before is not None


def entry_for(
    platform: Platform,
    executable: Executable | PluginView,
    call: Call,
    caller: Caller,
    *,
    priority: Priority = Priority.NORMAL,
    due_at: datetime | None = None,
    origin: str = "call",
    once: str | None = None,
) -> QueuedExecution:
    """The entry of a call; due now, unless it is said when."""
    now = platform.clock()
    limits = RequestedLimits() if call.limits is NO_LIMITS else call.limits
    trace = traceparent(call.trace)
    asked = QueuedCall(
        call.function, caller.actor, caller.request_id, call.timeout_ms, limits, trace, call.hops, origin
    )
    plugin = executable.plugin
    return QueuedExecution(
        platform.ids(),
        plugin.tenant_id,
        plugin.id,
        executable.version.number,
        asked,
        now,
        due_at or now,
        call.input.decode(),
        len(call.input),
        priority,
        once=once,
    )


async def _replayed(tx: Transaction, before: StoredReply, asked: str) -> Execution:
    if before.request_hash != asked:
        raise IdempotencyMismatch(
            "This idempotency key was used with another request within the last day.",
            [FieldError("header/Idempotency-Key", "use a new key for a new request")],
        )
    found = await tx.execution(before.execution_id)
    if found is None:
        waiting = await tx.queued(before.execution_id)
        found = waiting.execution() if waiting is not None else None
    if found is None:
        raise IdempotencyConflict("The first request with this idempotency key is still under way; ask again shortly.")
    return found


def call_of(entry: QueuedExecution) -> Call:
    """What an entry asks, as ``execute`` takes it."""
    asked = entry.call
    limits = NO_LIMITS if asked.limits == NO_LIMITS else asked.limits
    call = Call(asked.function, (entry.input or "null").encode(), asked.timeout_ms, trace=asked.trace, limits=limits)
    return replace(call, hops=asked.hops)
