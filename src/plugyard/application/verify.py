"""Step two: the service judges a package.

It is inspected in a jailed process, its dependencies are resolved, its code is loaded once in the sandbox, and its
examples are rehearsed there.

``upload.py`` calls ``verify``; the findings of all four come together in one report.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from plugyard.application.names import RULES as OF_NAMES
from plugyard.application.names import imitations
from plugyard.application.platform import Platform
from plugyard.application.rehearse import RULES as OF_THE_REHEARSAL
from plugyard.application.rehearse import Loaded, rehearse
from plugyard.application.resolve import resolve_dependencies
from plugyard.domain.dependencies import Unresolvable
from plugyard.domain.errors import PackageRefused
from plugyard.domain.execution import ExecutionFailure
from plugyard.domain.limits import NO_CEILINGS, RequestedLimits
from plugyard.domain.manifest import Manifest
from plugyard.domain.modules import ModuleRules
from plugyard.domain.report import Consequence, Finding, Report, Severity
from plugyard.domain.rules import Rule

_UNRESOLVABLE = Rule(
    "dependencies.unresolvable",
    Severity.ERROR,
    Consequence.BLOCK,
    "the dependencies on other plugins cannot be met",
    "A plugin runs only beside what it needs.",
    "Widen the range, or install or publish a version that lies in it first.",
)
_MODULE_REFUSED = Rule(
    "code.module-refused",
    Severity.ERROR,
    Consequence.BLOCK,
    "a module is needed that is not offered to plugins",
    "The first execution that imports it would fail: a sandbox has no files, sockets or processes for it to use.",
    "Use what the message names instead; the modules that are offered are listed in docs/modules.md.",
)
_DOES_NOT_LOAD = Rule(
    "code.does-not-load",
    Severity.ERROR,
    Consequence.BLOCK,
    "the code could not be loaded",
    "Code that cannot be loaded cannot be executed; its first caller would meet this error.",
    "Mend the error at the file and line that the message names, and pack again.",
)
_FUNCTION_MISSING = Rule(
    "code.function-missing",
    Severity.ERROR,
    Consequence.BLOCK,
    "the manifest names a function that the code does not export",
    "Callers would get an error from a function that the manifest promises.",
    "Export the function under this name, or correct the name in the manifest.",
)
RULES = (_UNRESOLVABLE, _MODULE_REFUSED, _DOES_NOT_LOAD, _FUNCTION_MISSING, *OF_NAMES, *OF_THE_REHEARSAL)
"""What this step can find broken; the gate's table shows them beside its own."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A package that was let in, with the report on it, its manifest, its code and what the code exports."""

    report: Report
    manifest: Manifest
    bundle: bytes
    exports: tuple[str, ...]


async def verify(platform: Platform, tenant_id: str, path: Path, *, digest: str, size: int) -> Verified:
    """Judge the package at ``path``. Raises ``PackageRefused`` with every finding.

    ``GateUnavailable`` and ``SandboxUnavailable`` say that no judgement could be had; the package is not let in.
    """
    inspection = await platform.inspector.inspect(path, digest=digest, size=size)
    if inspection.report.refused or inspection.manifest is None or inspection.bundle is None:
        raise PackageRefused(inspection.report)
    manifest = Manifest.from_document(inspection.manifest, entry=inspection.entry)
    findings = await _unmet_dependencies(platform, tenant_id, manifest)
    findings += await _imitations(platform, tenant_id, manifest)
    denied, ceilings = await _decided(platform, tenant_id)
    findings += _refused_modules(platform, manifest, denied)
    # Loading has a limit of its own; what a single call may take says nothing of it.
    asked = replace(manifest.limits, timeout_ms=None, cpu_ms=None)
    limits = platform.policies.limits.effective(asked, ceilings=ceilings)
    rules = ModuleRules(manifest.modules, denied)
    probe = await platform.executor.probe(manifest.runtime, digest, inspection.bundle, limits, rules)
    if probe.error is not None:
        findings.append(_does_not_load(manifest, probe.error))
    else:
        findings += [
            _function_missing(manifest, name, probe.exports) for name in manifest.absent_functions(probe.exports)
        ]
    report = inspection.report.with_findings(*platform.policies.rules.apply(findings))
    if not report.refused:
        behaviour, found = await rehearse(platform, tenant_id, Loaded(manifest, digest, inspection.bundle, rules))
        report = replace(report.with_findings(*platform.policies.rules.apply(found)), behaviour=behaviour)
    if report.refused:
        raise PackageRefused(report)
    report = replace(report, rules_version=platform.inspector.rules_version)
    return Verified(report, manifest, inspection.bundle, probe.exports)


async def _imitations(platform: Platform, tenant_id: str, manifest: Manifest) -> list[Finding]:
    async with platform.store.for_tenant(tenant_id) as tx:
        return await imitations(tx, manifest)


async def _unmet_dependencies(platform: Platform, tenant_id: str, manifest: Manifest) -> list[Finding]:
    async with platform.store.for_tenant(tenant_id) as tx:
        try:
            await resolve_dependencies(platform, tx, manifest, installed_only=False)
        except Unresolvable as error:
            return [
                _UNRESOLVABLE.found("plugin.json#/dependencies", sentence[0].upper() + sentence[1:] + ".")
                for sentence in error.explanation
            ]
    return []


async def _decided(platform: Platform, tenant_id: str) -> tuple[tuple[str, ...], RequestedLimits]:
    """What an operator decided for the tenant: denied modules, and ceilings, which hold for loading as well."""
    async with platform.store.for_tenant(tenant_id) as tx:
        tenant = await tx.tenant(tenant_id)
    return (tenant.modules_denied, tenant.bounds.ceilings) if tenant is not None else ((), NO_CEILINGS)


def _refused_modules(platform: Platform, manifest: Manifest, denied: tuple[str, ...]) -> list[Finding]:
    """The modules that the manifest needs and may not have, each at its place."""
    judged = [
        (place, name, platform.policies.modules.refusal(manifest.runtime, name, denied))
        for place, name in enumerate(manifest.modules or ())
    ]
    return [
        _MODULE_REFUSED.found(
            f"plugin.json#/security/modules/{place}",
            f"The manifest needs the module {name}, which is not offered to plugins: {why}.",
        )
        for place, name, why in judged
        if why is not None
    ]


def _does_not_load(manifest: Manifest, error: ExecutionFailure) -> Finding:
    stack = f"\n{error.stack}" if error.stack else ""
    if error.code == "module_refused":
        return _MODULE_REFUSED.found(manifest.entry, f"The code imports what is not offered: {error.message}{stack}")
    return _DOES_NOT_LOAD.found(manifest.entry, f"The code could not be loaded: {error.message}{stack}")


def _function_missing(manifest: Manifest, name: str, exports: tuple[str, ...]) -> Finding:
    if name in manifest.functions:
        where = f"plugin.json#/functions/{name}"
    else:
        place = next(index for index, endpoint in enumerate(manifest.endpoints) if endpoint.handler == name)
        where = f"plugin.json#/api/endpoints/{place}/handler"
    return _FUNCTION_MISSING.found(
        where,
        f"The manifest names the function {name!r}, which {manifest.entry} does not export. "
        f"It exports: {', '.join(exports) or 'nothing'}.",
    )
