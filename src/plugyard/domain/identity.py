"""Tenants, roles and callers: who may do what."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from plugyard.domain.permissions import Service
from plugyard.domain.scopes import Scope
from plugyard.domain.signatures import Demands, SignatureDemand
from plugyard.domain.tenants import TenantBounds, TenantState


class Role(StrEnum):
    """The four roles. Each may do all that the ones before it may; the operator's reach crosses tenants."""

    VIEWER = "viewer"
    DEVELOPER = "developer"
    ADMIN = "admin"
    OPERATOR = "operator"


class Action(StrEnum):
    """What a caller may be allowed to do."""

    READ = "read"
    UPLOAD = "upload"
    EXECUTE = "execute"
    ACTIVATE = "activate"
    INSTALL = "install"
    CONFIGURE = "configure"
    PUBLISH = "publish"
    RATE = "rate"
    MANAGE_KEYS = "manage_keys"
    MANAGE_QUEUE = "manage_queue"
    MANAGE_TENANTS = "manage_tenants"
    MANAGE_SECRETS = "manage_secrets"
    REVIEW = "review"
    MANAGE_OPERATORS = "manage_operators"


LOWEST_ROLE: dict[Action, Role] = {
    Action.READ: Role.VIEWER,
    Action.UPLOAD: Role.DEVELOPER,
    Action.EXECUTE: Role.DEVELOPER,
    Action.ACTIVATE: Role.DEVELOPER,
    Action.INSTALL: Role.ADMIN,
    Action.CONFIGURE: Role.ADMIN,
    Action.PUBLISH: Role.ADMIN,
    Action.RATE: Role.ADMIN,
    Action.MANAGE_KEYS: Role.ADMIN,
    Action.MANAGE_QUEUE: Role.ADMIN,
    Action.MANAGE_TENANTS: Role.OPERATOR,
    Action.MANAGE_SECRETS: Role.OPERATOR,
    Action.REVIEW: Role.OPERATOR,
    Action.MANAGE_OPERATORS: Role.OPERATOR,
}
_ORDER = list(Role)


def allows(role: Role, action: Action) -> bool:
    """Whether a role may do an action, by the one table above."""
    return _ORDER.index(role) >= _ORDER.index(LOWEST_ROLE[action])


@dataclass(frozen=True, slots=True)
class TenantPolicy:
    """What a tenant decides for all of its plugins."""

    auto_grant: frozenset[Service] = frozenset({Service.CACHE})
    demands: Demands = field(default_factory=Demands)

    @classmethod
    def from_document(cls, document: dict[str, Any]) -> "TenantPolicy":
        """Read the stored form; what is absent has its default."""
        policy = cls(
            demands=Demands(
                SignatureDemand(document.get("requireSignature", SignatureDemand.NONE)),
                document.get("requireVerifiedPublisher", False),
            )
        )
        if "autoGrant" in document:
            return replace(policy, auto_grant=frozenset(Service(word) for word in document["autoGrant"]))
        return policy

    def to_document(self) -> dict[str, Any]:
        """The stored form."""
        return {
            "autoGrant": sorted(service.value for service in self.auto_grant),
            "requireSignature": self.demands.signature.value,
            "requireVerifiedPublisher": self.demands.verified_publisher,
        }


@dataclass(frozen=True, slots=True)
class Tenant:
    """A customer of the platform.

    ``policy`` is what its admins decide. What an operator decides are ``bounds``, ``modules_denied`` (to all of its
    plugins), and how it stands.
    """

    id: str
    slug: str
    name: str
    created_at: datetime
    policy: TenantPolicy = field(default_factory=TenantPolicy)
    modules_denied: tuple[str, ...] = ()
    bounds: TenantBounds = field(default_factory=TenantBounds)
    state: TenantState = TenantState.ACTIVE
    suspended_because: str | None = None
    suspended_at: datetime | None = None

    @property
    def auto_granted(self) -> frozenset[Service]:
        """What its plugins get without an admin's consent: what its policy says, as far as the operator allows it."""
        return self.policy.auto_grant & self.bounds.auto_grantable & self.bounds.grantable


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is stored: without the secret, which was shown once."""

    id: str
    tenant_id: str | None
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    scopes: tuple[Scope, ...] = ()
    succeeds: str | None = None  # the key whose place this one takes

    def usable_at(self, moment: datetime) -> bool:
        """Whether the key may still be used."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks. ``tenant_id`` is ``None`` only for an operator who has named no tenant."""

    actor: str
    role: Role
    tenant_id: str | None
    request_id: str = ""
    scopes: tuple[Scope, ...] = ()
