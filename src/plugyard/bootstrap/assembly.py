"""Puts the store, the use cases, the plugins' services and the HTTP application together.

``service.py`` imports it while PostgreSQL and the zygotes start: most of a start's time is the loading of libraries.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any

import structlog
import uuid_utils

from plugyard import __version__
from plugyard.application.changes import heard, missed
from plugyard.application.denials import write_denials
from plugyard.application.endpointcache import EndpointCache
from plugyard.application.erase import finish_deletions
from plugyard.application.housekeeping import drop_data, sweep_orphans
from plugyard.application.observe import check_all_health
from plugyard.application.platform import Platform
from plugyard.application.publish import Published, publish
from plugyard.application.rescan import rescan_next
from plugyard.application.secrets import seal_what_is_plain
from plugyard.application.tenants import ensure_key, ensure_tenant
from plugyard.application.uses import write_uses
from plugyard.bootstrap.figures import show_figures, show_requests
from plugyard.bootstrap.identity import token_verifier
from plugyard.bootstrap.keys import CannotStart, Keys
from plugyard.bootstrap.limits import policies, rate_limits
from plugyard.bootstrap.objects import object_store
from plugyard.bootstrap.relaying import start_inbox, start_relay
from plugyard.bootstrap.sharing import Shared, shared_parts
from plugyard.bootstrap.tracing import tracing_of
from plugyard.domain.errors import PlugyardError
from plugyard.domain.identity import Role
from plugyard.gate.jailed import JailedInspector
from plugyard.http.app import Application, create_app
from plugyard.http.atonce import AtOnce
from plugyard.http.server import LINGERS_S, Server
from plugyard.infrastructure.postgres.changes import ChangeFeed
from plugyard.infrastructure.postgres.migrations import migrate
from plugyard.infrastructure.postgres.plugin_databases import PostgresPluginDatabases
from plugyard.infrastructure.postgres.recorder import PostgresRecorder
from plugyard.infrastructure.postgres.seals import BadSecretKey, Seals
from plugyard.infrastructure.postgres.store import PostgresStore
from plugyard.infrastructure.postgres.urls import Urls
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.services.base import Scope, Service
from plugyard.sandbox.services.database import DatabaseLimits, DatabaseService
from plugyard.sandbox.services.database_connections import Connections
from plugyard.sandbox.services.events import EventsService
from plugyard.sandbox.services.files import FilesService
from plugyard.sandbox.services.later import Later
from plugyard.sandbox.services.registry import Services
from plugyard.sandbox.services.webhooks import EgressWebhooks
from plugyard.settings import MEGABYTE, Settings

log = structlog.get_logger("plugyard")
EVENTS_KEPT = timedelta(days=7)
UPLOADS_SHARE = 0.25
"""How much of the uploads at a time one tenant may have: each holds a file, and its turn at the gate."""


@dataclass(frozen=True)
class Processes:
    """What runs beside this process and is up already."""

    sandbox: Sandbox
    services: Services
    inspector: JailedInspector
    urls: Urls


@dataclass(frozen=True)
class Assembled:
    """The parts that the service goes on using."""

    platform: Platform
    store: PostgresStore
    app: Application
    server: Server
    egress: Later
    shared: Shared
    changes: ChangeFeed

    def cut_executions(self) -> None:
        """End what still executes; each is recorded as cancelled."""
        for execution_id in list(self.platform.running):
            self.platform.executor.cancel(execution_id)

    async def write_uses(self) -> None:
        """Write down which rights were used since the last time."""
        await write_uses(self.platform)

    async def rescan_next(self) -> bool:
        """Check the next stored version again; whether there was one."""
        return await rescan_next(self.platform) is not None

    async def judge_health(self, since: datetime) -> None:
        """Judge the health of every plugin that ran since then."""
        await check_all_health(self.platform, ran_since=since)


async def assemble(
    settings: Settings,
    keys: Keys,
    processes: Processes,
    ready: Callable[[PostgresStore], Awaitable[Mapping[str, Any]]],
    parts: AsyncExitStack,
    *,
    worker: bool = False,
) -> Assembled:
    """Open the store and build everything on it; ``parts`` learns how to close what was opened.

    A ``worker`` answers probes alone, and relays nothing; what the platform says is read where there are workers.
    """
    pepper = bytes.fromhex(keys.pepper)
    objects = object_store(settings, pepper)
    parts.push_async_callback(objects.close)
    await objects.start()
    urls, replica = processes.urls, uuid_utils.uuid7().hex
    if urls.owner_url is not None:
        await migrate(urls.owner_url, urls.service_role)
    try:
        seals = Seals(keys.secrets)
    except BadSecretKey as error:
        raise CannotStart(f"--secret-keys: {error}") from error
    store = PostgresStore(urls.service_url, seals, replica=replica)
    recorder = PostgresRecorder(urls.service_url)
    await store.open()
    parts.push_async_callback(store.close)
    await recorder.open()
    parts.push_async_callback(recorder.close)
    await store.ensure_partitions()
    telemetry = Telemetry(processes.sandbox.environments)
    show_figures(telemetry, settings, processes.sandbox, processes.inspector)
    objects.show(telemetry)
    databases = PostgresPluginDatabases(processes.urls.keeper_url, pepper)
    shared = await shared_parts(settings, telemetry, parts)
    egress = Later(frozenset({"request"}), partial(_make_egress, settings))
    platform = Platform(
        store,
        objects.objects,
        recorder,
        processes.inspector,
        processes.sandbox,
        databases,
        lambda: datetime.now(UTC),
        lambda: str(uuid_utils.uuid7()),
        pepper,
        policies(settings),
        telemetry.execution,
        on_tenant_gone=shared.forget_tenant,
        places=shared.places,
        tokens=token_verifier(settings, telemetry),
        webhooks=EgressWebhooks(egress),
        endpoint_cache=EndpointCache(settings.endpoint_cache_mb * MEGABYTE),
        tracing=await tracing_of(settings, telemetry, parts),
    )
    parts.push_async_callback(_write_last_uses, platform)
    parts.push_async_callback(platform.settle)

    relay = None if worker else start_relay(settings, processes.urls.service_url, telemetry)
    if relay is not None:
        parts.push_async_callback(relay.close)
    inbox = start_inbox(settings, platform, telemetry)
    if inbox is not None:
        parts.push_async_callback(inbox.close)

    async def all_ready() -> dict[str, Any]:
        kafka = {name: one.state for name, one in (("relay", relay), ("inbox", inbox)) if one is not None}
        return {**await ready(store), **await objects.parts(), **shared.parts(), **kafka}

    offer_services(processes.services, platform, databases, (egress, shared.cache), settings)
    await _make_keys_known(platform, keys, settings.tenant)
    at_once = AtOnce(settings.requests_at_once, settings.tenant_share)
    show_requests(telemetry, at_once)
    app = create_app(
        platform,
        telemetry=telemetry,
        ready=all_ready,
        upload_folder=settings.data / "uploads",
        max_upload_bytes=settings.max_package_mb * MEGABYTE,
        version=__version__,
        limits=rate_limits(settings, shared.rates),
        at_once=at_once,
        uploads_at_once=AtOnce(settings.uploads_at_once, UPLOADS_SHARE, "uploads"),
        api=not worker,
    )
    changes = ChangeFeed(urls.service_url, replica, partial(heard, platform), partial(missed, platform))
    return Assembled(platform, store, app, Server(app, lingers_s=0.0 if worker else LINGERS_S), egress, shared, changes)


async def _write_last_uses(platform: Platform) -> None:
    await write_denials(platform, all_of_them=True)
    with contextlib.suppress(PlugyardError):
        await write_uses(platform)


async def tidy(assembled: Assembled, settings: Settings) -> None:
    """Drop what has served its time, and make the partitions of the days to come; once.

    What needs the service's own database alone comes first: nothing that a tenant left, and no bucket, holds it up.
    """
    kept = timedelta(days=settings.retention_days)
    await assembled.store.ensure_partitions()
    await assembled.store.clean_up(kept, kept)
    if settings.kafka_url is None and not settings.relay_elsewhere:
        # Nobody will ever carry them on; who wants to look at them has a week, as with those that were relayed.
        await assembled.store.forget_events(datetime.now(UTC) - EVENTS_KEPT)
    gone = await finish_deletions(assembled.platform)
    await seal_what_is_plain(assembled.platform)
    swept = await sweep_orphans(assembled.platform)
    dropped = await drop_data(assembled.platform, timedelta(days=settings.plugin_data_retention_days))
    log.debug("tidied", orphans=swept, uninstalled=dropped, tenants=gone)


async def _make_keys_known(platform: Platform, keys: Keys, slug: str) -> None:
    tenant = await ensure_tenant(platform, slug, slug.capitalize())
    name = "the service's own admin key"
    await ensure_key(platform, keys.admin, name=name, role=Role.ADMIN, tenant_id=tenant.id)
    await ensure_key(platform, keys.operator, name="operator key", role=Role.OPERATOR, tenant_id=None)


def offer_services(
    services: Services,
    platform: Platform,
    databases: PostgresPluginDatabases,
    made: tuple[Later, Service],
    settings: Settings,
) -> None:
    """What plugins may call of this server; ``made`` are services that others hold on to as well."""
    egress, cache = made
    limits = DatabaseLimits(statement_ms=settings.plugin_statement_ms)
    session = limits.session_settings()
    connections = Connections(
        databases.provide,
        lambda tenant_id, plugin_id: databases.address(tenant_id, plugin_id, session),
        at_most=settings.plugin_connections,
        per_tenant=settings.plugin_connections_per_tenant,
    )

    async def write(scope: Scope, topic: str, payload: Any, hops: int) -> None:
        said = Published(topic, payload, hops)
        await publish(platform, scope.tenant_id, scope.plugin_id, scope.execution_id, said)

    services.offer("database", DatabaseService(connections, limits))
    services.offer("cache", cache)
    services.offer("events", EventsService(write))
    services.offer("http", egress)
    services.offer("files", FilesService(platform.objects, plugin_bytes=settings.files_mb_per_plugin * MEGABYTE))


def _make_egress(settings: Settings) -> Service:
    from plugyard.sandbox.services.http import EgressSettings, HttpEgress

    return HttpEgress(EgressSettings(allowed=tuple(map(ip_network, settings.network_allowed))))
