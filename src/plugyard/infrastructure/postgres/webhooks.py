"""Webhooks as rows, their secrets sealed. A part of the transactions that `store` opens."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from plugyard.application.ports import Page, PageRequest
from plugyard.domain.secrets import LockedSecrets
from plugyard.domain.webhooks import Scheme, Webhook
from plugyard.infrastructure.postgres.rows import Session, uuid_or_none
from plugyard.infrastructure.postgres.seals import Seals
from plugyard.infrastructure.postgres.statements import statements

_SQL = statements("webhooks")
BY_HASH = _SQL["webhook by hash"]


class WebhookRows(Session):
    """The part of `application.ports.Transaction` that keeps webhooks."""

    async def add_webhook(self, webhook: Webhook, token_hash: bytes) -> None:
        """Adds a webhook; only the hash of its address is stored."""
        await self._run(_SQL["add webhook"], {**self._webhook_row(webhook), "token_hash": token_hash})

    async def webhook(self, webhook_id: str, *, lock: bool = False) -> Webhook | None:
        """The tenant's own webhook of that id; with `lock`, nobody else changes it until the transaction ends."""
        if uuid_or_none(webhook_id) is None:
            return None
        row = await self._one(_SQL["webhook, locked" if lock else "webhook"], {"id": webhook_id})
        return webhook_of(row, self._seals) if row else None

    async def save_webhook(self, webhook: Webhook) -> None:
        """Writes its secrets, and that it was revoked, which stays."""
        await self._run(_SQL["save webhook"], self._webhook_row(webhook))

    async def webhooks(self, plugin_id: str | None, page: PageRequest) -> Page[Webhook]:
        """A plugin's webhooks, or all of the tenant's, the newest first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.webhooks(plugin_id, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(webhook_of(row, self._seals) for row in rows), cursor)

    async def count_webhooks(self, plugin_id: str) -> int:
        """How many webhooks of the plugin work."""
        row = await self._one(_SQL["count webhooks"], {"plugin_id": plugin_id})
        return row["n"] if row else 0

    async def claim_delivery(self, webhook_id: str, signed: bytes, at: datetime, known_since: datetime) -> bool:
        """Notes a delivery and that the webhook was used, and forgets older ones; whether it was not known."""
        claim = {"webhook_id": webhook_id, "signed": signed, "taken_at": at, "known_since": known_since}
        row = await self._one(_SQL["claim delivery"], claim)
        return row is not None and row["n"] == 1

    async def delivery_abandoned(self, webhook_id: str, signed: bytes) -> bool:
        """Whether the holder of a delivery is not there and never settled it."""
        return await self._one(_SQL["abandoned delivery"], {"webhook_id": webhook_id, "signed": signed}) is not None

    async def take_over_delivery(self, webhook_id: str, signed: bytes) -> bool:
        """Holds a delivery that is abandoned; whether it is this one's now."""
        return await self._one(_SQL["take over delivery"], {"webhook_id": webhook_id, "signed": signed}) is not None

    async def settle_delivery(self, webhook_id: str, signed: bytes) -> None:
        """Notes that it was carried out, so that it is nobody's to take over."""
        await self._run(_SQL["settle delivery"], {"webhook_id": webhook_id, "signed": signed})

    async def release_delivery(self, webhook_id: str, signed: bytes) -> None:
        """Forgets a delivery that came to nothing."""
        await self._run(_SQL["release delivery"], {"webhook_id": webhook_id, "signed": signed})

    def _webhook_row(self, webhook: Webhook) -> dict[str, Any]:
        names = ("id", "tenant_id", "plugin_id", "name", "path", "created_at", "previous_until", "revoked_at")
        # Bound to the webhook's id as others are to their plugin's, so neither opens in the place of the other.
        sealed, key_id = self._seals.seal(webhook.tenant_id, webhook.id, webhook.secrets)
        return {
            **{name: getattr(webhook, name) for name in (*names, "last_used_at")},
            "scheme": webhook.scheme.value,
            "sealed_secrets": sealed,
            "sealed_by": key_id,
        }


def webhook_of(row: dict[str, Any], seals: Seals) -> Webhook:
    """The webhook that a row holds, its secrets opened, or locked where no key opens them."""
    opened = seals.open(row["tenant_id"], row["id"], row["sealed_secrets"], row["sealed_by"])
    if isinstance(opened, LockedSecrets):
        opened = LockedSecrets(row["plugin_id"], opened.key_id, opened.sealed)
    return Webhook(
        row["id"],
        row["tenant_id"],
        row["plugin_id"],
        row["name"],
        row["path"],
        Scheme(row["scheme"]),
        row["created_at"],
        opened,
        row["previous_until"],
        row["revoked_at"],
        row["last_used_at"],
    )
