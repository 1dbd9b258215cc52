"""Keys, tenants and the audit trail in answers."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from plugyard.domain.identity import Action, Role
from plugyard.domain.permissions import Service
from plugyard.domain.signatures import SignatureDemand
from plugyard.domain.tenants import TenantState
from plugyard.http.view import View
from plugyard.http.views.shared import LimitsView


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
    require_signature: SignatureDemand
    require_verified_publisher: bool


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


class PublisherKeyView(View, frozen=True):
    """A public key that signs packages; what it signed from `invalidFrom` on counts no more."""

    id: str
    name: str
    public_key: str
    created_at: datetime
    revoked_at: datetime | None
    invalid_from: datetime | None
    revoked_because: str | None


class PublisherView(View, frozen=True):
    """The name that a tenant publishes by, and since when an operator vouches for it."""

    tenant_id: str
    name: str
    verified: bool
    verified_at: datetime | None


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


class WebhookSecretView(View, frozen=True):
    """By what webhooks are signed; whoever knows it can make them."""

    secret: str
