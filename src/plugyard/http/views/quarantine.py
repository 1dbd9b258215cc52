"""The quarantine and the rescan in answers."""

from datetime import datetime

from plugyard.domain.plugin import PluginState
from plugyard.domain.standing import StandingState
from plugyard.http.view import View
from plugyard.http.views.plugins import FindingView, ReportView


class SuspectView(View, frozen=True):
    """A version of some tenant's in the quarantine; `decidedBy` is the operator who gave the word."""

    version_id: str
    tenant_id: str
    plugin_id: str
    name: str
    version: str
    digest: str
    state: StandingState
    since: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class SuspectDetail(SuspectView, frozen=True):
    """The same with the report."""

    report: ReportView


class InstallationView(View, frozen=True):
    """A plugin of some tenant's that points at a version."""

    tenant_id: str
    plugin_id: str
    status: PluginState


class AffectedView(View, frozen=True):
    """A version in use in which something was found later, and who uses it."""

    version_id: str
    name: str
    version: str
    digest: str
    at: datetime
    findings: list[FindingView]
    installations: list[InstallationView]


class RescanView(View, frozen=True):
    """How far stored versions were checked again by the rules of now: how many wait, and a page of what was found."""

    rules_version: str
    waiting: int
    items: list[AffectedView]
    next_cursor: str | None
