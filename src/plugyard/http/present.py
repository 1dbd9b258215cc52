"""Turns the domain's values into the views that answers are made of; the handlers of each resource call it."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from plugyard.application.consent import Standing
from plugyard.application.ports import AuditEntry, Metrics, Page, ResolvedDependency, StoredLogLine
from plugyard.application.tenants import Used
from plugyard.application.waiting import Available
from plugyard.domain.configuration import masked, with_defaults
from plugyard.domain.consent import Ask, WaitingUpgrade
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.health import Health
from plugyard.domain.identity import Action, ApiKey, Tenant
from plugyard.domain.limits import WORDS, RequestedLimits
from plugyard.domain.manifest import Effect, Manifest
from plugyard.domain.marketplace import Category, Listing, Rating
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import PluginVersion, PluginView, allowed
from plugyard.domain.report import Finding, Report
from plugyard.domain.signatures import Trust
from plugyard.domain.standing import Rescan
from plugyard.domain.standing import Standing as VersionStanding
from plugyard.domain.tenants import QUOTA_FIELDS, Quota, Quotas
from plugyard.http import trust
from plugyard.http.behaviour import behaviour
from plugyard.http.views import (
    AskView,
    AuditView,
    AvailableUpgradeView,
    BoundsView,
    CategoryView,
    DependencyView,
    EndpointView,
    FindingView,
    FunctionView,
    HealthView,
    KeyView,
    LimitsView,
    ListingView,
    LogView,
    MetricsView,
    NewKeyView,
    OwnTenantView,
    PageView,
    PermissionView,
    PluginDetail,
    PluginSummary,
    PluginWithDependencies,
    PolicyView,
    QuotasView,
    RatingView,
    ReportView,
    ScopeView,
    StandingView,
    TenantView,
    UsageOfQuotasView,
    UsedView,
    VersionView,
    WaitingUpgradeView,
    WallView,
)


def page(found: Page[Any], view: Any) -> PageView[Any]:
    """A page of views."""
    return PageView(items=[view(one) for one in found.items], next_cursor=found.next_cursor)


def limits(one: RequestedLimits) -> LimitsView:
    """What a manifest asks for."""
    return msgspec.convert({name: getattr(one, field) for name, field in WORDS.items()}, LimitsView)


def permission(one: Permission) -> PermissionView:
    """A permission, all of its fields."""
    return PermissionView(
        service=one.service, hosts=one.hosts, methods=one.methods, paths=one.paths, topics=one.topics, reason=one.reason
    )


def ask(one: Ask) -> AskView:
    """A request and how it stands."""
    asked = one.permission
    return AskView(
        service=asked.service,
        hosts=asked.hosts,
        methods=asked.methods,
        paths=asked.paths,
        topics=asked.topics,
        reason=asked.reason,
        status=one.status,
        grant=permission(one.grant) if one.grant is not None else None,
        by_policy=one.by_policy,
        grantable=one.grantable,
    )


def _waiting(one: WaitingUpgrade | None) -> WaitingUpgradeView | None:
    if one is None:
        return None
    return WaitingUpgradeView(
        version=one.version,
        asks=[permission(each) for each in one.asks],
        since=one.since,
        requested_by=one.requested_by,
        declined=one.declined,
        declined_because=one.declined_because,
        decided_by=one.decided_by,
        decided_at=one.decided_at,
    )


def _available(one: Available | None) -> AvailableUpgradeView | None:
    if one is None:
        return None
    return AvailableUpgradeView(
        version=one.version.number,
        from_marketplace=one.from_marketplace,
        asks=[permission(each) for each in one.asks],
    )


def _functions(manifest: Manifest, exports: tuple[str, ...]) -> list[FunctionView]:
    found = []
    for name in manifest.callable_functions(exports):
        spec = manifest.functions.get(name)
        found.append(
            FunctionView(
                name=name,
                description=spec.description if spec else "",
                effect=spec.effect if spec else Effect.WRITE,
                input=spec.input if spec else None,
                output=spec.output if spec else None,
            )
        )
    return found


def health(one: Health) -> HealthView:
    """A judgement of health."""
    return HealthView(status=one.status, score=one.score, checked_at=one.checked_at)


def plugin_summary(view: PluginView, stands: Trust) -> PluginSummary:
    """A plugin for a list."""
    return PluginSummary(**_summary(view, stands))


def _summary(view: PluginView, stands: Trust) -> dict[str, Any]:
    plugin, manifest = view.plugin, view.version.manifest
    return {
        **trust.fields_of(stands),
        "id": plugin.id,
        "name": plugin.name,
        "version": view.version.number,
        "status": plugin.state,
        "runtime": manifest.runtime,
        "description": manifest.description,
        "author": manifest.author,
        "category": manifest.category,
        "health": health(plugin.health),
        "waiting_version": plugin.waiting.version if plugin.waiting and not plugin.waiting.declined else None,
        "created_at": plugin.created_at,
        "updated_at": plugin.updated_at,
    }


def _detail(view: PluginView, standing: Standing, stands: Trust) -> dict[str, Any]:
    plugin, version, manifest = view.plugin, view.version, view.version.manifest
    return {
        **_summary(view, stands),
        "keywords": manifest.keywords,
        "entry": manifest.entry,
        "digest": f"sha256:{version.digest}",
        "functions": _functions(manifest, version.exports),
        "endpoints": [EndpointView(method=o.method, path=o.path, handler=o.handler) for o in manifest.endpoints],
        "permissions": [permission(one) for one in manifest.permissions],
        "grants": [permission(one) for one in plugin.grants],
        "asks": [ask(one) for one in standing.asks],
        "waiting": _waiting(standing.waiting),
        "available": _available(standing.available),
        "limits": limits(manifest.limits),
        "isolation": manifest.isolation,
        "modules": manifest.modules,
        "configuration": masked(with_defaults(manifest.configuration, plugin.configuration), plugin.secrets),
        "configuration_schema": manifest.configuration,
        "listing_id": plugin.origin_listing_id,
        "signature": trust.signature(stands),
        "suspended_because": plugin.suspended_because,
        "installed_at": plugin.installed_at,
        "activated_at": plugin.activated_at,
        "allowed": allowed(plugin.state),
    }


def plugin_detail(view: PluginView, standing: Standing, stands: Trust) -> PluginDetail:
    """A plugin with everything."""
    return PluginDetail(**_detail(view, standing, stands))


def plugin_with_dependencies(
    view: PluginView, standing: Standing, stands: Trust, resolved: Sequence[ResolvedDependency]
) -> PluginWithDependencies:
    """A plugin with everything, and its dependencies."""
    found = [
        DependencyView(name=one.name, range=one.range, version=one.resolved_version, plugin_id=one.resolved_plugin_id)
        for one in resolved
    ]
    return PluginWithDependencies(**_detail(view, standing, stands), dependencies=found)


def finding(one: Finding) -> FindingView:
    """A finding of the gate."""
    return FindingView(
        rule=one.rule,
        severity=one.severity,
        consequence=one.consequence,
        where=one.where,
        line=one.line,
        what=one.what,
        why=one.why,
        mend=one.mend,
    )


def report(one: Report, version: str) -> ReportView:
    """The gate's report on a version."""
    return ReportView(**report_fields(one, version))


