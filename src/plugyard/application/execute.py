"""Step five: run one function of an active plugin, and answer only when the record of it is durable.

``http/executions.py`` calls ``execute``. This is the service's hot path: what a plugin needs is cached for a moment,
the input is decoded once, and the record's commit is shared with others.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec

from plugyard.application.observe import watch
from plugyard.application.places import Places, take_shared
from plugyard.application.platform import Platform, entry, event, plugin_of, require, tenant_of
from plugyard.application.ports import AuditEntry, Invocation, Outcome, Reply, StoredLogLine, StoredReply
from plugyard.application.quotas import know_the_day, quotas_of, refusal
from plugyard.application.schemas import deeper_than, violations
from plugyard.application.tracing import Working, span, traceparent
from plugyard.application.upload import bundle_key
from plugyard.domain.configuration import with_defaults
from plugyard.domain.errors import (
    FieldError,
    Forbidden,
    FunctionNotFound,
    IdempotencyConflict,
    IdempotencyMismatch,
    InvalidInput,
    StoreUnavailable,
    TenantSuspended,
    Unrecorded,
)
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Execution, ExecutionFailure, ExecutionStatus
from plugyard.domain.identity import Action, Caller
from plugyard.domain.limits import NO_CEILINGS, EffectiveLimits, RequestedLimits, is_ceiling
from plugyard.domain.manifest import Isolation
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import Plugin, PluginVersion, Transition
from plugyard.domain.queue import QueueEnd
from plugyard.domain.scopes import may_call
from plugyard.domain.secrets import hidden, secret_texts
from plugyard.domain.tallies import Full
from plugyard.domain.tenants import Quotas, TenantBounds, TenantState

NO_LIMITS = RequestedLimits()
RECORD_TRIES, GIVE_BACK_TRIES, RECORD_PAUSE_S = 1_200, 120, 0.5
Ending = Callable[[Execution, bytes | None], tuple[Execution, QueueEnd]]
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Call:
    """What a caller asks: the function, its input as JSON text, limits of its own, and how to tell repeats.

    ``hops`` counts the events between the first caller and this call; 0 where somebody calls.
    """

    function: str
    input: bytes = b"null"
    timeout_ms: int | None = None
    idempotency_key: str | None = None
    trace: str | None = None
    hops: int = 0
    limits: RequestedLimits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class Executed:
    """What came of it. ``output`` is JSON text where the execution succeeded; ``replayed`` where it had run before."""

    execution: Execution
    output: bytes | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Executable:
    """A plugin as the hot path wants it; ``executable_of`` makes it."""

    plugin: Plugin
    version: PluginVersion
    functions: frozenset[str]
    configuration: dict[str, Any] = field(repr=False)
    limits: EffectiveLimits  # of a call that asks for none
    grants: tuple[Permission, ...]
    bundle: Callable[[], Awaitable[bytes]]
    modules: ModuleRules
    ceilings: RequestedLimits
    quotas: Quotas
    places: Places | None  # where replicas count its quotas together
    mark: str  # of all that its answers depend on beside the version; empty where it has no endpoints


async def execute(platform: Platform, caller: Caller, plugin_id: str, call: Call) -> Executed:
    """Run the function. Raises ``WrongState``, ``FunctionNotFound``, ``InvalidInput``, ``Overloaded``,
    ``QuotaExceeded``, ``TenantSuspended``; what the plugin does is in the answer, whatever it is."""
    executable = await admitted(platform, caller, plugin_id, call)
    if call.idempotency_key is None:
        return await run(platform, caller, executable, call, platform.ids())
    return await _run_once(platform, caller, executable, call, call.idempotency_key)


async def admitted(platform: Platform, caller: Caller, plugin_id: str, call: Call) -> Executable:
    """The plugin that the caller may execute so; raises what ``execute`` does of a request's own faults."""
    require(caller, Action.EXECUTE)
    if caller.scopes and not may_call(caller.scopes, plugin_id, call.function):
        raise Forbidden("The key is narrowed to other functions.")
    executable = await executable_of(platform, tenant_of(caller), plugin_id)
    check_call(platform, executable, call)
    return executable


def check_call(platform: Platform, executable: Executable, call: Call) -> None:
    """Raise unless the plugin, as it is now, executes this: ``WrongState``, ``FunctionNotFound``, ``InvalidInput``."""
    executable.plugin.check(Transition.EXECUTE)
    if call.function not in executable.functions:
        raise FunctionNotFound(call.function, executable.version.functions)
    check_input(platform, executable.version, call)


