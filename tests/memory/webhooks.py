"""Webhooks in memory, and what they took lately."""

from dataclasses import replace
from datetime import datetime

from plugyard.application.ports import Page, PageRequest
from plugyard.domain.webhooks import Webhook
from tests.memory import lists
from tests.memory.tables import Tables


class MemoryWebhooks:
    """The tenant's part."""

    _tables: Tables
    _tenant_id: str | None

    async def add_webhook(self, webhook: Webhook, token_hash: bytes) -> None:
        assert webhook.tenant_id == self._tenant_id
        self._tables.webhooks[webhook.id] = webhook
        self._tables.webhook_hashes[token_hash] = webhook.id

    async def webhook(self, webhook_id: str, *, lock: bool = False) -> Webhook | None:
        found = self._tables.webhooks.get(webhook_id)
        return found if found is not None and found.tenant_id == self._tenant_id else None

    async def save_webhook(self, webhook: Webhook) -> None:
        assert webhook.tenant_id == self._tenant_id
        held = self._tables.webhooks[webhook.id]
        self._tables.webhooks[webhook.id] = replace(
            held,
            secrets=webhook.secrets,
            previous_until=webhook.previous_until,
            revoked_at=held.revoked_at or webhook.revoked_at,
        )

    async def webhooks(self, plugin_id: str | None, page: PageRequest) -> Page[Webhook]:
        rows = [
            one
            for one in self._tables.webhooks.values()
            if one.tenant_id == self._tenant_id and plugin_id in (None, one.plugin_id)
        ]
        return lists.paged("webhooks", rows, lambda one: (lists.moment(one.created_at), one.id), page)

    async def count_webhooks(self, plugin_id: str) -> int:
        own = [one for one in self._tables.webhooks.values() if one.tenant_id == self._tenant_id]
        return sum(one.plugin_id == plugin_id and one.revoked_at is None for one in own)

    async def claim_delivery(self, webhook_id: str, signed: bytes, at: datetime, known_since: datetime) -> bool:
        taken = self._tables.deliveries
        for key in [key for key, moment in taken.items() if key[0] == webhook_id and moment < known_since]:
            del taken[key]
        if (webhook_id, signed) in taken:
            return False
        taken[webhook_id, signed] = at
        held = self._tables.webhooks[webhook_id]
        if held.last_used_at is None or (at - held.last_used_at).total_seconds() > 60:
            self._tables.webhooks[webhook_id] = replace(held, last_used_at=at)
        return True

    async def delivery_abandoned(self, webhook_id: str, signed: bytes) -> bool:
        return (webhook_id, signed) in self._tables.deliveries and signed in self._tables.abandoned

    async def take_over_delivery(self, webhook_id: str, signed: bytes) -> bool:
        dead = await self.delivery_abandoned(webhook_id, signed)
        self._tables.abandoned.discard(signed)
        return dead

    async def settle_delivery(self, webhook_id: str, signed: bytes) -> None:
        self._tables.abandoned.discard(signed)

    async def release_delivery(self, webhook_id: str, signed: bytes) -> None:
        self._tables.deliveries.pop((webhook_id, signed), None)
