"""What is durable: the store and its transactions, the recorder of executions, plugins' databases, objects."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

from plugyard.application.ports.lists import (
    AuditEntry,
    AuditFilter,
    AuditLine,
    ExecutionFilter,
    Holdings,
    ListingFilter,
    LogFilter,
    LogStep,
    Metrics,
    Page,
    PageRequest,
    PluginFilter,
    Reply,
    ResolvedDependency,
    StandingFilter,
    StoredLogLine,
    StoredReply,
    ToRescan,
    UsedBy,
)
from plugyard.domain.analytics import Analytics, Window
from plugyard.domain.events import Event
from plugyard.domain.execution import (
    Execution,
    ExecutionStatus,
)
from plugyard.domain.identity import ApiKey, Tenant, TenantPolicy
from plugyard.domain.marketplace import Category, Listing, Rating
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import Plugin, PluginVersion, PluginView
from plugyard.domain.queue import Delivery, QueuedExecution, QueueEnd, QueueState
from plugyard.domain.rights import Right
from plugyard.domain.schedule import Schedule
from plugyard.domain.secrets import Resealed
from plugyard.domain.signatures import Origin, Publisher, PublisherKey, Trust
from plugyard.domain.standing import Affected, Rescan, Standing
from plugyard.domain.tenants import TenantBounds, TenantState
from plugyard.domain.trail import Head
from plugyard.domain.webhooks import Webhook


class Trail(Protocol):
    """The audit trail that a transaction adds to and reads: its tenant's chain, or the operator's, the platform's.

    An entry of another chain may be added where the transaction reaches it, and is then read there.
    """

    async def audit(self, entry: AuditEntry) -> None: ...
    async def list_audit(self, filters: AuditFilter, page: PageRequest) -> Page[AuditEntry]: ...  # newest first
    async def audit_head(self) -> Head: ...
    async def audit_lines(self, after: int, limit: int) -> Sequence[AuditLine]: ...  # in the chain's order
    async def unchained_audit(self, limit: int) -> Sequence[AuditLine]: ...  # entries that are in no chain


class KeyRows(Trail, Protocol):
    """The API keys that a transaction reaches: its tenant's, or those of operators, which belong to no tenant."""

    async def add_key(self, key: ApiKey, secret_hash: bytes) -> None: ...  # Conflict where a key has this hash
    async def key(self, key_id: str) -> ApiKey | None: ...
    async def successor_of(self, key_id: str) -> ApiKey | None: ...  # the key that took its place
    async def save_key(self, key: ApiKey) -> None: ...
    async def list_keys(self, page: PageRequest) -> Page[ApiKey]: ...  # newest first


