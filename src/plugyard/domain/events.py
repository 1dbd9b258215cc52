"""The events of the service. Each is written to the outbox with the row that it tells of, in one transaction."""

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

MAX_PAYLOAD_BYTES = 64 * 1024
"""Most that plugins are told by one event, as JSON (bytes), whoever says it."""
MAX_TOPIC = 120
TOPIC = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*")
"""The topic of `sdk/manifest.schema.json`, without the star that stands for many."""


class EventType(StrEnum):
    """Every event there is, by its CloudEvents ``type``."""

    PLUGIN_UPLOADED = "plugin.uploaded"
    PLUGIN_VALIDATED = "plugin.validated"
    PLUGIN_REJECTED = "plugin.rejected"
    PLUGIN_QUARANTINED = "plugin.quarantined"
    VERSION_QUARANTINED = "version.quarantined"
    VERSION_RELEASED = "version.released"
    VERSION_REFUSED = "version.refused"
    VERSION_RESCANNED = "version.rescanned"
    PLUGIN_INSTALLED = "plugin.installed"
    PLUGIN_ACTIVATED = "plugin.activated"
    PLUGIN_DEACTIVATED = "plugin.deactivated"
    PLUGIN_UNINSTALLED = "plugin.uninstalled"
    PLUGIN_CONFIGURED = "plugin.configured"
    PLUGIN_UPGRADED = "plugin.upgraded"
    PLUGIN_ROLLED_BACK = "plugin.rolled_back"
    PLUGIN_UPGRADE_WAITING = "plugin.upgrade_waiting"
    PLUGIN_UPGRADE_DECLINED = "plugin.upgrade_declined"
    PLUGIN_RIGHTS_DROPPED = "plugin.rights_dropped"
    PLUGIN_PUBLISHED = "plugin.published"
    PLUGIN_WITHDRAWN = "plugin.withdrawn"
    PLUGIN_RATED = "plugin.rated"
    PLUGIN_EVENT_PUBLISHED = "plugin.event_published"
    PLUGIN_HEALTH_CHECKED = "plugin.health_checked"
    PLUGIN_ERROR_THRESHOLD_EXCEEDED = "plugin.error_threshold_exceeded"
    EXECUTION_STARTED = "execution.started"
    EXECUTION_COMPLETED = "execution.completed"
    EXECUTION_FAILED = "execution.failed"
    SECURITY_VIOLATED = "security.violated"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a plugin of a tenant, with the facts that a listener needs."""

    id: str
    type: EventType
    tenant_id: str
    plugin_id: str
    occurred_at: datetime
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlatformEvent:
    """Something that happened in the platform which this service extends, to one of its tenants.

    ``source`` and ``id`` together are its name: what comes with both again is the same event (CloudEvents 1.0).
    """

    id: str
    source: str
    topic: str
    tenant_id: str
    occurred_at: datetime
    payload: dict[str, Any]
