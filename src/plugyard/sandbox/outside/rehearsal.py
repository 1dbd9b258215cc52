"""Runs the examples of a package in an environment that belongs to nobody, before anybody may use the package.

The executor makes one ``Stage`` and lends it its way of executing. Every example has decoys of its own for services,
and a guest memory that no other example has seen, where the runtime can be given one. The environment ends with the
package. No more than ``_AT_ONCE`` packages are rehearsed at a time, and one of each tenant: whoever uploads packages
that loop keeps its own next upload waiting, and nobody's executions.
"""

import asyncio
import importlib
import time
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol
from weakref import WeakValueDictionary

import structlog

from plugyard.application.ports import ExampleRun, Invocation, Outcome, Rehearsal, Rehearsed
from plugyard.domain.errors import Overloaded, PlugyardError
from plugyard.domain.manifest import Runtime
from plugyard.domain.permissions import Permission, Service
from plugyard.sandbox.outside.broker import Allowance, Ended, Environment, State
from plugyard.sandbox.outside.pool import Pool
from plugyard.sandbox.services.registry import Services

EVERYTHING = tuple(Permission(service) for service in Service)
"""What an example is granted: all, so that what it uses without having asked for it is seen rather than refused."""

_AT_ONCE = 4
_WAITS_S = 30.0
_RENEWED_WITHIN_S = 5.0
# Decoys judge requests as the true service does, with its libraries; a start does not wait for those.
_DECOYS = "plugyard.sandbox.services.decoys"
log = structlog.get_logger("plugyard.rehearsal")


class Execute(Protocol):
    """The executor's way to run one invocation in an environment, with other services than its own."""

    def __call__(
        self, environment: Environment, start: str, invocation: Invocation, bundle: bytes, services: Services
    ) -> Awaitable[Outcome]: ...


class Stage:
    """See the module. ``stack_bytes`` is the stack that waiting environments have."""

    def __init__(self, pool: Pool, execute: Execute, stack_bytes: int) -> None:
        self._pool = pool
        self._execute = execute
        self._stack_bytes = stack_bytes
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._tenants: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, tenant_id: str) -> AsyncIterator[None]:
        """Wait for this tenant's turn, and for a place. Raises ``Overloaded``."""
        own = self._tenants.setdefault(tenant_id, asyncio.Semaphore(1))
        try:
            async with asyncio.timeout(_WAITS_S) as waiting, own, self._places:
                waiting.reschedule(None)
                yield
        except TimeoutError:
            if not waiting.expired():
                raise
            raise Overloaded("Too many packages are being checked; send it again.", retry_after_s=_WAITS_S) from None

    async def rehearse(self, rehearsal: Rehearsal, bundle: bytes) -> tuple[Rehearsed, ...]:
        """Run the examples one after another, while there is time. ``bundle`` is the prepared code.

        Where this service itself fails, there are fewer answers than runs.
        """
        await asyncio.to_thread(importlib.import_module, _DECOYS)
        from plugyard.sandbox.services.decoys import Record, decoys

        ends = time.perf_counter() + rehearsal.within_ms / 1000
        came: list[Rehearsed] = []
        environment: Environment | None = None
        try:
            for place, run in enumerate(rehearsal.runs):
                left_ms = int((ends - time.perf_counter()) * 1000)
                if left_ms < 1:
                    came.append(Rehearsed(None))
                    continue
                # One that takes all the time there is must not hide the others.
                most_ms = left_ms if place == len(rehearsal.runs) - 1 else max(1, left_ms // 2)
                start = "warm"
                if environment is None or not await self._renewed(environment, rehearsal.runtime):
                    if environment is not None:
                        self._pool.discard(environment)
                    environment = None
                    environment, start = await self._environment(rehearsal)
                invocation = _invocation(rehearsal, run, most_ms)
                record = Record()
                outcome = await self._execute(environment, start, invocation, bundle, decoys(record))
                came.append(Rehearsed(outcome, record.uses))
        except PlugyardError:
            raise
        except Exception:
            log.exception("a rehearsal failed", digest=rehearsal.digest)
        finally:
            if environment is not None:
                self._pool.discard(environment)
        return tuple(came)

    async def _environment(self, rehearsal: Rehearsal) -> tuple[Environment, str]:
        stack_bytes = rehearsal.limits.stack_bytes
        return await self._pool.acquire(
            ("", "", rehearsal.digest, 0),
            rehearsal.runtime.value,
            True,
            0 if stack_bytes == self._stack_bytes else stack_bytes,
        )

    async def _renewed(self, environment: Environment, runtime: Runtime) -> bool:
        """Whether the environment can serve again, its guest's memory being new where its runtime knows how."""
        if environment.state is not State.IDLE:
            return False
        if runtime is Runtime.WASM:
            return True
        try:
            error = await environment.renew(Allowance(_RENEWED_WITHIN_S, _RENEWED_WITHIN_S, 1 << 20))
        except Ended:
            return False
        return error is None


def _invocation(rehearsal: Rehearsal, run: ExampleRun, most_ms: int) -> Invocation:
    limits = rehearsal.limits

    async def given() -> bytes:
        return rehearsal.bundle

    return Invocation(
        run.execution_id,
        run.tenant_id,
        run.plugin_id,
        rehearsal.version,
        rehearsal.digest,
        rehearsal.runtime,
        run.function,
        run.input,
        run.context,
        replace(limits, timeout_ms=min(limits.timeout_ms, most_ms), cpu_ms=min(limits.cpu_ms, most_ms)),
        EVERYTHING,
        rehearsal.runtime is not Runtime.WASM,
        given,
        0,
        rehearsal.modules,
    )
