"""A gate and a sandbox that follow a script: the test writes what a package holds and what its functions do."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from plugyard.application.ports import Inspection, Invocation, LoadProbe, Outcome, Rehearsal, Rehearsed
from plugyard.domain.execution import ExecutionFailure, ExecutionStatus, LogLine, Usage, Violation
from plugyard.domain.limits import EffectiveLimits
from plugyard.domain.manifest import Runtime
from plugyard.domain.modules import ModuleRules

USED = Usage(wall_ms=1.5, cpu_ms=0.5, peak_memory_bytes=6 << 20, service_calls=0, start="warm")
Script = Callable[[Invocation], Awaitable[Outcome]]


def succeeded(output: bytes = b"null", *, logs: tuple[LogLine, ...] = (), usage: Usage = USED) -> Outcome:
    """An outcome that went well."""
    return Outcome(ExecutionStatus.SUCCEEDED, output, None, usage, logs)


def failed(
    status: ExecutionStatus = ExecutionStatus.FAILED,
    code: str = "plugin_error",
    message: str = "it broke",
    *,
    violations: tuple[Violation, ...] = (),
) -> Outcome:
    """An outcome that went badly."""
    return Outcome(status, None, ExecutionFailure(code, message), USED, (), violations)


class ScriptedInspector:
    """Answers what the test wrote for a digest; ``failing`` is raised instead where a test sets it."""

    def __init__(self) -> None:
        self.inspections: dict[str, Inspection] = {}
        self.rules_version = "rules-1"
        self.failing: Exception | None = None

    async def inspect(self, path: Path, *, digest: str, size: int) -> Inspection:
        """The inspection that the test wrote."""
        if self.failing is not None:
            raise self.failing
        return self.inspections[digest]


class ScriptedExecutor:
    """Runs what the test wrote for a function and remembers what it was asked; without a script, ``null`` comes out."""

    def __init__(self) -> None:
        self.probes: dict[str, LoadProbe] = {}
        self.probed: list[tuple[EffectiveLimits | None, ModuleRules | None]] = []
        self.scripts: dict[str, Script] = {}
        self.rehearsed: dict[str, Rehearsed] = {}  # what comes of each example of a function
        self.rehearsals: list[Rehearsal] = []
        self.failing: Exception | None = None
        self.invocations: list[Invocation] = []
        self.forgotten: list[str] = []
        self.cancellable: set[str] = set()
        self.cancelled: list[str] = []

    def answer(self, function: str, outcome: Outcome) -> None:
        """From now on the function comes to this outcome."""

        async def script(invocation: Invocation) -> Outcome:
            return outcome

        self.scripts[function] = script

    async def execute(self, invocation: Invocation) -> Outcome:
        """Follow the script."""
        self.invocations.append(invocation)
        if self.failing is not None:
            raise self.failing
        script = self.scripts.get(invocation.function)
        return await script(invocation) if script is not None else succeeded()

    async def probe(
        self,
        runtime: Runtime,
        digest: str,
        bundle: bytes,
        limits: EffectiveLimits | None = None,
        modules: ModuleRules | None = None,
    ) -> LoadProbe:
        """What the test wrote of the package's code."""
        if self.failing is not None:
            raise self.failing
        self.probed.append((limits, modules))
        return self.probes.get(digest, LoadProbe())

    async def rehearse(self, rehearsal: Rehearsal) -> Sequence[Rehearsed]:
        """What the test wrote of each function's examples; without a script they go well."""
        if self.failing is not None:
            raise self.failing
        self.rehearsals.append(rehearsal)
        return [self.rehearsed.get(run.function, Rehearsed(succeeded())) for run in rehearsal.runs]

    def cancel(self, execution_id: str) -> bool:
        """Whether the test said that it runs."""
        self.cancelled.append(execution_id)
        return execution_id in self.cancellable

    async def forget(self, plugin_id: str) -> None:
        """Remember that the plugin's environments were ended."""
        self.forgotten.append(plugin_id)