class Transaction(KeyRows, Protocol):
    """One transaction, bound to one tenant (or to the operator's reach): committed when its block ends without error.

    Ids that are no UUIDs are simply not found. Rows of other tenants are not found either. An uninstalled plugin is
    found by its id and in lists that ask for that status, and nowhere else.
    """

    # plugins and their versions
    async def add_plugin(self, plugin: Plugin, version: PluginVersion) -> None: ...  # NameTaken
    async def add_plugins(self, added: Sequence[tuple[Plugin, PluginVersion]]) -> None: ...  # NameTaken for any of them
    async def save_plugin(self, plugin: Plugin) -> None: ...
    async def plugin(self, plugin_id: str, *, lock: bool = False) -> PluginView | None: ...
    async def plugin_named(self, name: str, *, lock: bool = False) -> PluginView | None: ...
    async def list_plugins(self, filters: PluginFilter, page: PageRequest) -> Page[PluginView]: ...
    async def installed_plugins(self) -> Sequence[PluginView]: ...  # installed, active, inactive or suspended
    async def add_version(self, version: PluginVersion) -> None: ...  # VersionExists
    async def version(self, version_id: str) -> PluginVersion | None: ...
    async def version_numbered(self, plugin_id: str, number: str) -> PluginVersion | None: ...
    async def versions(self, plugin_id: str, page: PageRequest) -> Page[PluginVersion]: ...  # highest first
    async def save_dependencies(self, version_id: str, resolved: Sequence[ResolvedDependency]) -> None: ...
    async def dependencies(self, version_id: str) -> Sequence[ResolvedDependency]: ...

    async def used_rights(self, plugin_ids: Sequence[str]) -> Mapping[str, Mapping[Right, datetime]]: ...

    # used_rights: when each plugin last used what, by plugin id; plugins that used nothing are left out

    # executions, logs, metrics
    async def execution(self, execution_id: str) -> Execution | None: ...
    async def list_executions(self, plugin_id: str, filters: ExecutionFilter, page: PageRequest) -> Page[Execution]: ...
    async def list_logs(self, plugin_id: str, filters: LogFilter, page: PageRequest) -> Page[StoredLogLine]: ...
    async def logs_after(self, plugin_id: str, filters: LogFilter, after_id: str | None) -> LogStep: ...
    # logs_after: at most 200 lines with ids greater than after_id, of so many that are looked at; with None the newest
    # line, if it is among the latest, and behind which of all lines to go on
    async def metrics(self, plugin_id: str, since: datetime, until: datetime) -> Metrics: ...
    async def analytics(self, window: Window, top: int) -> Analytics: ...  # of all plugins of the tenant
    async def outcomes(self, plugin_id: str, since: datetime) -> Mapping[ExecutionStatus, int]: ...

    # the quarantine, and later checks
    async def save_standing(self, standing: Standing) -> None: ...  # insert or update
    async def standings(self, version_ids: Sequence[str]) -> Mapping[str, Standing]: ...  # of those that have one
    async def save_rescan(self, rescan: Rescan) -> None: ...  # insert or update; one for each version
    async def rescans(self, version_ids: Sequence[str]) -> Mapping[str, Rescan]: ...

    # publishers, their keys, and who stands behind a version
    async def add_publisher_key(self, key: PublisherKey) -> None: ...  # Conflict where it was registered before
    async def publisher_key(self, key_id: str, *, lock: bool = False) -> PublisherKey | None: ...  # the tenant's own
    async def save_publisher_key(self, key: PublisherKey) -> None: ...
    async def publisher_keys(self, page: PageRequest) -> Page[PublisherKey]: ...  # the tenant's own, newest first
    async def publisher(self, tenant_id: str) -> Publisher | None: ...  # of any tenant
    async def names_near(self, name: str) -> Mapping[str, str | None]: ...
    # names_near: of other tenants' listings, those that may be alike, each with its publisher's name
    async def publishers_read_as(self, name: str) -> Sequence[Publisher]: ...  # other tenants', verified ones
    async def save_origin(self, origin: Origin) -> None: ...  # insert or update
    async def origins(self, version_ids: Sequence[str]) -> Mapping[str, Origin]: ...  # of those that have one
    async def trust(self, version_ids: Sequence[str]) -> Mapping[str, Trust]: ...
    async def trust_of_listings(self, listing_ids: Sequence[str]) -> Mapping[str, Trust]: ...

    # executions that wait their turn
    async def enqueue(self, entry: QueuedExecution) -> int | None: ...
    # enqueue: how many of the tenant's own waited before; None where the plugin has one of that word already
    async def queued(self, execution_id: str) -> QueuedExecution | None: ...  # without its input
    async def queued_whole(self, execution_id: str) -> QueuedExecution | None: ...  # with its input and output
    async def list_queued(
        self, plugin_id: str, state: QueueState, filters: ExecutionFilter, page: PageRequest
    ) -> Page[
        QueuedExecution
    ]: ...  # newest first; QUEUED are all that have not begun; the filter's status is not asked
    async def ask_to_cancel(self, execution_id: str) -> None: ...  # whoever runs it ends it
    async def dead_letters(self, plugin_id: str | None, page: PageRequest) -> Page[QueuedExecution]: ...
    # dead_letters: the latest first
    async def webhook_told(self, execution_id: str) -> None: ...  # nobody is to be told any more
    async def webhook_later(self, execution_id: str, due_at: datetime) -> None: ...
    async def drop_dead(self, execution_id: str) -> bool: ...  # whether it was there, and dead
    # webhooks, and what they took
    async def add_webhook(self, webhook: Webhook, token_hash: bytes) -> None: ...
    async def webhook(self, webhook_id: str, *, lock: bool = False) -> Webhook | None: ...
    async def save_webhook(self, webhook: Webhook) -> None: ...  # its secrets, and that it was revoked, which stays
    async def webhooks(self, plugin_id: str | None, page: PageRequest) -> Page[Webhook]: ...  # None: all; newest first
    async def count_webhooks(self, plugin_id: str) -> int: ...  # those that are not revoked
    async def claim_delivery(self, webhook_id: str, signed: bytes, at: datetime, known_since: datetime) -> bool: ...
    # claim_delivery: whether it was not known; older ones are forgotten, and the webhook was used
    async def delivery_abandoned(self, webhook_id: str, signed: bytes) -> bool: ...
    # delivery_abandoned: whether who claimed it is gone and never settled it
    async def take_over_delivery(self, webhook_id: str, signed: bytes) -> bool: ...
    # take_over_delivery: the same, and then it is this one's
    async def settle_delivery(self, webhook_id: str, signed: bytes) -> None: ...  # nobody takes it over any more
    async def release_delivery(self, webhook_id: str, signed: bytes) -> None: ...

    # marketplace
    async def save_listing(self, listing: Listing) -> None: ...  # insert or update; NameTaken when another tenant's
    async def listing(self, listing_id: str, *, withdrawn: bool = False) -> Listing | None: ...
    async def listing_of(self, plugin_id: str) -> Listing | None: ...  # the tenant's own, withdrawn ones too
    async def listing_named(self, name: str) -> Listing | None: ...  # published ones only
    async def search_listings(self, filters: ListingFilter, page: PageRequest) -> Page[Listing]: ...
    async def featured(self, limit: int) -> Sequence[Listing]: ...  # by score, highest first
    async def categories(self) -> Sequence[Category]: ...  # by count, then name
    async def count_installation(self, listing_id: str) -> None: ...
    async def hold_listing(self, listing_id: str, *, alone: bool = False) -> None: ...
    # hold_listing: until the end of the transaction; many may take a listing over while nobody holds it alone
    async def rate(self, rating: Rating) -> None: ...  # insert or replace the tenant's one rating; sums follow
    async def own_ratings(self, page: PageRequest) -> Page[Rating]: ...  # that the tenant gave, newest first
    async def ratings(self, listing_id: str, page: PageRequest) -> Page[Rating]: ...  # newest first

    # keys, tenants, events
    async def tenant(self, tenant_id: str) -> Tenant | None: ...
    async def holdings(self, *, beside: str = "", lock: bool = False) -> Holdings: ...
    # holdings: without the bytes of the package of digest ``beside``; with lock, nobody else adds until this ends
    async def count_executions(self, since: datetime, before: datetime) -> int: ...  # of all plugins of the tenant
    async def emit(self, event: Event) -> None: ...

    # idempotency
    async def claim_key(self, plugin_id: str, key: str, reply: StoredReply) -> StoredReply | None: ...
    # claim_key: None when the key was free (or older than a day) and is now held; else what is there
    async def settle_key(
        self, plugin_id: str, key: str, execution_id: str, response: Mapping[str, Any] | None
    ) -> None: ...

    # settle_key: keep the response, or with None give a key free that has none; not where another execution holds it


