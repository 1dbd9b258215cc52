"""The rows of the store in memory. A transaction works on a copy, so that an error leaves nothing behind."""

from dataclasses import dataclass, field
from datetime import datetime

from plugyard.application.ports import AuditEntry, ResolvedDependency, StoredLogLine, StoredReply, UsedBy
from plugyard.domain.events import Event
from plugyard.domain.execution import Execution
from plugyard.domain.identity import ApiKey, Tenant
from plugyard.domain.marketplace import Listing, Rating
from plugyard.domain.plugin import Plugin, PluginVersion
from plugyard.domain.queue import Delivery, QueuedExecution
from plugyard.domain.schedule import Schedule
from plugyard.domain.signatures import Origin, Publisher, PublisherKey
from plugyard.domain.standing import Rescan, Standing
from plugyard.domain.webhooks import Webhook


@dataclass
class Tables:
    """Every row there is, by its key. The values are frozen, so copying the containers copies the state."""

    tenants: dict[str, Tenant] = field(default_factory=dict)
    keys: dict[str, ApiKey] = field(default_factory=dict)
    key_hashes: dict[bytes, str] = field(default_factory=dict)
    plugins: dict[str, Plugin] = field(default_factory=dict)
    versions: dict[str, PluginVersion] = field(default_factory=dict)
    dependencies: dict[str, tuple[ResolvedDependency, ...]] = field(default_factory=dict)
    executions: dict[str, Execution] = field(default_factory=dict)
    logs: dict[str, StoredLogLine] = field(default_factory=dict)
    listings: dict[str, Listing] = field(default_factory=dict)
    ratings: dict[tuple[str, str], Rating] = field(default_factory=dict)  # listing, tenant
    replies: dict[tuple[str, str, str], StoredReply] = field(default_factory=dict)  # tenant, plugin, key
    used_rights: dict[UsedBy, datetime] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)
    rescans: dict[str, Rescan] = field(default_factory=dict)
    publishers: dict[str, Publisher] = field(default_factory=dict)  # by tenant
    publisher_keys: dict[tuple[str, str], PublisherKey] = field(default_factory=dict)  # tenant, key
    origins: dict[str, Origin] = field(default_factory=dict)  # by version
    webhooks: dict[str, Webhook] = field(default_factory=dict)
    webhook_hashes: dict[bytes, str] = field(default_factory=dict)
    deliveries: dict[tuple[str, bytes], datetime] = field(default_factory=dict)  # webhook, what was signed
    rescan_demands: list[datetime] = field(default_factory=list)
    queued: dict[str, QueuedExecution] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)  # of queued executions, see the rule in the database
    schedules: dict[tuple[str, int], Schedule] = field(default_factory=dict)  # plugin, number
    never_due: set[tuple[str, int]] = field(default_factory=set)
    completions: dict[str, Delivery] = field(default_factory=dict)  # by execution
    webhooks_due: dict[str, datetime] = field(default_factory=dict)
    published: set[str] = field(default_factory=set)  # events that were delivered
    abandoned: set[str | bytes] = field(default_factory=set)  # executions and deliveries whose replica died
    lost_runs: set[str] = field(default_factory=set)  # queued executions whose worker died
    audit: list[AuditEntry] = field(default_factory=list)
    outbox: list[Event] = field(default_factory=list)
    policy_changed: dict[str, datetime] = field(default_factory=dict)

    def copy(self) -> "Tables":
        """The same rows in containers of their own."""
        return Tables(**{name: value.copy() for name, value in vars(self).items()})