async def executable_of(platform: Platform, tenant_id: str, plugin_id: str) -> Executable:
    """A plugin as it is executed now, or was a moment ago. Raises ``NotFound``, ``TenantSuspended``."""
    now = platform.clock()
    until = now + timedelta(seconds=platform.policies.plugin_cache_s)
    read = partial(_read_executable, platform, tenant_id, plugin_id)
    found: Executable = await platform.copies.get(("plugin", tenant_id, plugin_id), now, until, read)
    return found


async def _read_executable(platform: Platform, tenant_id: str, plugin_id: str) -> Executable:
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await plugin_of(tx, plugin_id)
        tenant = await tx.tenant(tenant_id)
        quotas = quotas_of(platform, tenant)
        if quotas.executions_per_day is not None:
            await know_the_day(platform, tx, tenant_id)
    if tenant is not None and tenant.state is not TenantState.ACTIVE:
        raise TenantSuspended(tenant.suspended_because)
    plugin, version = view.plugin, view.version
    bounds = tenant.bounds if tenant is not None else TenantBounds()
    # What an operator takes away holds for grants that were given before.
    grants = tuple(grant for grant in plugin.grants if grant.service in bounds.grantable)
    configuration = with_defaults(version.manifest.configuration, {**plugin.configuration, **plugin.secrets})
    return Executable(
        plugin,
        version,
        frozenset(version.functions),
        configuration,
        platform.policies.limits.effective(version.manifest.limits, ceilings=bounds.ceilings),
        grants,
        partial(platform.objects.get, bundle_key(version.digest)),
        # The tenant that executes decides, whoever published the plugin.
        ModuleRules(version.manifest.modules, tenant.modules_denied if tenant is not None else ()),
        bounds.ceilings,
        quotas,
        platform.places if quotas.of_executions else None,
        _mark(configuration, grants) if version.manifest.endpoints else "",
    )


def _mark(configuration: Mapping[str, Any], grants: Sequence[Permission]) -> str:
    """Tells one configuration and set of grants from another; health and the like change nothing of it."""
    return hashlib.sha256(_encode([configuration, [one.to_document() for one in grants]])).hexdigest()


def check_input(platform: Platform, version: PluginVersion, call: Call) -> None:
    """Raise ``InvalidInput`` unless the input is JSON that the function's schema takes."""
    limit = platform.policies.max_input_depth
    try:
        value = msgspec.json.decode(call.input)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("The input is no valid JSON.", [FieldError("/input", str(error)[:200])]) from error
    if deeper_than(limit, call.input, value):
        raise InvalidInput("The input nests too deep.", [FieldError("/input", f"at most {limit} levels")])
    spec = version.manifest.functions.get(call.function)
    if spec is None or spec.input is None:
        return
    errors = violations((version.digest, "function", call.function), spec.input, value, prefix="/input")
    if errors:
        raise InvalidInput(f"The input does not fit the schema of {call.function}.", errors)


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
    execution_id: str,
    ending: Ending | None = None,
    *,
    key: str | None = None,
) -> Executed:
    """Run what was looked at before, and record it, its answer under the idempotency key that it holds. ``ending`` says
    what becomes of one that waited its turn.

    Raises ``Overloaded``, ``QuotaExceeded``, ``TenantSuspended``, ``SandboxUnavailable``, ``StoreUnavailable``, and
    ``Unrecorded`` where it was executed; after all others nothing was.
    """
    with span("execute") as traced:
        return await _run(platform, caller, executable, call, (execution_id, ending, key), traced)


async def _run(
    platform: Platform,
    caller: Caller,
    executable: Executable,
    call: Call,
    known: tuple[str, Ending | None, str | None],
    traced: Working,
) -> Executed:
    execution_id, ending, key = known
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
            raise TenantSuspended(halted[0])
        # Nothing waits between that look and this line, so whoever suspends finds all that runs.
        platform.running[execution_id] = execution
        outcome = await platform.executor.execute(invocation)
        happened = True
        traced.set("plugyard.status", outcome.status.value)
        if outcome.error is not None:
            traced.fail(outcome.status.value)
        if outcome.error is not None and executable.ceilings is not NO_CEILINGS:
            outcome = _with_ceiling(executable.ceilings, outcome, outcome.error)
        return await _settle(platform, caller, plugin, execution, outcome, ending, key)
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
    ending: Ending | None,
    key: str | None,
) -> Executed:
    """Make the record durable, then tell whoever listens. Raises ``Unrecorded``."""
    if plugin.secrets:
        outcome = _without_secrets(outcome, plugin.secrets)
    ended = _ended(execution, outcome, platform.clock())
    end = None
    if ending is not None:
        ended, end = ending(ended, outcome.output)
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
    if key is not None:
        reply = Reply(key, {"output": None if outcome.output is None else outcome.output.decode()})
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


