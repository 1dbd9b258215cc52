"""What comes to a webhook: known by its address, proven by its signature, taken once. ``http/hooks.py`` calls it."""

from collections.abc import Mapping
from datetime import timedelta

from plugyard.application.endpoints import Answered, EndpointRequest, execute_endpoint
from plugyard.application.execute import executable_of
from plugyard.application.platform import Platform
from plugyard.application.webhooks import METHOD, token_hash
from plugyard.domain.endpoints import (
    Allowed,
    AnswerInvalid,
    EndpointFailed,
    EndpointNotFound,
    EndpointTimedOut,
    find,
)
from plugyard.domain.errors import PlugyardError, Unrecorded
from plugyard.domain.identity import Caller, Role
from plugyard.domain.plugin import Transition
from plugyard.domain.webhooks import DeliveryRepeated, Webhook, delivery_of

_LONGEST_TOKEN = 100


async def webhook_at(platform: Platform, token: str) -> Webhook | None:
    """The webhook of that address, at most a moment old; none where it was revoked."""
    if not token.isascii() or len(token) > _LONGEST_TOKEN:
        return None
    now, name = platform.clock(), ("webhook", token_hash(platform, token))
    held = platform.cached.get(name)
    if held is not None and now < held[0]:
        return held[1]  # type: ignore[no-any-return]
    found = await platform.store.webhook_by_hash(name[1])
    if found is None or found.revoked_at is not None:
        platform.cached.pop(name, None)
        return None
    platform.cached[name] = (now + timedelta(seconds=platform.policies.key_cache_s), found)
    return found


def caller_of(webhook: Webhook, request_id: str) -> Caller:
    """Who a delivery comes from, as executions and the trail have it: somebody who may execute, and no more."""
    return Caller(f"webhook:{webhook.id}", Role.DEVELOPER, webhook.tenant_id, request_id)


def prove(platform: Platform, webhook: Webhook, headers: Mapping[str, str], body: bytes) -> bytes:
    """The delivery's name. Raises ``DeliveryRefused``, ``SecretsLocked``."""
    window = timedelta(seconds=platform.policies.webhook_window_s)
    return delivery_of(webhook, headers, body, platform.clock(), window)


async def deliver(
    platform: Platform, caller: Caller, webhook: Webhook, delivery: bytes, request: EndpointRequest
) -> Answered:
    """Execute the endpoint's handler for a delivery that was proven and was not taken before.

    Raises ``DeliveryRepeated``, and what ``call_endpoint`` does; what the plugin says of its own failure stays with
    the tenant. A delivery for which nothing was executed may come again.
    """
    executable = await executable_of(platform, webhook.tenant_id, webhook.plugin_id)
    executable.plugin.check(Transition.EXECUTE)
    found = find(executable.version.manifest.endpoints, METHOD, request.path)
    if isinstance(found, Allowed):
        raise EndpointNotFound()
    # What is signed may be as far ahead as behind, so a delivery could come again for twice the window.
    known_since = platform.clock() - 2 * timedelta(seconds=platform.policies.webhook_window_s)
    async with platform.store.for_tenant(webhook.tenant_id) as tx:
        if not await tx.claim_delivery(webhook.id, delivery, platform.clock(), known_since):
            raise DeliveryRepeated()
    try:
        return await execute_endpoint(platform, caller, webhook.plugin_id, found, request)
    except EndpointFailed as error:
        kind = EndpointTimedOut if isinstance(error, EndpointTimedOut) else EndpointFailed
        raise kind("The plugin did not answer.", error.execution_id, error.status) from error
    except AnswerInvalid as error:
        told = AnswerInvalid()
        told.execution_id = error.execution_id
        raise told from error
    except Unrecorded:
        # It was executed.
        raise
    except PlugyardError:
        async with platform.store.for_tenant(webhook.tenant_id) as tx:
            await tx.release_delivery(webhook.id, delivery)
        raise