def report_fields(one: Report, version: str) -> dict[str, Any]:
    """What every view of a report has."""
    return {
        "version": version,
        "digest": f"sha256:{one.digest}",
        "format": one.format,
        "packed_bytes": one.packed_bytes,
        "unpacked_bytes": one.unpacked_bytes,
        "entries": one.entries,
        "took_ms": round(one.took_ms, 3),
        "findings": [finding(each) for each in one.findings],
        "libraries": len(one.components),
        "behaviour": behaviour(one.behaviour),
    }


def version_standing(one: VersionStanding | None) -> StandingView | None:
    """The operator's word on a version, without who gave it."""
    if one is None:
        return None
    return StandingView(state=one.state, since=one.since, decided_at=one.decided_at, reason=one.reason)


def version(
    one: PluginVersion, stood_behind: Trust, stands: VersionStanding | None = None, later: Rescan | None = None
) -> VersionView:
    """A version for a list, with who stands behind it, and the operator's word on it where there is one."""
    return VersionView(
        **trust.fields_of(stood_behind),
        signature=trust.signature(stood_behind),
        version=one.number,
        digest=f"sha256:{one.digest}",
        packed_bytes=one.report.packed_bytes,
        runtime=one.manifest.runtime,
        functions=one.functions,
        permissions=[permission(each) for each in one.manifest.permissions],
        created_at=one.created_at,
        standing=version_standing(stands),
        later_findings=len(later.findings) if later is not None else 0,
    )


def log_line(one: StoredLogLine) -> LogView:
    """One line of a log."""
    line = one.line
    return LogView(
        id=one.id,
        execution_id=one.execution_id,
        at=line.at,
        level=line.level,
        message=line.message,
        fields=line.fields,
    )


