"""Behaviour before trust: the examples of a package are run where no service is real, and what they did is told.

``verify.py`` calls ``rehearse`` for a package that nothing refuses and whose code loads. What is found is advice to
whoever grants and operates; what holds a plugin is the sandbox, which never learns of this.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Any

import msgspec

from plugyard.application.platform import Platform
from plugyard.application.ports import ExampleRun, Outcome, Rehearsal, Rehearsed
from plugyard.application.schemas import compiled
from plugyard.domain.behaviour import Behaviour, HostTried, RehearsedExample, ServiceUse, hosts_seen
from plugyard.domain.configuration import with_defaults
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.limits import MEGABYTE, NO_CEILINGS, EffectiveLimits
from plugyard.domain.manifest import Manifest
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Service
from plugyard.domain.report import Consequence, Finding, Severity
from plugyard.domain.rules import Rule

MOST_EXAMPLES = 50
MOST_USES = 50
MOST_HOSTS = 50
MOST_MEMORY_BYTES = 256 * MEGABYTE
MOST_CALLS = 200
_SHOWN = 500
_LIMIT_STATUSES = frozenset({ExecutionStatus.TIMED_OUT, ExecutionStatus.OUT_OF_MEMORY, ExecutionStatus.CPU_EXCEEDED})
_LIMIT_CODES = frozenset(
    {
        *("output_too_large", "service_calls_exceeded", "service_bytes_exceeded"),
        *("startup_exceeded", "stack_exceeded", "recursion_exceeded"),
    }
)

_UNDECLARED_PERMISSION = Rule(
    "behaviour.undeclared-permission",
    Severity.WARNING,
    Consequence.SHOW,
    "an example used a service that the manifest does not ask for",
    "When it is executed the call is denied, and what was meant to happen does not.",
    "Ask for the service in security.permissions with your reason, or take the call out.",
)
_UNUSED_PERMISSION = Rule(
    "behaviour.unused-permission",
    Severity.INFO,
    Consequence.SHOW,
    "no example used a service that the manifest asks for",
    "Whoever grants it cannot see what it is for.",
    "Add an example that uses it, or ask for less.",
)
_UNDECLARED_HOST = Rule(
    "behaviour.undeclared-host",
    Severity.WARNING,
    Consequence.QUARANTINE,
    "an example tried a host that the manifest does not name",
    "An honest plugin names whom it speaks to; a request to somebody else is how data leaves.",
    "Name the host in the permission network, with your reason, or take the request out.",
)
_PRIVATE_ADDRESS = Rule(
    "behaviour.private-address",
    Severity.ERROR,
    Consequence.QUARANTINE,
    "an example tried an address of a private network, of the machine, or of a cloud's metadata",
    "There is nothing there for a plugin; whoever asks looks for what the platform keeps to itself.",
    "Take the request out. A service of the operator's own is reached by a public name that the operator allows.",
)
_VIOLATION = Rule(
    "behaviour.violation",
    Severity.ERROR,
    Consequence.QUARANTINE,
    "an example did what no honest plugin does",
    "It broke the protocol of the sandbox, made a forbidden system call, or sent what no grant allows.",
    "Take out what the message names.",
)
_EXAMPLE_FAILED = Rule(
    "behaviour.example-failed",
    Severity.WARNING,
    Consequence.SHOW,
    "an example failed",
    "Callers who follow the example meet this error.",
    "Mend the function or the example; services answer an example with no rows, empty objects and nothing cached.",
)
_LIMIT_MET = Rule(
    "behaviour.limit-met",
    Severity.WARNING,
    Consequence.SHOW,
    "an example met a limit",
    "Limits are tighter here than in an execution; an example should be small and quick.",
    "Choose a smaller example, or find out what the function spends.",
)
_NOT_RUN = Rule(
    "behaviour.not-run",
    Severity.INFO,
    Consequence.SHOW,
    "an example was not run",
    "The report says nothing of what the function does.",
    "Do what the message says, and upload a new version.",
)
_COULD_NOT_RUN = Rule(
    "behaviour.could-not-run",
    Severity.ERROR,
    Consequence.BLOCK,
    "the examples could not be run",
    "What could not be looked at is not let in.",
    "Upload it again; if it happens again, tell the operator.",
    fixed=True,
)
RULES = (
    _UNDECLARED_PERMISSION,
    _UNUSED_PERMISSION,
    _UNDECLARED_HOST,
    _PRIVATE_ADDRESS,
    _VIOLATION,
    _EXAMPLE_FAILED,
    _LIMIT_MET,
    _NOT_RUN,
    _COULD_NOT_RUN,
)
"""What a rehearsal can find; the gate's table shows them beside the others."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A package whose code stands: its manifest, its code, and the modules that its executions may import."""

    manifest: Manifest
    digest: str
    bundle: bytes
    modules: ModuleRules


