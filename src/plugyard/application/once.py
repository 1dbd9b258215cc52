"""What is claimed before it is carried out, so that it happens once: requests under a key.

A replica that dies leaves its claim; whoever finds it abandoned, and a while later still, takes it over.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from plugyard.application.executable import NO_LIMITS, Call, Executed
from plugyard.application.later import now_or_later
from plugyard.application.platform import Platform
from plugyard.application.ports import StoredReply
from plugyard.domain.errors import FieldError, IdempotencyConflict, IdempotencyMismatch
from plugyard.domain.plugin import Plugin

_encode = msgspec.json.Encoder().encode


def request_hash(call: Call, *others: Any) -> str:
    """What tells a request from another under the same idempotency key."""
    request = [call.function, call.timeout_ms, *([call.limits.to_document()] if call.limits != NO_LIMITS else [])]
    return hashlib.sha256(_encode([*request, *others]) + call.input).hexdigest()


async def run_once(
    platform: Platform, plugin: Plugin, key: str, asked: str, run: Callable[[str], Awaitable[Executed]]
) -> Executed:
    """Run what was asked, as an execution of the id that ``run`` is given: a repeat within a day gets the first answer.

    Raises ``IdempotencyConflict`` while the first is under way, ``IdempotencyMismatch`` where ``asked`` is something
    else than then, and what ``run`` does. ``run`` keeps the answer under the key, with its record.
    """
    tenant_id, plugin_id = plugin.tenant_id, plugin.id
    claim = StoredReply(asked, platform.ids(), None, platform.clock())
    before = await _claim(platform, tenant_id, plugin_id, key, claim)
    if before is not None:
        replayed = await _replay(platform, tenant_id, before, asked)
        if replayed is not None:
            return replayed
        # The first request died with its process and left no record: this one takes its place.
        async with platform.store.for_tenant(tenant_id) as tx:
            await tx.settle_key(plugin_id, key, before.execution_id, None)
            there = await tx.claim_key(plugin_id, key, claim)
        if there is not None:
            # Another repeat was quicker to take it.
            raise IdempotencyConflict()
    try:
        return await run(claim.execution_id)
    except BaseException:
        # Nothing was recorded, so a repeat may try again; where a record is there all the same, its answer stays.
        await now_or_later(platform, partial(_free, platform, tenant_id, plugin_id, key, claim.execution_id))
        raise


async def _free(platform: Platform, tenant_id: str, plugin_id: str, key: str, execution_id: str) -> None:
    async with platform.store.for_tenant(tenant_id) as tx:
        await tx.settle_key(plugin_id, key, execution_id, None)


async def _claim(
    platform: Platform, tenant_id: str, plugin_id: str, key: str, claim: StoredReply
) -> StoredReply | None:
    """Hold the key, or what is there; of a request that seems abandoned the second look is told, a while later."""
    async with platform.store.for_tenant(tenant_id) as tx:
        before = await tx.claim_key(plugin_id, key, claim)
    if before is None or not before.abandoned or before.request_hash != claim.request_hash:
        return before
    await asyncio.sleep(platform.policies.taken_over_after_s)
    async with platform.store.for_tenant(tenant_id) as tx:
        return await tx.claim_key(plugin_id, key, claim)


async def _replay(platform: Platform, tenant_id: str, before: StoredReply, asked: str) -> Executed | None:
    """The first answer again; ``None`` where the first request can no longer end and left no record."""
    if before.request_hash != asked:
        raise IdempotencyMismatch(
            "This idempotency key was used with another request within the last day.",
            [FieldError("header/Idempotency-Key", "use a new key for a new request")],
        )
    longest = timedelta(milliseconds=platform.policies.limits.max_timeout_ms) + timedelta(minutes=1)
    if before.response is None and not before.abandoned and platform.clock() - before.created_at < longest:
        raise IdempotencyConflict("The first request with this idempotency key is still under way; ask again shortly.")
    async with platform.store.for_tenant(tenant_id) as tx:
        execution = await tx.execution(before.execution_id)
    if execution is None:
        return None
    output = before.response.get("output") if before.response is not None else None
    return Executed(execution, output.encode() if output is not None else None, replayed=True)
