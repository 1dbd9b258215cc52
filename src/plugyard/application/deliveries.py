"""What comes to a webhook: known by its address, proven by its signature, taken once. ``http/hooks.py`` calls it."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from plugyard.application.endpoints import Answered, EndpointRequest, execute_endpoint
from plugyard.application.executable import executable_of
from plugyard.application.later import now_or_later
from plugyard.application.platform import Platform
from plugyard.application.webhooks import METHOD, token_hash
from plugyard.domain.endpoints import (
    Allowed,
    AnswerInvalid,
    EndpointFailed,
    EndpointNotFound,
    EndpointTimedOut,
    Match,
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
    until = now + timedelta(seconds=platform.policies.key_cache_s)
    found: Webhook | None = await platform.copies.get(name, now, until, partial(_read_webhook, platform, name[1]))
    return found


async def _read_webhook(platform: Platform, hashed: bytes) -> Webhook | None:
    found = await platform.store.webhook_by_hash(hashed)
    return None if found is None or found.revoked_at is not None else found


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
        taken = await tx.claim_delivery(webhook.id, delivery, platform.clock(), known_since)
    if not taken and not await _taken_over(platform, webhook, delivery):
        raise DeliveryRepeated()
    settle = partial(_settle, platform, webhook, delivery)
    release = partial(_release, platform, webhook, delivery)
    try:
        answered = await _answer(platform, caller, webhook, found, request)
    except (EndpointFailed, AnswerInvalid, Unrecorded):
        # It was executed.
        platform.in_background(now_or_later(platform, settle))
        raise
    except PlugyardError:
        await now_or_later(platform, release)
        raise
    except BaseException:
        # Cut off, or a fault of ours: nobody can say whether it was executed, and twice is better than never.
        platform.in_background(now_or_later(platform, release))
        raise
    # Nobody waits for the note: it matters only where this process dies.
    platform.in_background(now_or_later(platform, settle))
    return answered


async def _release(platform: Platform, webhook: Webhook, delivery: bytes) -> None:
    async with platform.store.for_tenant(webhook.tenant_id) as tx:
        await tx.release_delivery(webhook.id, delivery)


async def _settle(platform: Platform, webhook: Webhook, delivery: bytes) -> None:
    async with platform.store.for_tenant(webhook.tenant_id) as tx:
        await tx.settle_delivery(webhook.id, delivery)


async def _taken_over(platform: Platform, webhook: Webhook, delivery: bytes) -> bool:
    """Whether the replica that took the delivery died with it, as is seen twice; then it is carried out here."""
    async with platform.store.for_tenant(webhook.tenant_id) as tx:
        if not await tx.delivery_abandoned(webhook.id, delivery):
            return False
    await asyncio.sleep(platform.policies.taken_over_after_s)
    async with platform.store.for_tenant(webhook.tenant_id) as tx:
        return await tx.take_over_delivery(webhook.id, delivery)


async def _answer(
    platform: Platform, caller: Caller, webhook: Webhook, found: Match, request: EndpointRequest
) -> Answered:
    """What the endpoint answers; of a failure of the plugin its sender hears no more than that."""
    try:
        return await execute_endpoint(platform, caller, webhook.plugin_id, found, request)
    except EndpointFailed as error:
        kind = EndpointTimedOut if isinstance(error, EndpointTimedOut) else EndpointFailed
        raise kind("The plugin did not answer.", error.execution_id, error.status) from error
    except AnswerInvalid as error:
        told = AnswerInvalid()
        told.execution_id = error.execution_id
        raise told from error
