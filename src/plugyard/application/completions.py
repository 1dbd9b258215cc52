"""Tells whoever asked that a queued execution has ended: signed, behind the plugin's own fences, and again by a rule.

``enqueue`` checks an address when it is named; a worker has ``deliver`` call it. That somebody is to be told is written
with the end itself, so it is not forgotten, and may be told twice where a worker dies between the answer and its note.
"""

import hashlib
import hmac
import json

from plugyard.application.executable import Executable, executable_of
from plugyard.application.platform import Platform, require, tenant_of
from plugyard.domain.errors import FieldError, InvalidInput, NotOffered, PlugyardError
from plugyard.domain.identity import Action, Caller
from plugyard.domain.queue import WEBHOOK_RETRIES, Delivery
from plugyard.domain.webhooks import PREFIX, sign


def check_webhook(platform: Platform, executable: Executable, url: str) -> None:
    """Raise ``InvalidInput`` unless the plugin itself could send a POST there."""
    if platform.webhooks is None:
        raise NotOffered("This service calls nobody back; ask for the execution instead.")
    refusal = platform.webhooks.refusal(executable.grants, url)
    if refusal is not None:
        raise InvalidInput("The webhook cannot be called.", [FieldError("/webhook", refusal)])


def secret(platform: Platform, caller: Caller) -> str:
    """The secret by which a tenant's webhooks are signed, for its admins. It comes of the service's pepper."""
    require(caller, Action.MANAGE_KEYS)
    return _secret(platform, tenant_of(caller))


def _secret(platform: Platform, tenant_id: str) -> str:
    return PREFIX + hmac.new(platform.pepper, b"webhook " + tenant_id.encode(), hashlib.sha256).hexdigest()


async def deliver(platform: Platform, delivery: Delivery) -> str | None:
    """Tell of an end once; ``None`` where somebody heard it, else why not. It is tried again by the rule."""
    now = platform.clock()
    why = await _told(platform, delivery)
    async with platform.store.for_tenant(delivery.tenant_id) as tx:
        pause = None if why is None else WEBHOOK_RETRIES.delay(delivery.tries, platform.chance())
        if pause is None:
            await tx.webhook_told(delivery.execution_id)
        else:
            await tx.webhook_later(delivery.execution_id, now + pause)
    return why


async def _told(platform: Platform, delivery: Delivery) -> str | None:
    async with platform.store.for_tenant(delivery.tenant_id) as tx:
        ended = await tx.execution(delivery.execution_id)
    if ended is None or platform.webhooks is None:
        return None
    try:
        executable = await executable_of(platform, delivery.tenant_id, delivery.plugin_id)
    except PlugyardError as error:
        return error.message
    document = {
        "type": "execution.ended",
        "executionId": ended.id,
        "pluginId": ended.plugin_id,
        "version": ended.version,
        "function": ended.function,
        "status": ended.status.value,
        "error": None if ended.error is None else {"code": ended.error.code, "message": ended.error.message},
        "attempts": len(ended.attempts),
        "queuedAt": ended.queued_at.isoformat() if ended.queued_at is not None else None,
        "endedAt": ended.ended_at.isoformat() if ended.ended_at is not None else None,
    }
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "content-type": "application/json",
        "plugyard-delivery": delivery.execution_id,
        "plugyard-signature": sign(_secret(platform, delivery.tenant_id), platform.clock(), body.encode()),
    }
    return await platform.webhooks.send(delivery, executable.grants, headers, body)