class OperatorTransaction(KeyRows, Protocol):
    """One transaction across tenants, for the operator's own resources."""

    async def add_tenant(self, tenant: Tenant) -> None: ...  # NameTaken
    async def tenant(self, tenant_id: str) -> Tenant | None: ...
    async def tenant_by_slug(self, slug: str) -> Tenant | None: ...
    async def list_tenants(self, page: PageRequest) -> Page[Tenant]: ...
    async def save_policy(self, tenant_id: str, policy: TenantPolicy, at: datetime) -> None: ...
    async def deny_modules(self, tenant_id: str, names: Sequence[str], at: datetime) -> None: ...  # NotFound
    async def save_bounds(self, tenant_id: str, bounds: TenantBounds, at: datetime) -> None: ...  # NotFound
    async def save_state(self, tenant_id: str, state: TenantState, reason: str | None, at: datetime) -> None: ...
    # save_state: NotFound; a tenant that is not active is hidden from the others' marketplace
    async def tell_of_halt(self, tenant_id: str) -> None: ...  # the other replicas: end what runs of this tenant
    async def tenants_being_deleted(self) -> Sequence[str]: ...
    async def plugins_of(self, tenant_id: str) -> list[str]: ...  # their ids, of uninstalled ones too
    async def digests_of(self, tenant_id: str) -> list[str]: ...  # of all packages that its versions name
    async def erase(self, tenant_id: str, at_most: int) -> int: ...
    # erase: takes rows of a tenant that is being deleted, so many of each kind; how many went, 0 when none are left
    async def bury(self, tenant_id: str, at: datetime) -> None: ...  # leaves its id, for the trail; it is found no more
    async def tenant_locked(self, tenant_id: str) -> Tenant | None: ...  # nobody else changes it until this ends
    async def plugins_to_check(self, ran_since: datetime, limit: int) -> Sequence[tuple[str, str]]: ...
    # plugins_to_check: (tenant id, plugin id) of active plugins with executions since then, the longest unchecked first
    async def due_schedules(self, now: datetime, limit: int) -> Sequence[Schedule]: ...
    # due_schedules: of active plugins, those due or never looked at; nobody else has them until this ends
    async def save_next_due(self, schedule: Schedule, next_due: datetime | None) -> None: ...  # None: never
    async def enqueue(self, entry: QueuedExecution) -> int | None: ...  # as a tenant's transaction does
    async def waiting_events(self, tenants: int, of_each: int) -> Sequence[Event]: ...
    # waiting_events: plugins' own, not yet delivered, in order; the oldest so many of each of so many tenants, which
    # chance chooses where more have some, so that every tenant has its turn
    async def mark_delivered(self, event_ids: Sequence[str], at: datetime) -> None: ...
    async def uninstalled(self, plugin_ids: Sequence[str], before: datetime) -> frozenset[str]: ...
    # uninstalled: those of the plugins that were uninstalled before then
    async def publisher(self, tenant_id: str) -> Publisher | None: ...
    async def save_publisher(self, publisher: Publisher) -> None: ...  # NameTaken by another that is verified
    async def standing(self, version_id: str) -> Standing | None: ...
    async def list_standings(self, filters: StandingFilter, page: PageRequest) -> Page[Standing]: ...  # oldest first
    async def versions_to_rescan(self, rules_version: str, limit: int) -> Sequence[ToRescan]: ...
    # versions_to_rescan: those in use or on offer that these rules, or a demand, have not seen; the newest first
    async def count_to_rescan(self, rules_version: str) -> int: ...
    async def holders(self, digest: str) -> Sequence[tuple[str, str, str]]: ...  # tenant, plugin, version
    async def affected(self, page: PageRequest) -> Page[Affected]: ...  # versions in which something was found later
    async def demand_rescan(self, demand_id: str, at: datetime) -> None: ...
    async def known_digests(self, digests: Sequence[str]) -> frozenset[str]: ...  # those that any version names
    async def secret_keys(self) -> Mapping[str, int]: ...  # plugins by the key that seals them, the first key first
    async def plain_secrets(self) -> bool: ...  # whether any are stored that no key seals
    async def reseal_secrets(self, after: str | None, limit: int) -> Resealed: ...  # with the first key


