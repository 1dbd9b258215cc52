"""The service calls of one execution: judged, started, answered in the order in which they end, and counted.

The broker passes every call frame here. What goes beyond a limit ends the environment; what is refused is an error in
the plugin. When the execution ends, ``close`` cancels what is still open and lets the services clear up.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import msgspec
import structlog

from plugyard.application.tracing import Span, current, span
from plugyard.domain.execution import ExecutionFailure, Violation
from plugyard.domain.limits import EffectiveLimits
from plugyard.domain.permissions import Permission
from plugyard.domain.rights import TOLD_BY, Right
from plugyard.sandbox import wire
from plugyard.sandbox.services.base import Denied, Scope, Service, ServiceFault, Uses
from plugyard.sandbox.services.registry import Pace, Services

MAX_IN_FLIGHT = 16
MAX_ARGUMENT_DEPTH = 64
MAX_ARGUMENT_VALUES = 50_000
_MAX_VIOLATIONS = 20
_MAX_DETAIL = 200
_CLOSES_WITHIN_S = 5.0
_NO_RIGHTS: frozenset[Right] = frozenset()

_arguments = msgspec.json.Decoder(dict[str, Any])
_encode = msgspec.json.Encoder().encode
log = structlog.get_logger("plugyard.services")


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose calls they are, from the service's own record of the execution."""

    execution_id: str
    tenant_id: str
    plugin_id: str
    grants: tuple[Permission, ...]
    hops: int = 0


class Channel(Protocol):
    """The environment's end: where answers go, and what ends it when a limit is met."""

    def answer(self, answer: wire.Answer) -> None: ...
    def overrun(self) -> None: ...


