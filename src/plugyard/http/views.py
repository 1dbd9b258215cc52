"""What answers look like, in camelCase. ``present.py`` makes them and the OpenAPI document is written from them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

import msgspec

from plugyard.domain.consent import AskStatus
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.health import HealthStatus
from plugyard.domain.identity import Action, Role
from plugyard.domain.manifest import Effect, Isolation, Runtime
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import PluginState
from plugyard.domain.report import Consequence, Severity
from plugyard.domain.standing import StandingState
from plugyard.domain.tenants import TenantState
from plugyard.http.behaviour import BehaviourView
from plugyard.http.view import View

T = TypeVar("T")


class PageView(View, Generic[T], frozen=True):
    """Some items, and the cursor of those behind them, or null at the end."""

    items: list[T]
    next_cursor: str | None


class PermissionView(View, frozen=True):
    """A service, narrowed by hosts, methods and paths (network) or topics (events). Empty means not narrowed."""

    service: Service
    hosts: Sequence[str]
    methods: Sequence[str]
    paths: Sequence[str]
    topics: Sequence[str]
    reason: str


class AskView(PermissionView, frozen=True):
    """What a version asks for and why, how that stands, what was granted of it, and whether the policy would grant it.

    `waiting`: an admin has to answer; `policy`: the tenant's policy gives it at install; `granted`, `narrowed` and
    `declined`: as an admin or the policy decided. Where `grantable` is false, the operator lets no plugin have it.
    """

    status: AskStatus
    grant: PermissionView | None
    by_policy: bool
    grantable: bool


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


class FunctionView(View, frozen=True):
    """A function that callers may execute; the schemas are null where the manifest has none."""

    name: str
    description: str
    effect: Effect
    input: Any
    output: Any


class EndpointView(View, frozen=True):
    """One of the plugin's own HTTP endpoints, as its manifest declares it."""

    method: str
    path: str
    handler: str


class LimitsView(View, frozen=True):
    """What the manifest asks for, in the manifest's own units, or null where it asks for nothing."""

    memory: int | None
    timeout: int | None
    cpu: int | None
    output: int | None
    log_lines: int | None
    log_size: int | None
    service_calls: int | None
    service_rate: int | None
    service_size: int | None
    in_flight: int | None
    stack: int | None
    startup: int | None


class HealthView(View, frozen=True):
    """A score from 0 to 100, folded from recent executions; null while nothing ran."""

    status: HealthStatus
    score: int | None
    checked_at: datetime | None


class PluginSummary(View, frozen=True):
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
    """What the gate says of a package; sizes in bytes, time in milliseconds. Without examples there is no behaviour."""

    version: str
    digest: str
    format: str
    packed_bytes: int
    unpacked_bytes: int
    entries: int
    took_ms: float
    findings: list[FindingView]
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


class VersionView(View, frozen=True):
    """One version of a plugin: immutable, named by the SHA-256 of its package."""

    version: str
    digest: str
    packed_bytes: int
    runtime: Runtime
    functions: Sequence[str]
    permissions: list[PermissionView]
    created_at: datetime
    standing: StandingView | None


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


class UsageView(View, frozen=True):
    """What an execution used; `start` is warm (a reused environment), spare (a waiting one) or cold."""

    wall_ms: float
    cpu_ms: float
    peak_memory_bytes: int
    service_calls: int
    start: str


class FailureView(View, frozen=True):
    """Why an execution did not succeed; `limit` and `used` in the unit of the limit that was met."""

    code: str
    message: str
    stack: str | None
    limit: int | None
    used: int | None


class ExecutedView(View, frozen=True):
    """What came of an execution."""

    execution_id: str
    plugin_id: str
    version: str
    function: str
    status: ExecutionStatus
    output: msgspec.Raw
    error: FailureView | None
    usage: UsageView | None


class ExecutionView(View, frozen=True):
    """The record of an execution. The input and the output themselves are not kept, only their sizes in bytes."""

    execution_id: str
    plugin_id: str
    version: str
    function: str
    status: ExecutionStatus
    error: FailureView | None
    usage: UsageView | None
    started_at: datetime
    ended_at: datetime | None
    actor: str
    request_id: str
    input_bytes: int
    output_bytes: int


class LogView(View, frozen=True):
    """One line that a plugin logged."""

    id: str
    execution_id: str
    at: datetime
    level: str
    message: str
    fields: dict[str, Any]