def request_hash(call: Call, *others: Any) -> str:
    """What tells a request from another under the same idempotency key."""
    request = [call.function, call.timeout_ms, *([call.limits.to_document()] if call.limits != NO_LIMITS else [])]
    return hashlib.sha256(_encode([*request, *others]) + call.input).hexdigest()


async def _run_once(platform: Platform, caller: Caller, executable: Executable, call: Call, key: str) -> Executed:
    """Run under an idempotency key: a repeat within a day gets the first answer, and another request is refused."""
    tenant_id, plugin_id = executable.plugin.tenant_id, executable.plugin.id
    asked = request_hash(call)
    claim = StoredReply(asked, platform.ids(), None, platform.clock())
    before = await _claim(platform, tenant_id, plugin_id, key, claim)
    if before is not None:
        replayed = await _replay(platform, tenant_id, before, asked)
        if replayed is not None:
            return replayed
        # The first request died with its process and left no record: this one takes its place.
        async with platform.store.for_tenant(tenant_id) as tx:
            await tx.settle_key(plugin_id, key, before.execution_id, None)
            there = await tx.claim_key(plugin_id, key, claim)
        if there is not None:
            # Another repeat was quicker to take it.
            raise IdempotencyConflict()
    try:
        return await run(platform, caller, executable, call, claim.execution_id, key=key)
    except BaseException:
        # Nothing was recorded, so a repeat may try again; where a record is there all the same, its answer stays.
        await now_or_later(platform, partial(_free, platform, tenant_id, plugin_id, key, claim.execution_id))
        raise


async def _free(platform: Platform, tenant_id: str, plugin_id: str, key: str, execution_id: str) -> None:
    async with platform.store.for_tenant(tenant_id) as tx:
        await tx.settle_key(plugin_id, key, execution_id, None)


async def now_or_later(platform: Platform, work: Callable[[], Awaitable[None]]) -> None:
    """Give back what was claimed; where the store is away, as soon as it is back. Until then nobody else has it."""
    try:
        await work()
    except StoreUnavailable:
        platform.in_background(_later(work))


async def _later(work: Callable[[], Awaitable[None]]) -> None:
    for _ in range(GIVE_BACK_TRIES):
        await asyncio.sleep(RECORD_PAUSE_S)
        with suppress(StoreUnavailable):
            await work()
            return


async def _claim(
    platform: Platform, tenant_id: str, plugin_id: str, key: str, claim: StoredReply
) -> StoredReply | None:
    """Hold the key, or what is there; of a request that seems abandoned the second look is told, a while later."""
    async with platform.store.for_tenant(tenant_id) as tx:
        before = await tx.claim_key(plugin_id, key, claim)
    if before is None or not before.abandoned or before.request_hash != claim.request_hash:
        return before
    await asyncio.sleep(platform.policies.taken_over_after_s)
    async with platform.store.for_tenant(tenant_id) as tx:
        return await tx.claim_key(plugin_id, key, claim)


async def _replay(platform: Platform, tenant_id: str, before: StoredReply, asked: str) -> Executed | None:
    """The first answer again; ``None`` where the first request can no longer end and left no record."""
    if before.request_hash != asked:
        raise IdempotencyMismatch(
            "This idempotency key was used with another request within the last day.",
            [FieldError("header/Idempotency-Key", "use a new key for a new request")],
        )
    longest = timedelta(milliseconds=platform.policies.limits.max_timeout_ms) + timedelta(minutes=1)
    if before.response is None and not before.abandoned and platform.clock() - before.created_at < longest:
        raise IdempotencyConflict("The first request with this idempotency key is still under way; ask again shortly.")
    async with platform.store.for_tenant(tenant_id) as tx:
        execution = await tx.execution(before.execution_id)
    if execution is None:
        return None
    output = before.response.get("output") if before.response is not None else None
    return Executed(execution, output.encode() if output is not None else None, replayed=True)
