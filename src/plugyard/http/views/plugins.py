"""Plugins, their versions and the gate's reports in answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from plugyard.domain.manifest import Isolation, Runtime
from plugyard.domain.plugin import PluginState
from plugyard.domain.report import Consequence, Severity
from plugyard.domain.standing import StandingState
from plugyard.http.behaviour import BehaviourView
from plugyard.http.view import View
from plugyard.http.views.shared import AskView, FunctionView, HealthView, LimitsView, PermissionView
from plugyard.http.views.trust import SignatureView, TrustView


class WaitingUpgradeView(View, frozen=True):
    """An upgrade that waits for an admin's consent, or that one declined; `asks` is what goes beyond the grant."""

    version: str
    asks: list[PermissionView]
    since: datetime
    requested_by: str
    declined: bool
    declined_because: str | None
    decided_by: str | None
    decided_at: datetime | None


class AvailableUpgradeView(View, frozen=True):
    """A version higher than the one in use, and what it asks for beyond the grant; nothing asked needs no consent."""

    version: str
    from_marketplace: bool
    asks: list[PermissionView]


class EndpointView(View, frozen=True):
    """One of the plugin's own HTTP endpoints, as its manifest declares it."""

    method: str
    path: str
    handler: str


class PluginSummary(TrustView, frozen=True):
    """A plugin as lists show it; `waitingVersion` is the version that waits for an admin's consent."""

    id: str
    name: str
    version: str
    status: PluginState
    runtime: Runtime
    description: str
    author: str
    category: str
    health: HealthView
    waiting_version: str | None
    created_at: datetime
    updated_at: datetime


class PluginDetail(PluginSummary, frozen=True):
    """A plugin with everything that its tenant may know of it. Secrets show as a mask."""

    keywords: Sequence[str]
    entry: str
    digest: str
    functions: list[FunctionView]
    endpoints: list[EndpointView]
    permissions: list[PermissionView]
    grants: list[PermissionView]
    asks: list[AskView]
    waiting: WaitingUpgradeView | None
    available: AvailableUpgradeView | None
    limits: LimitsView
    isolation: Isolation
    modules: Sequence[str] | None
    configuration: dict[str, Any]
    configuration_schema: dict[str, Any] | None
    listing_id: str | None
    signature: SignatureView | None
    suspended_because: str | None
    installed_at: datetime | None
    activated_at: datetime | None
    allowed: Sequence[str]


class DependencyView(View, frozen=True):
    """What a dependency was resolved to when the version was installed."""

    name: str
    range: str
    version: str
    plugin_id: str | None


class PluginWithDependencies(PluginDetail, frozen=True):
    """A plugin, and what its version's dependencies were resolved to."""

    dependencies: list[DependencyView]


class FindingView(View, frozen=True):
    """One thing that the gate found: where it is, what is wrong, why it matters and how to mend it."""

    rule: str
    severity: Severity
    consequence: Consequence
    where: str
    line: int | None
    what: str
    why: str
    mend: str


class StandingView(View, frozen=True):
    """Where a suspicious version stands, and the operator's word on it."""

    state: StandingState
    since: datetime
    decided_at: datetime | None
    reason: str | None


class LaterFindingsView(View, frozen=True):
    """What rules that came later find in a version beyond its report, which never changes."""

    rules_version: str
    at: datetime
    findings: list[FindingView]


class ReportView(View, frozen=True):
    """What the gate says of a package; sizes in bytes, time in milliseconds. Without examples there is no behaviour.

    `libraries` counts those that were recognised in it; the bill of materials names them.
    """

    version: str
    digest: str
    format: str
    packed_bytes: int
    unpacked_bytes: int
    entries: int
    took_ms: float
    findings: list[FindingView]
    libraries: int
    behaviour: BehaviourView | None


class JudgedReportView(ReportView, frozen=True):
    """A report, with what became of it: an operator's word, and what later checks found."""

    standing: StandingView | None
    later_findings: LaterFindingsView | None


class UploadedView(View, frozen=True):
    """What came of an upload, and what still stands between the version and its first execution."""

    plugin: PluginDetail
    version: str
    created: bool
    report: ReportView
    consent_needed: list[PermissionView]
    not_activated: str | None
    standing: StandingView | None


class VersionView(TrustView, frozen=True):
    """One version of a plugin: immutable, named by the SHA-256 of its package.

    `laterFindings` counts what rules that came later find in it; its report has them.
    """

    version: str
    digest: str
    packed_bytes: int
    runtime: Runtime
    functions: Sequence[str]
    permissions: list[PermissionView]
    created_at: datetime
    standing: StandingView | None
    later_findings: int
    signature: SignatureView | None
