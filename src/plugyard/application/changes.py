"""What another replica changed: this one reads it anew, and ends what may no longer run.

``bootstrap`` hands here what the store tells of. Copies age out within a second in any case, so that a change which
nobody told of is seen then.
"""

from dataclasses import dataclass
from enum import StrEnum

from plugyard.application.install import forget_cached
from plugyard.application.keys import forget_keys
from plugyard.application.platform import Platform
from plugyard.application.tenants import cancel_running, forget_tenant, halt
from plugyard.application.webhooks import forget_webhooks
from plugyard.domain.tenants import TenantState


class Changed(StrEnum):
    """What a change is of."""

    PLUGIN = "plugin"
    TENANT = "tenant"
    KEY = "key"
    WEBHOOK = "webhook"
    HALTED = "halted"  # a tenant, of which what runs at this moment is to end


@dataclass(frozen=True, slots=True)
class Change:
    """A change by another replica; ``id`` is a plugin's, a webhook's, or a tenant's new state. Empty for others."""

    of: Changed
    tenant_id: str = ""
    id: str = ""


async def heard(platform: Platform, change: Change) -> None:
    """Forget what was read before the change."""
    if change.of is Changed.PLUGIN:
        forget_cached(platform, change.id)
        # An environment is of one version and one grant; what executes in it ends there, and the next gets another.
        await platform.executor.forget(change.id)
    elif change.of is Changed.TENANT:
        platform.halted.pop(change.tenant_id, None)
        forget_tenant(platform, change.tenant_id)
        if change.id in (TenantState.DELETING, TenantState.DELETED):
            cancel_running(platform, change.tenant_id)
    elif change.of is Changed.HALTED:
        # What is on its way from the look at its plugin is refused, and what executes ends.
        halt(platform, change.tenant_id, "")
        cancel_running(platform, change.tenant_id)
    elif change.of is Changed.WEBHOOK:
        forget_webhooks(platform)
    else:
        forget_keys(platform)


def missed(platform: Platform) -> None:
    """Forget everything: something may have changed while nobody listened."""
    platform.halted.clear()
    platform.copies.forget()
