"""The sandbox, as the use cases see it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from plugyard.domain.behaviour import ServiceUse
from plugyard.domain.execution import (
    ExecutionFailure,
    ExecutionStatus,
    LogLine,
    Usage,
    Violation,
)
from plugyard.domain.limits import EffectiveLimits
from plugyard.domain.manifest import Runtime
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Permission
from plugyard.domain.rights import Right


@dataclass(frozen=True, slots=True)
class Invocation:
    """All that one execution needs. ``input`` is JSON; ``context`` a JSON object; ``bundle`` fetches the code.

    ``hops`` is how many events lie between this execution and the caller who set it off.
    """

    execution_id: str
    tenant_id: str
    plugin_id: str
    version: str
    digest: str
    runtime: Runtime
    function: str
    input: bytes = field(repr=False)
    context: bytes = field(repr=False)  # It holds the configuration, with its secrets.
    limits: EffectiveLimits
    grants: tuple[Permission, ...]
    fresh: bool
    bundle: Callable[[], Awaitable[bytes]]
    hops: int = 0
    modules: ModuleRules = field(default_factory=ModuleRules)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an invocation; ``output`` is JSON where it succeeded."""

    status: ExecutionStatus
    output: bytes | None
    error: ExecutionFailure | None
    usage: Usage
    logs: tuple[LogLine, ...] = ()
    violations: tuple[Violation, ...] = ()
    used: frozenset[Right] = frozenset()  # the rights that were used, each once


@dataclass(frozen=True, slots=True)
class LoadProbe:
    """The functions that a package's code exports, or why it could not be loaded."""

    exports: tuple[str, ...] = ()
    error: ExecutionFailure | None = None


@dataclass(frozen=True, slots=True)
class ExampleRun:
    """A function with an example of its input; ``input`` is JSON, ``context`` a JSON object as executions have it."""

    execution_id: str
    tenant_id: str
    plugin_id: str
    function: str
    input: bytes
    context: bytes


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Examples of one package, to be run one after another where no service is real, all within ``within_ms``.

    ``queue`` is whose turn it takes (a tenant's id); the ids that the runs name belong to nobody.
    """

    queue: str
    digest: str
    version: str
    runtime: Runtime
    bundle: bytes
    runs: tuple[ExampleRun, ...]
    limits: EffectiveLimits
    within_ms: int
    modules: ModuleRules = field(default_factory=ModuleRules)


@dataclass(frozen=True, slots=True)
class Rehearsed:
    """What came of one run, and what it asked of services. ``outcome`` is ``None`` where no time was left for it."""

    outcome: Outcome | None
    uses: tuple[ServiceUse, ...] = ()


class Executor(Protocol):
    """The sandbox. Raises ``Overloaded`` and ``SandboxUnavailable``; whatever the plugin does is an ``Outcome``."""

    async def execute(self, invocation: Invocation) -> Outcome: ...
    async def probe(
        self,
        runtime: Runtime,
        digest: str,
        bundle: bytes,
        limits: EffectiveLimits | None = None,
        modules: ModuleRules | None = None,
    ) -> LoadProbe: ...
    async def rehearse(self, rehearsal: Rehearsal) -> Sequence[Rehearsed]: ...  # one for each run, in their order
    def cancel(self, execution_id: str) -> bool: ...  # whether it was running or waiting
    async def forget(self, plugin_id: str) -> None: ...  # end the plugin's idle environments