def metrics(found: Metrics, judged: Health) -> MetricsView:
    """Aggregates. Cancelled executions say nothing of the plugin, so the error rate leaves them out."""
    counted = {status: count for status, count in found.by_status.items() if status is not ExecutionStatus.CANCELLED}
    ended = sum(counted.values())
    succeeded = counted.get(ExecutionStatus.SUCCEEDED, 0)
    wall = {key: found.wall_ms.get(key) for key in ("mean", "p50", "p95", "p99", "max")}
    return MetricsView(
        since=found.since,
        until=found.until,
        executions=sum(found.by_status.values()),
        by_status={status.value: count for status, count in found.by_status.items()},
        error_rate=round(1 - succeeded / ended, 4) if ended else None,
        wall_ms=WallView(**wall),
        cpu_ms_total=found.cpu_ms_total,
        cpu_ms_mean=found.cpu_ms_mean,
        peak_memory_bytes_max=found.peak_memory_bytes_max,
        by_function=found.by_function,
        starts=found.starts,
        health=health(judged),
    )


def listing(one: Listing, asked: Sequence[Ask], stands: Trust) -> ListingView:
    """A listing, with how its requests stand for whoever looks."""
    manifest, words = one.manifest, one.manifest.document.get("metadata", {})
    return ListingView(
        **trust.fields_of(stands),
        signature=trust.signature(stands),
        id=one.id,
        name=one.name,
        version=one.version,
        digest=f"sha256:{one.digest}",
        runtime=manifest.runtime,
        description=manifest.description,
        author=manifest.author,
        category=manifest.category,
        keywords=manifest.keywords,
        license=words.get("license"),
        homepage=words.get("homepage"),
        functions=_functions(manifest, one.exports),
        permissions=[permission(each) for each in manifest.permissions],
        asks=[ask(each) for each in asked],
        packed_bytes=one.packed_bytes,
        published_at=one.published_at,
        withdrawn_at=one.withdrawn_at,
        installations=one.installations,
        rating=one.rating,
        ratings=one.rating_count,
        health_score=one.health_score,
        score=round(one.score, 4),
    )


def category(one: Category) -> CategoryView:
    """A category."""
    return CategoryView(name=one.name, count=one.count)


def rating(one: Rating, tenant_id: str | None) -> RatingView:
    """A rating. Who else gave it stays with the platform."""
    return RatingView(
        stars=one.stars,
        review=one.review,
        mine=one.tenant_id == tenant_id,
        created_at=one.created_at,
        updated_at=one.updated_at,
    )


def _key(one: ApiKey) -> dict[str, Any]:
    return {
        "id": one.id,
        "name": one.name,
        "role": one.role,
        "scopes": [
            ScopeView(
                actions=[Action(word) for word in sorted(each.actions)],
                plugin=each.plugin,
                functions=sorted(each.functions),
            )
            for each in one.scopes
        ],
        "succeeds": one.succeeds,
        "created_at": one.created_at,
        "expires_at": one.expires_at,
        "revoked_at": one.revoked_at,
        "last_used_at": one.last_used_at,
    }


def key(one: ApiKey) -> KeyView:
    """A key without its secret."""
    return KeyView(**_key(one))


def new_key(one: ApiKey, secret: str) -> NewKeyView:
    """A key with its secret, this once."""
    return NewKeyView(**_key(one), secret=secret)


def tenant(one: Tenant, defaults: Quotas) -> TenantView:
    """A tenant; ``defaults`` are the quotas that hold where an operator decided nothing."""
    return TenantView(**_tenant(one, defaults))


def own_tenant(one: Tenant, defaults: Quotas, used: Mapping[Quota, Used]) -> OwnTenantView:
    """A tenant with what it uses."""
    quotas = {QUOTA_FIELDS[quota]: UsedView(limit=each.limit, used=each.used) for quota, each in used.items()}
    return OwnTenantView(**_tenant(one, defaults), quotas=UsageOfQuotasView(**quotas))


def _tenant(one: Tenant, defaults: Quotas) -> dict[str, Any]:
    quotas = defaults.with_overrides(one.bounds.quotas)
    return {
        "id": one.id,
        "slug": one.slug,
        "name": one.name,
        "created_at": one.created_at,
        "policy": PolicyView(
            auto_grant=sorted(one.policy.auto_grant),
            require_signature=one.policy.demands.signature,
            require_verified_publisher=one.policy.demands.verified_publisher,
        ),
        "modules_denied": one.modules_denied,
        "bounds": BoundsView(
            ceilings=limits(one.bounds.ceilings),
            grantable=sorted(one.bounds.grantable),
            auto_grantable=sorted(one.bounds.auto_grantable),
            quotas=QuotasView(**{field: getattr(quotas, field) for field in QUOTA_FIELDS.values()}),
        ),
        "state": one.state,
        "suspended_because": one.suspended_because,
        "suspended_at": one.suspended_at,
    }


def audit_entry(one: AuditEntry) -> AuditView:
    """An entry of the trail."""
    return AuditView(
        id=one.id,
        at=one.at,
        actor=one.actor,
        action=one.action,
        target=one.target,
        detail=dict(one.detail),
        request_id=one.request_id,
        sequence=one.sequence,
        hash=one.hash,
    )
