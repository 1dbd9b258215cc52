"""Plain values for the suites: tenants, plugins, executions that are like real ones and differ where they must."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import uuid_utils

from plugyard.application.ports import AuditEntry, Store, StoredLogLine
from plugyard.domain.behaviour import Behaviour, HostTried, RehearsedExample, ServiceUse
from plugyard.domain.events import Event, EventType
from plugyard.domain.execution import Execution, ExecutionFailure, ExecutionStatus, LogLine, Usage
from plugyard.domain.identity import ApiKey, Role, Tenant
from plugyard.domain.manifest import Manifest
from plugyard.domain.marketplace import Listing, Rating
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion, PluginView
from plugyard.domain.report import Finding, Report, Severity
from plugyard.domain.signatures import PublisherKey, key_id_of
from plugyard.domain.standing import Standing, StandingState
from plugyard.domain.webhooks import Scheme, Webhook

NOW = datetime.now(UTC).replace(microsecond=123456)


def new_id() -> str:
    """A UUID version 7."""
    return str(uuid_utils.uuid7())


def ago(**how_long: float) -> datetime:
    """A time before the tests began."""
    return NOW - timedelta(**how_long)


async def a_tenant(store: Store) -> Tenant:
    """A tenant that is stored."""
    identity = new_id()
    tenant = Tenant(identity, f"tenant-{identity}", "A tenant", NOW)
    async with store.for_operator() as tx:
        await tx.add_tenant(tenant)
    return tenant


def a_manifest(name: str = "notes", version: str = "1.0.0", **metadata: Any) -> Manifest:
    """A manifest with most of what one may hold."""
    document = {
        "metadata": {
            "name": name,
            "version": version,
            "description": "Keeps notes, sorted by Müller's rule",
            "author": "Ada",
            "category": "utility",
            "keywords": ["memo", "text"],
            **metadata,
        },
        "runtime": "python",
        "dependencies": {"platform": ">=1.0.0", "plugins": {"dates": "^2.1.0"}},
        "security": {
            "permissions": ["cache", {"service": "network", "hosts": ["api.example.com"], "reason": "asks"}],
            "resourceLimits": {"memory": 64, "timeout": 1000},
        },
        "functions": {"run": {"description": "Runs", "input": {"type": "object"}, "effect": "read"}},
    }
    return Manifest.from_document(document, entry="main.py")


def a_version(tenant_id: str, plugin_id: str, manifest: Manifest | None = None, **changes: Any) -> PluginVersion:
    """A version with a report that has a finding."""
    identity = new_id()
    finding = Finding("manifest.author", Severity.WARNING, "plugin.json#/metadata", "what", "why", "mend", 7)
    request = ServiceUse("http", "request", "GET https://a.example/", host=HostTried("a.example", 443, "https"))
    rehearsed = RehearsedExample("run", 0, "succeeded", permissions=("network",), uses=(request,))
    version = PluginVersion(
        id=identity,
        tenant_id=tenant_id,
        plugin_id=plugin_id,
        manifest=manifest or a_manifest(),
        digest=f"sha256:{identity}",
        report=Report(
            (finding,), f"sha256:{identity}", "zip", 1000, 5000, 3, 1.5, behaviour=Behaviour((rehearsed,), ("network",))
        ),
        exports=("run", "stop"),
        created_at=NOW,
    )
    return replace(version, **changes)


def a_plugin(tenant_id: str, name: str = "notes", **changes: Any) -> tuple[Plugin, PluginVersion]:
    """A plugin with its first version, neither stored."""
    plugin_id = new_id()
    manifest = changes.pop("manifest", None) or a_manifest(name)
    version = a_version(tenant_id, plugin_id, manifest)
    plugin = Plugin(
        id=plugin_id,
        tenant_id=tenant_id,
        name=name,
        state=PluginState.VALIDATED,
        version_id=version.id,
        created_at=NOW,
        updated_at=NOW,
    )
    return replace(plugin, **changes), version


async def a_stored_plugin(store: Store, tenant_id: str, name: str = "notes", **changes: Any) -> Plugin:
    """A plugin that is stored."""
    plugin, version = a_plugin(tenant_id, name, **changes)
    async with store.for_tenant(tenant_id) as tx:
        await tx.add_plugin(plugin, version)
    return plugin


def an_execution(plugin: Plugin, **changes: Any) -> Execution:
    """A successful execution."""
    execution = Execution(
        id=new_id(),
        tenant_id=plugin.tenant_id,
        plugin_id=plugin.id,
        version="1.0.0",
        function="run",
        status=ExecutionStatus.SUCCEEDED,
        started_at=NOW,
        ended_at=NOW + timedelta(milliseconds=3),
        usage=Usage(3.25, 1.5, 6_291_456, 2, "warm"),
        error=None,
        actor="key:1",
        request_id="request-1",
        input_bytes=17,
        output_bytes=42,
    )
    return replace(execution, **changes)


def a_failure() -> ExecutionFailure:
    """A failure with everything that one may tell."""
    return ExecutionFailure("timed_out", "It took too long.", "main.py:3", 1000, 1001)


def a_log_line(execution: Execution, message: str = "hello", level: str = "info", **changes: Any) -> StoredLogLine:
    """A log line of an execution."""
    return StoredLogLine(new_id(), execution.id, LogLine(changes.pop("at", NOW), level, message, {"n": 1, **changes}))


def an_event(plugin: Plugin, kind: EventType = EventType.PLUGIN_UPLOADED) -> Event:
    """An event of a plugin."""
    return Event(new_id(), kind, plugin.tenant_id, plugin.id, NOW, {"version": "1.0.0"})


def an_entry(tenant_id: str | None, **changes: Any) -> AuditEntry:
    """An entry of the trail."""
    entry = AuditEntry(new_id(), tenant_id, NOW, "key:1", "plugin.upload", "plugin:1", {"name": "notes"}, "request-1")
    return replace(entry, **changes)


def a_key(tenant_id: str | None, **changes: Any) -> ApiKey:
    """A key."""
    return replace(ApiKey(new_id(), tenant_id, "for tests", Role.DEVELOPER, NOW), **changes)


def a_listing(plugin: Plugin, version: PluginVersion, **changes: Any) -> Listing:
    """A listing of a version."""
    listing = Listing(
        id=new_id(),
        tenant_id=plugin.tenant_id,
        plugin_id=plugin.id,
        version_id=version.id,
        name=plugin.name,
        version=version.number,
        digest=version.digest,
        manifest=version.manifest,
        exports=version.exports,
        packed_bytes=1000,
        published_at=NOW,
    )
    return replace(listing, **changes)


async def a_stored_listing(store: Store, name: str | None = None, **changes: Any) -> Listing:
    """A listing by a tenant of its own."""
    tenant = await a_tenant(store)
    identity = name or f"listed-{new_id()}"
    manifest = changes.pop("manifest", None) or a_manifest(identity)
    plugin, version = a_plugin(tenant.id, identity, manifest=manifest)
    listing = a_listing(plugin, version, **changes)
    async with store.for_tenant(tenant.id) as tx:
        await tx.add_plugin(plugin, version)
        await tx.save_listing(listing)
    return listing


def a_rating(tenant_id: str, listing_id: str, stars: int, **changes: Any) -> Rating:
    """A rating with a review."""
    return replace(Rating(tenant_id, listing_id, stars, "It works.", NOW, NOW), **changes)


def a_publisher_key(tenant_id: str, **changes: Any) -> PublisherKey:
    """A publisher's key, as it was registered."""
    public = secrets.token_bytes(32)
    return replace(PublisherKey(key_id_of(public), tenant_id, "release machine", public, NOW), **changes)


def a_webhook(plugin: Plugin, **changes: Any) -> Webhook:
    """A webhook of a plugin, as it was made."""
    made = Webhook(
        new_id(), plugin.tenant_id, plugin.id, "shop", "/orders", Scheme.PLUGYARD, NOW, {"current": "s" * 16}
    )
    return replace(made, **changes)


def a_standing(view: PluginView, state: StandingState = StandingState.QUARANTINED, **changes: Any) -> Standing:
    """Where the version of a plugin stands."""
    version = view.version
    standing = Standing(
        version.id, version.tenant_id, view.plugin.id, view.plugin.name, version.number, version.digest, state, NOW
    )
    return replace(standing, **changes)
