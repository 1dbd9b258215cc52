"""The events of the service. Each is written to the outbox with the row that it tells of, in one transaction."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


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
