"""What the quarantine and the rescan look like in answers."""

from typing import Any

from plugyard.application.history import Judged
from plugyard.application.quarantine import Suspect
from plugyard.application.rescan import Progress
from plugyard.domain.plugin import PluginState
from plugyard.domain.standing import Affected, Standing
from plugyard.http import present
from plugyard.http.views import (
    AffectedView,
    InstallationView,
    JudgedReportView,
    LaterFindingsView,
    RescanView,
    SuspectDetail,
    SuspectView,
)


def suspect(one: Standing) -> SuspectView:
    """A version of the quarantine."""
    return SuspectView(**_suspect(one))


def _suspect(one: Standing) -> dict[str, Any]:
    return {
        "version_id": one.version_id,
        "tenant_id": one.tenant_id,
        "plugin_id": one.plugin_id,
        "name": one.name,
        "version": one.version,
        "digest": f"sha256:{one.digest}",
        "state": one.state,
        "since": one.since,
        "decided_at": one.decided_at,
        "decided_by": one.decided_by,
        "reason": one.reason,
    }


def suspect_detail(one: Suspect) -> SuspectDetail:
    """A version of the quarantine with its report."""
    return SuspectDetail(**_suspect(one.standing), report=present.report(one.version.report, one.version.number))


def judged_report(one: Judged) -> JudgedReportView:
    """A report, with what became of it."""
    later = one.rescan
    return JudgedReportView(
        **present.report_fields(one.version.report, one.version.number),
        standing=present.version_standing(one.standing),
        later_findings=None
        if later is None
        else LaterFindingsView(
            rules_version=later.rules_version, at=later.at, findings=[present.finding(each) for each in later.findings]
        ),
    )


def rescan(one: Progress) -> RescanView:
    """How far the rescan has come, and what was found."""
    return RescanView(
        rules_version=one.rules_version,
        waiting=one.waiting,
        items=[_affected(each) for each in one.affected.items],
        next_cursor=one.affected.next_cursor,
    )


def _affected(one: Affected) -> AffectedView:
    return AffectedView(
        version_id=one.rescan.version_id,
        name=one.name,
        version=one.version,
        digest=f"sha256:{one.digest}",
        at=one.rescan.at,
        findings=[present.finding(each) for each in one.rescan.findings],
        installations=[
            InstallationView(tenant_id=tenant, plugin_id=plugin, status=PluginState(state))
            for tenant, plugin, state in one.installations
        ],
    )