class Store(Protocol):
    """Where everything durable but the packages lives. Connection trouble raises ``StoreUnavailable``."""

    def for_tenant(self, tenant_id: str) -> AbstractAsyncContextManager[Transaction]: ...
    def for_operator(self) -> AbstractAsyncContextManager[OperatorTransaction]: ...
    async def key_by_hash(self, secret_hash: bytes) -> ApiKey | None: ...
    async def webhook_by_hash(self, token_hash: bytes) -> Webhook | None: ...  # of any tenant, revoked ones too
    async def touch_keys(self, used: Mapping[str, datetime]) -> None: ...  # last use, by key id
    async def touch_rights(self, used: Mapping[UsedBy, datetime]) -> None: ...
    # touch_rights: last use; a later moment that is noted already stays, and a plugin has MOST_NAMES of a service
    async def ping(self) -> None: ...


class ExecutionRecorder(Protocol):
    """Makes execution records durable; many share one commit. Returns when they are on disk.

    With ``end``, it ends a run of a queued execution too. What ends as QUEUED has no record yet: it is tried again.
    Where somebody else has taken the execution since, nothing of it is written. With ``reply``, the execution's answer
    is kept under the idempotency key that it holds.
    """

    async def record(
        self,
        execution: Execution,
        logs: Sequence[StoredLogLine],
        events: Sequence[Event],
        audit: Sequence[AuditEntry],
        end: QueueEnd | None = None,
        reply: Reply | None = None,
    ) -> None: ...


