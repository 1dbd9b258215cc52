"""What an operator decides for a tenant, and how a tenant stands: bounds, quotas, and the life of a customer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Service

EVERY_SERVICE = frozenset(Service)


class TenantState(StrEnum):
    """How a tenant stands. ``deleted`` is what is left of one: an id that the trail can name, and nothing else."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    DELETED = "deleted"


class Quota(StrEnum):
    """What a tenant may have so much of, by the names that the API uses. Storage is in bytes."""

    PLUGINS = "plugins"
    STORAGE = "storageBytes"
    PER_MINUTE = "executionsPerMinute"
    PER_DAY = "executionsPerDay"
    CONCURRENT = "concurrentExecutions"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a tenant may have; ``None`` is no quota. Plugins that were uninstalled count no more."""

    plugins: int | None = None
    storage_bytes: int | None = None
    executions_per_minute: int | None = None
    executions_per_day: int | None = None
    concurrent_executions: int | None = None

    def with_overrides(self, overrides: Mapping[Quota, int | None]) -> "Quotas":
        """These, with what was decided for one tenant in their place."""
        if not overrides:
            return self
        values = {QUOTA_FIELDS[quota]: value for quota, value in overrides.items()}
        return Quotas(**{**{name: getattr(self, name) for name in QUOTA_FIELDS.values()}, **values})

    @property
    def of_executions(self) -> bool:
        """Whether there is a quota that executions use up."""
        counted = self.executions_per_minute, self.executions_per_day, self.concurrent_executions
        return any(one is not None for one in counted)

    def size(self, quota: Quota) -> int | None:
        """How much there may be of one thing."""
        value: int | None = getattr(self, QUOTA_FIELDS[quota])
        return value


QUOTA_FIELDS = {
    Quota.PLUGINS: "plugins",
    Quota.STORAGE: "storage_bytes",
    Quota.PER_MINUTE: "executions_per_minute",
    Quota.PER_DAY: "executions_per_day",
    Quota.CONCURRENT: "concurrent_executions",
}


@dataclass(frozen=True, slots=True)
class TenantBounds:
    """What an operator decides for one tenant, and its admins cannot change.

    ``ceilings`` are in the units of manifests. ``grantable`` are the services that a plugin of the tenant may have at
    all, ``auto_grantable`` those that its policy may grant without an admin's consent. ``quotas`` hold what differs
    from the platform's defaults: a number, or ``None`` for no quota.
    """

    ceilings: RequestedLimits = field(default_factory=RequestedLimits)
    grantable: frozenset[Service] = EVERY_SERVICE
    auto_grantable: frozenset[Service] = EVERY_SERVICE
    quotas: Mapping[Quota, int | None] = field(default_factory=dict)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "TenantBounds":
        """Read the stored form; what is absent has its default."""
        return cls(
            RequestedLimits.from_document(document.get("ceilings", {})),
            _services(document.get("grantable")),
            _services(document.get("autoGrantable")),
            {Quota(name): value for name, value in document.get("quotas", {}).items()},
        )

    def to_document(self) -> dict[str, Any]:
        """The stored form. Where every service is meant, later ones are meant as well, so none is named."""
        document: dict[str, Any] = {
            "ceilings": self.ceilings.to_document(),
            "quotas": {quota.value: value for quota, value in self.quotas.items()},
        }
        for name, services in (("grantable", self.grantable), ("autoGrantable", self.auto_grantable)):
            if services != EVERY_SERVICE:
                document[name] = sorted(service.value for service in services)
        return document


def _services(words: Any) -> frozenset[Service]:
    return EVERY_SERVICE if words is None else frozenset(Service(word) for word in words)