async def rehearse(platform: Platform, tenant_id: str, package: Loaded) -> tuple[Behaviour | None, list[Finding]]:
    """Run the package's examples and judge what they did; ``None`` where there are none, or the operator wants none.

    Raises ``Overloaded`` and ``SandboxUnavailable``: no judgement could be had, and the package is not let in.
    """
    examples = _examples(package.manifest)
    if not examples or not platform.policies.rehearsal_ms:
        return None, []
    configuration, missing = _configuration(package.manifest)
    if missing:
        why = f"the configuration has no default and no example for what it requires: {missing}"
        return Behaviour(tuple(_skipped(*one, why) for one in examples)), [_not_run(examples, why)]
    began = time.perf_counter()
    chosen = examples[:MOST_EXAMPLES]
    limits = await _limits(platform, tenant_id, package.manifest)
    runs = _runs(platform, package.manifest, chosen, configuration, limits)
    answers = await platform.executor.rehearse(
        Rehearsal(
            tenant_id,
            package.digest,
            str(package.manifest.version),
            package.manifest.runtime,
            package.bundle,
            runs,
            limits,
            platform.policies.rehearsal_ms,
            package.modules,
        )
    )
    if len(answers) != len(chosen):
        return None, [_COULD_NOT_RUN.found("plugin.json#/functions", "The sandbox did not answer for every example.")]
    told = [_told(function, place, answer) for (function, place), answer in zip(chosen, answers, strict=True)]
    late = f"only the first {MOST_EXAMPLES} examples of a package are run"
    told += [_skipped(*one, late) for one in examples[MOST_EXAMPLES:]]
    behaviour = _together(package.manifest, told, answers)
    findings = _of_examples(told, answers) + _of_the_whole(package.manifest, behaviour, answers)
    shown = replace(
        behaviour, hosts=behaviour.hosts[:MOST_HOSTS], took_ms=round((time.perf_counter() - began) * 1000, 3)
    )
    return shown, findings


def _examples(manifest: Manifest) -> list[tuple[str, int]]:
    """Function and place of each example: the first of every function, then the second of each, and so on."""
    all_of_them = [(place, name) for name, spec in manifest.functions.items() for place in range(len(spec.examples))]
    return [(name, place) for place, name in sorted(all_of_them, key=lambda one: one[0])]


def _configuration(manifest: Manifest) -> tuple[dict[str, Any], str]:
    """A configuration of defaults and of the schema's own examples; and what is missing in it, or nothing."""
    schema = manifest.configuration
    if schema is None:
        return {}, ""
    properties = schema.get("properties")
    given = {
        name: spec["examples"][0]
        for name, spec in (properties if isinstance(properties, dict) else {}).items()
        if isinstance(spec, dict)
        and "default" not in spec
        and isinstance(spec.get("examples"), list)
        and spec["examples"]
    }
    configuration = with_defaults(schema, given)
    error = next(iter(compiled(schema).iter_errors(configuration)), None)
    return configuration, "" if error is None else _clean(error.message)[:200]


async def _limits(platform: Platform, tenant_id: str, manifest: Manifest) -> EffectiveLimits:
    """Those that an execution of this tenant will have, and lower where an example should need less."""
    async with platform.store.for_tenant(tenant_id) as tx:
        tenant = await tx.tenant(tenant_id)
    ceilings = tenant.bounds.ceilings if tenant is not None else NO_CEILINGS
    limits = platform.policies.limits.effective(manifest.limits, ceilings=ceilings)
    return replace(
        limits,
        memory_bytes=min(limits.memory_bytes, MOST_MEMORY_BYTES),
        service_calls=min(limits.service_calls, MOST_CALLS),
    )


def _runs(
    platform: Platform,
    manifest: Manifest,
    chosen: Sequence[tuple[str, int]],
    configuration: dict[str, Any],
    limits: EffectiveLimits,
) -> tuple[ExampleRun, ...]:
    """The runs, for a tenant, a plugin and a user who do not exist and look like those who do."""
    somebody, something, caller = platform.ids(), platform.ids(), f"key:{platform.ids()}"
    encode = msgspec.json.encode
    runs = []
    for function, place in chosen:
        execution_id = platform.ids()
        deadline = platform.clock() + timedelta(milliseconds=limits.timeout_ms)
        context = {
            "tenantId": somebody,
            "userId": caller,
            "executionId": execution_id,
            "configuration": configuration,
            "deadline": deadline.astimezone(UTC).isoformat(),
            "trace": {},
        }
        given = encode(manifest.functions[function].examples[place])
        runs.append(ExampleRun(execution_id, somebody, something, function, given, encode(context)))
    return tuple(runs)