class Queue(Protocol):
    """Where workers take what is next; what each has taken is its own until it ends, or dies. ``StoreUnavailable``."""

    async def take(self, at_most: int) -> Sequence[QueuedExecution]: ...
    async def take_webhooks(self, at_most: int, of_one: int, under_way: Mapping[str, int]) -> Sequence[Delivery]: ...

    # take_webhooks: each for two minutes; of one tenant so many, with those that are under way


class Webhooks(Protocol):
    """Requests to addresses that callers name, behind the fences of plugins' own requests."""

    def refusal(self, grants: Sequence[Permission], url: str) -> str | None: ...  # why it may not be called
    async def send(
        self, delivery: Delivery, grants: Sequence[Permission], headers: Mapping[str, str], body: str
    ) -> str | None: ...  # why nobody was told, or None where somebody said that all is well


class PluginDatabases(Protocol):
    """Where plugins keep their tables: for each plugin of a tenant a place that no other can reach.

    Raises ``StoreUnavailable``.
    """

    async def provide(self, tenant_id: str, plugin_id: str) -> None: ...  # what is there stays as it is
    async def drop(self, tenant_id: str, plugin_id: str) -> None: ...  # nothing there is no error
    async def held(self) -> Sequence[tuple[str, str]]: ...  # tenant and plugin of every place there is


UrlMethod = Literal["GET", "PUT"]


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A way to one object for whoever holds it, so it is shown to nobody else. A request must carry ``headers``."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)


class Objects(Protocol):
    """Packages and prepared bundles, named by what they hold, and plugins' files.

    Writes are atomic and durable when they return. Raises ``StoreUnavailable``.
    """

    async def put_file(self, key: str, path: Path) -> bool: ...  # whether it was new
    async def put(self, key: str, data: bytes) -> bool: ...
    async def replace(self, key: str, data: bytes) -> None: ...  # whatever was there before
    async def get(self, key: str) -> bytes: ...  # NotFound
    def pieces(self, key: str) -> AsyncIterator[bytes]: ...  # the same, never whole in memory; NotFound
    async def delete(self, key: str) -> None: ...  # nothing there is no error
    def list(self, prefix: str) -> AsyncIterator[tuple[str, datetime]]: ...  # key, last change
    def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]: ...  # key, bytes
    async def copy(self, source: str, target: str) -> None: ...  # takes the place of what was there; NotFound
    async def move(self, source: str, target: str) -> None: ...  # the same, and the source is gone; NotFound
    async def signed_url(self, key: str, method: UrlMethod, expires: timedelta) -> SignedUrl | None: ...  # None: no way


class TokenVerifier(Protocol):
    """Checks the signature of an identity provider's token. Raises ``Unauthenticated``, ``IdentityUnavailable``."""

    async def claims(self, token: str) -> Mapping[str, Any]: ...