class WallView(View, frozen=True):
    """Durations in milliseconds; null where nothing ran."""

    mean: float | None
    p50: float | None
    p95: float | None
    p99: float | None
    max: float | None


class MetricsView(View, frozen=True):
    """Aggregates over a window."""

    since: datetime
    until: datetime
    executions: int
    by_status: Mapping[str, int]
    error_rate: float | None
    wall_ms: WallView
    cpu_ms_total: float
    cpu_ms_mean: float | None
    peak_memory_bytes_max: int | None
    by_function: Mapping[str, int]
    starts: Mapping[str, int]
    health: HealthView


class ListingView(View, frozen=True):
    """A published version, as other tenants see it."""

    id: str
    name: str
    version: str
    digest: str
    runtime: Runtime
    description: str
    author: str
    category: str
    keywords: Sequence[str]
    license: str | None
    homepage: str | None
    functions: list[FunctionView]
    permissions: list[PermissionView]
    asks: list[AskView]
    packed_bytes: int
    published_at: datetime
    withdrawn_at: datetime | None
    installations: int
    rating: float | None
    ratings: int
    health_score: int | None
    score: float


class FeaturedView(View, frozen=True):
    """The featured listings, best first."""

    items: list[ListingView]


class CategoryView(View, frozen=True):
    """A category and how many listings it has."""

    name: str
    count: int


class CategoriesView(View, frozen=True):
    """Every category that has a listing, the fullest first."""

    items: list[CategoryView]


class RatingView(View, frozen=True):
    """One tenant's rating of a listing, from 1 to 5 stars; `mine` is true for the caller's own."""

    stars: int
    review: str
    mine: bool
    created_at: datetime
    updated_at: datetime


class ScopeView(View, frozen=True):
    """What a key is narrowed to; no actions are all of its role."""

    actions: list[Action]
    plugin: str | None
    functions: list[str]


class KeyView(View, frozen=True):
    """An API key, without its secret; `succeeds` is the key whose place it takes."""

    id: str
    name: str
    role: Role
    scopes: list[ScopeView]
    succeeds: str | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class NewKeyView(KeyView, frozen=True):
    """A new API key with its secret, which is never shown again."""

    secret: str


class PolicyView(View, frozen=True):
    """What a tenant decides for all of its plugins."""

    auto_grant: list[Service]


class QuotasView(View, frozen=True):
    """How much a tenant may have; null is no quota."""

    plugins: int | None
    storage_bytes: int | None
    executions_per_minute: int | None
    executions_per_day: int | None
    concurrent_executions: int | None


class BoundsView(View, frozen=True):
    """What an operator decides for a tenant: ceilings of its executions, services, quotas."""

    ceilings: LimitsView
    grantable: list[Service]
    auto_grantable: list[Service]
    quotas: QuotasView


class TenantView(View, frozen=True):
    """A customer of the platform."""

    id: str
    slug: str
    name: str
    created_at: datetime
    policy: PolicyView
    modules_denied: Sequence[str]
    bounds: BoundsView
    state: TenantState
    suspended_because: str | None
    suspended_at: datetime | None


class UsedView(View, frozen=True):
    """How much of a quota is used; `limit` is null where there is no quota."""

    limit: int | None
    used: int


class UsageOfQuotasView(View, frozen=True):
    """Every quota with what is used of it at this moment; minutes and days are those of UTC."""

    plugins: UsedView
    storage_bytes: UsedView
    executions_per_minute: UsedView
    executions_per_day: UsedView
    concurrent_executions: UsedView


class OwnTenantView(TenantView, frozen=True):
    """A tenant, and what it uses."""

    quotas: UsageOfQuotasView


class NewTenantView(View, frozen=True):
    """A new tenant and its first admin key."""

    tenant: TenantView
    key: NewKeyView


class MeView(View, frozen=True):
    """Who the key belongs to; `tenantId` is null for an operator who has named no tenant."""

    actor: str
    role: Role
    tenant_id: str | None


class AuditView(View, frozen=True):
    """Who did what to which thing."""

    id: str
    at: datetime
    actor: str
    action: str
    target: str
    detail: dict[str, Any]
    request_id: str
    sequence: int | None
    hash: str | None


class AuditHeadView(View, frozen=True):
    """Where the trail's chain ends: the place of its last entry, and the hash there. 0 where there is none yet."""

    sequence: int
    hash: str