class Calls:
    """The calls of one execution. Making one costs next to nothing, since most executions call nothing."""

    __slots__ = (
        "_closed",
        "_deadline",
        "_holder",
        "_limits",
        "_open",
        "_pace",
        "_services",
        "_touched",
        "_waiting",
        "below",
        "bytes",
        "count",
        "failure",
        "uses",
        "violations",
    )

    def __init__(self, services: Services, holder: Holder, limits: EffectiveLimits, deadline: float) -> None:
        self._services = services
        self._holder = holder
        self._limits = limits
        self._deadline = deadline
        self._closed = False
        self._pace: Pace | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._waiting: deque[Callable[[], None]] = deque()
        self._touched: dict[int, Service] = {}
        self.below: Span | None = None  # what runs the function: calls come in by a socket, which knows of no span
        self.count = 0
        self.bytes = 0
        self.uses: Uses | None = None
        self.failure: ExecutionFailure | None = None
        self.violations: list[Violation] = []

    @property
    def used_rights(self) -> frozenset[Right]:
        """The rights that were used so far."""
        return frozenset(self.uses.rights) if self.uses is not None else _NO_RIGHTS

    @property
    def used(self) -> bool:
        """Whether any service has been reached, so that there is something to close."""
        return bool(self._touched)

    def begin(self, call: wire.Call, channel: Channel) -> None:
        """Take one call. So many run as the limits say; the others wait, within the limits of number and bytes."""
        self.count += 1
        if not self._within(len(call.arguments), channel):
            return
        try:
            service, grant = self._services.find(call.service, call.method, self._holder.grants)
            arguments = _decoded(call.arguments)
        except ServiceFault as fault:
            self._refuse(call.ticket, fault, channel)
            return
        self._touched[id(service)] = service
        holder = self._holder
        if self.uses is None:
            self.uses = Uses()
        if grant.service not in TOLD_BY:
            # The others are judged further by their services, which note what they allow.
            self.uses.note(grant.service)
        scope = Scope(
            holder.tenant_id, holder.plugin_id, holder.execution_id, grant, self._deadline, holder.hops, self.uses
        )

        def start() -> None:
            work = partial(service.call, scope, call.method, arguments)
            if self.below is not None and self.below.recording:
                work = partial(self._traced, f"{call.service}.{call.method}", work)
            task = asyncio.get_running_loop().create_task(self._serve(call.ticket, work, channel))
            self._open.add(task)
            task.add_done_callback(self._ended)

        self._waiting.append(start)
        self._start_waiting()

    async def close(self) -> None:
        """Cancel what is open and let every service that was reached clear up. Runs to its end even if cancelled."""
        self._closed = True
        self._waiting.clear()
        await asyncio.shield(asyncio.get_running_loop().create_task(self._close()))

    def violate(self, kind: str, detail: str) -> None:
        """Put a violation on record, each once."""
        violation = Violation(kind, detail[:_MAX_DETAIL])
        if violation not in self.violations and len(self.violations) < _MAX_VIOLATIONS:
            self.violations.append(violation)

    def _within(self, size: int, channel: Channel) -> bool:
        """Count what came in or goes out; beyond a limit the environment is ended."""
        self.bytes += size
        limits = self._limits
        if self.count > limits.service_calls:
            self.failure = _overrun("service_calls_exceeded", "service calls", limits.service_calls, self.count)
        elif self.bytes > limits.service_bytes:
            self.failure = _overrun(
                "service_bytes_exceeded", "bytes in service calls", limits.service_bytes, self.bytes
            )
        else:
            return True
        channel.overrun()
        return False

    def _start_waiting(self) -> None:
        while self._waiting and len(self._open) < min(self._limits.in_flight, MAX_IN_FLIGHT):
            self._waiting.popleft()()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._open.discard(task)
        if not self._closed:
            self._start_waiting()

    async def _serve(self, ticket: int, work: Callable[[], Awaitable[Any]], channel: Channel) -> None:
        try:
            delay = self._delay()
            if delay > 0:
                await asyncio.sleep(delay)
            value = _encode(await work())
        except ServiceFault as fault:
            self._refuse(ticket, fault, channel)
        except Exception:
            log.exception("a service failed", execution=self._holder.execution_id)
            self._refuse(ticket, ServiceFault("service_failed", "the service failed; try again later"), channel)
        else:
            if self._within(len(value), channel):
                channel.answer(wire.Answer(ticket, True, value))

    async def _traced(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        current.set(self.below)  # Of this call's own task.
        with span(name, "client") as traced:
            traced.set("plugyard.tenant.id", self._holder.tenant_id)
            return await work()

    def _delay(self) -> float:
        """How long a call that begins now waits, for its execution's own pace and for its tenant's."""
        if self._pace is None:
            self._pace = Pace(self._limits.service_rate)
        tenant_id = self._holder.tenant_id
        return max(self._services.pace.delay(tenant_id), self._pace.delay(tenant_id))

    def _refuse(self, ticket: int, fault: ServiceFault, channel: Channel) -> None:
        if isinstance(fault, Denied):
            self.violate("permission_denied", fault.message)
        value = json.dumps({"code": fault.code, "message": fault.message}).encode()
        if self._within(len(value), channel):
            channel.answer(wire.Answer(ticket, False, value))

    async def _close(self) -> None:
        for task in self._open:
            task.cancel()
        if self._open:
            _, stuck = await asyncio.wait(self._open, timeout=_CLOSES_WITHIN_S)
            if stuck:
                log.error("service calls did not end", execution=self._holder.execution_id, calls=len(stuck))
        for service in self._touched.values():
            try:
                await service.ended(self._holder.execution_id)
            except Exception:
                log.exception("a service could not clear up", execution=self._holder.execution_id)


def _decoded(data: bytes) -> dict[str, Any]:
    """The arguments of a call. Their depth is looked at before anything recurses into them."""
    if not wire.json_depth_within(data, MAX_ARGUMENT_DEPTH, MAX_ARGUMENT_VALUES):
        most = f"{MAX_ARGUMENT_DEPTH} levels and {MAX_ARGUMENT_VALUES} values"
        raise ServiceFault("invalid_arguments", f"the arguments of a call may have at most {most}")
    try:
        return _arguments.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise ServiceFault("invalid_arguments", "the arguments are no JSON object") from error


def _overrun(code: str, what: str, limit: int, used: int) -> ExecutionFailure:
    return ExecutionFailure(code, f"the execution used more than its {limit} {what}", limit=limit, used=used)
