"""Stored versions are checked again when the rules are others than those that let them in.

``bootstrap`` calls ``rescan_next`` in the background, one version after another; what is found is stored beside the
report, which never changes, and shown with the installations affected. A kill loses at most the version under way.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from plugyard.application.install import forget_cached
from plugyard.application.platform import Platform, entry, event, record_change, require
from plugyard.application.ports import Page, PageRequest, ToRescan, Transaction
from plugyard.application.upload import package_key
from plugyard.domain.errors import NotFound
from plugyard.domain.events import EventType
from plugyard.domain.identity import Action, Caller, Role
from plugyard.domain.plugin import PluginState, PluginView
from plugyard.domain.report import Consequence, Finding, Severity
from plugyard.domain.rules import Rule
from plugyard.domain.standing import Affected, Rescan

_GONE = Rule(
    "gate.package-gone",
    Severity.ERROR,
    Consequence.SHOW,
    "the stored package of a version in use is gone",
    "It cannot be checked again, and a service that starts anew could not run it.",
    "Upload the same package again.",
)
RULES = (_GONE,)
_OF_ITSELF = frozenset({"gate.could-not-run", "gate.timeout"})  # these say nothing of the package


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the rescan has come: the rules that are run, how many versions wait, and what was found."""

    rules_version: str
    waiting: int
    affected: Page[Affected]


async def rescan_next(platform: Platform) -> Rescan | None:
    """Check the next version again; ``None`` where none waits. ``GateUnavailable`` where no process can be had.

    A check that ended without a result is written down like a finding, so that one package holds up no other.
    """
    wanted = platform.inspector.rules_version
    async with platform.store.for_operator() as tx:
        waiting = await tx.versions_to_rescan(wanted, 1)
    if not waiting:
        return None
    version = waiting[0]
    found = await _look_again(platform, version)
    rescan = Rescan(version.version_id, version.tenant_id, wanted, platform.clock(), found)
    suspended = False
    async with platform.store.for_tenant(version.tenant_id) as tx:
        before = (await tx.rescans([version.version_id])).get(version.version_id)
        await tx.save_rescan(rescan)
        told = {_mark(one) for one in before.findings} if before is not None else set()
        news = tuple(one for one in found if _mark(one) not in told)
        view = await tx.plugin(version.plugin_id, lock=True)
        if view is not None and news:
            suspended = await _tell(platform, tx, view, version, news)
    if suspended:
        forget_cached(platform, version.plugin_id)
        await platform.executor.forget(version.plugin_id)
    return rescan


def _mark(finding: Finding) -> tuple[str, str, str]:
    return finding.rule, finding.where, finding.what


async def _tell(
    platform: Platform, tx: Transaction, view: PluginView, version: ToRescan, news: tuple[Finding, ...]
) -> bool:
    """Tell of what is new, and suspend the plugin where the operator wants that; whether it was."""
    caller = Caller("service:rescan", Role.OPERATOR, version.tenant_id)
    checked = await tx.version(version.version_id)
    number = checked.number if checked is not None else ""
    data = {"version": number, "digest": version.digest, "rules": sorted({one.rule for one in news})}
    await tx.emit(event(platform, EventType.VERSION_RESCANNED, view.plugin, data))
    await tx.audit(entry(platform, caller, EventType.VERSION_RESCANNED.value, view.plugin.id, data))
    weighty = sorted(
        {one.rule for one in news if one.consequence is not Consequence.SHOW and one.rule not in _OF_ITSELF}
    )
    in_use = view.version.id == version.version_id and view.plugin.state is PluginState.ACTIVE
    if not weighty or not in_use or not platform.policies.rescan_suspends:
        return False
    because = f"a later check found: {', '.join(weighty)}"
    plugin, happened = view.plugin.suspended(because, platform.clock())
    await tx.save_plugin(plugin)
    await record_change(platform, tx, caller, happened, plugin, {"because": because})
    return True


async def _look_again(platform: Platform, version: ToRescan) -> tuple[Finding, ...]:
    """What the rules find now and the report that let the bytes in does not have."""
    try:
        data = await platform.objects.get(package_key(version.digest))
    except NotFound:
        return (_GONE.found("the package", f"sha256:{version.digest} is not in the object store"),)
    with tempfile.TemporaryDirectory(prefix="plugyard-rescan-") as folder:
        path = Path(folder) / "package"
        await asyncio.to_thread(path.write_bytes, data)
        inspection = await platform.inspector.inspect(path, digest=version.digest, size=len(data))
    known = {_mark(one) for one in version.report.findings}
    return tuple(one for one in inspection.report.findings if _mark(one) not in known)


async def progress(platform: Platform, caller: Caller, page: PageRequest) -> Progress:
    """How far the rescan has come, and what was found, with the installations affected across tenants."""
    require(caller, Action.REVIEW)
    wanted = platform.inspector.rules_version
    async with platform.store.for_operator() as tx:
        return Progress(wanted, await tx.count_to_rescan(wanted), await tx.affected(page))


async def demand(platform: Platform, caller: Caller) -> Progress:
    """Have every version in use checked again, whichever rules have seen it."""
    require(caller, Action.REVIEW)
    async with platform.store.for_operator() as tx:
        await tx.demand_rescan(platform.ids(), platform.clock())
        await tx.audit(entry(platform, caller, "rescan.demanded", "versions"))
    return await progress(platform, caller, PageRequest())