def _told(function: str, place: int, answer: Rehearsed) -> RehearsedExample:
    outcome = answer.outcome
    if outcome is None:
        return _skipped(function, place, "the time for all examples together was over")
    error, used = outcome.error, outcome.usage
    return RehearsedExample(
        function,
        place,
        outcome.status.value,
        error.code if error is not None else None,
        _clean(error.message) if error is not None else None,
        None,
        used.wall_ms,
        used.cpu_ms,
        used.peak_memory_bytes,
        used.service_calls,
        _permissions(outcome),
        answer.uses[:MOST_USES],
        sum(one.count for one in answer.uses[MOST_USES:]),
    )


def _skipped(function: str, place: int, why: str) -> RehearsedExample:
    return RehearsedExample(function, place, None, skipped=why)


def _permissions(outcome: Outcome) -> tuple[str, ...]:
    return tuple(sorted({right.service.value for right in outcome.used}))


def _together(manifest: Manifest, told: Sequence[RehearsedExample], answers: Sequence[Rehearsed]) -> Behaviour:
    used = {name for one in told for name in one.permissions}
    asked = {one.service.value for one in manifest.permissions}
    return Behaviour(
        tuple(told),
        tuple(sorted(used)),
        tuple(sorted(asked - used)),
        tuple(sorted(used - asked)),
        hosts_seen(_hosts(answers), manifest.permissions),
    )


def _hosts(answers: Sequence[Rehearsed]) -> list[HostTried]:
    return [use.host for answer in answers for use in answer.uses if use.host is not None]


def _of_examples(told: Sequence[RehearsedExample], answers: Sequence[Rehearsed]) -> list[Finding]:
    """What is to be said of single examples."""
    findings = []
    for one, answer in zip(told, answers, strict=False):
        outcome, where = answer.outcome, _where(one.function, one.place)
        if outcome is None:
            continue
        for violation in outcome.violations:
            what = f"The example did what it may not ({violation.kind}): {_clean(violation.detail)}."
            findings.append(_VIOLATION.found(where, what))
        if outcome.error is None:
            continue
        said = f"{outcome.error.code}: {_clean(outcome.error.message)}"
        if outcome.status in _LIMIT_STATUSES or outcome.error.code in _LIMIT_CODES:
            findings.append(_LIMIT_MET.found(where, f"The example met a limit: {said}."))
        else:
            stack = f"\n{_clean(outcome.error.stack)}" if outcome.error.stack else ""
            findings.append(_EXAMPLE_FAILED.found(where, f"The example failed: {said}{stack}"))
    left_out = [(one.function, one.place) for one in told if one.skipped]
    if left_out:
        findings.append(_not_run(left_out, next(one.skipped for one in told if one.skipped)))
    return findings


def _of_the_whole(manifest: Manifest, behaviour: Behaviour, answers: Sequence[Rehearsed]) -> list[Finding]:
    """What is to be said of all examples together."""
    where = "plugin.json#/security/permissions"
    findings = []
    for name in behaviour.undeclared:
        calls = sorted(
            {f"{use.service}.{use.method}" for answer in answers for use in answer.uses if _word(use) == name}
        )
        what = f"An example used {name} ({', '.join(calls)}), and the manifest does not ask for it."
        findings.append(_UNDECLARED_PERMISSION.found(where, what))
    asked = {one.service.value: place for place, one in enumerate(manifest.permissions)}
    findings += [
        _UNUSED_PERMISSION.found(f"{where}/{asked[name]}", f"The manifest asks for {name}, and no example used it.")
        for name in behaviour.unused
        if any(answer.outcome is not None for answer in answers)
    ]
    for host in behaviour.hosts[:MOST_HOSTS]:
        if host.inside:
            findings.append(_PRIVATE_ADDRESS.found(where, f"An example sent a request to {host.host}."))
        elif host.declared is False:
            what = f"An example sent a request to {host.host}, which the manifest does not name."
            findings.append(_UNDECLARED_HOST.found(where, what))
    return findings


_WORDS = {"http": Service.NETWORK.value, "files": Service.FILESYSTEM.value}


def _word(use: ServiceUse) -> str:
    """The permission that a call needs."""
    return _WORDS.get(use.service, use.service)


def _not_run(examples: Sequence[tuple[str, int]], why: str) -> Finding:
    named = ", ".join(f"{function}/{place}" for function, place in examples[:5])
    more = f" and {len(examples) - 5} more" if len(examples) > 5 else ""
    return _NOT_RUN.found(_where(*examples[0]), f"Not run: {named}{more}; {why}.")


def _where(function: str, place: int) -> str:
    return f"plugin.json#/functions/{function}/examples/{place}"


def _clean(text: str) -> str:
    """Text of a plugin, cut, as a report can keep it and a terminal can show it."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape", "surrogatepass").decode()
        for c in text[:_SHOWN]
    )
