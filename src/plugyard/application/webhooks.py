"""Webhooks: made, with a secret that is shown once; rotated, revoked, listed. ``http/webhooks.py`` calls all of it."""

import hashlib
import secrets
from dataclasses import replace
from datetime import timedelta

from plugyard.application.platform import Platform, plugin_of, record_tenant_change, require, tenant_of
from plugyard.application.ports import Page, PageRequest, Transaction
from plugyard.domain.endpoints import EndpointNotFound, MethodNotTaken, PathUnreadable, find
from plugyard.domain.errors import Conflict, FieldError, InvalidInput, NotFound
from plugyard.domain.identity import Action, Caller
from plugyard.domain.plugin import Transition
from plugyard.domain.webhooks import PREFIX, Scheme, Webhook, check_secret

METHOD = "POST"
MOST_PER_PLUGIN = 100
_BYTES = 32


def token_hash(platform: Platform, token: str) -> bytes:
    """What is stored of an address: BLAKE2b keyed with the service's pepper, 32 bytes."""
    return hashlib.blake2b(token.encode(), key=platform.pepper, person=b"webhook", digest_size=32).digest()


async def create_webhook(
    platform: Platform, caller: Caller, plugin_id: str, name: str, path: str, scheme: Scheme, secret: str | None
) -> tuple[Webhook, str, str]:
    """A webhook for the endpoint that answers POST at ``path``; its token and its secret, neither shown again.

    A provider that makes secrets itself brings its own. Raises ``NotFound``, ``InvalidInput``, ``WrongState``,
    ``Conflict`` where the plugin has as many as it may.
    """
    require(caller, Action.INSTALL)
    tenant_id = tenant_of(caller)
    if secret is not None:
        check_secret(secret)
    token, secret = secrets.token_urlsafe(_BYTES), secret or _new_secret()
    made = Webhook(platform.ids(), tenant_id, plugin_id, name, path, scheme, platform.clock(), {"current": secret})
    async with platform.store.for_tenant(tenant_id) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        view.plugin.check(Transition.CONFIGURE)
        try:
            find(view.version.manifest.endpoints, METHOD, path)
        except (EndpointNotFound, MethodNotTaken, PathUnreadable) as error:
            fault = FieldError("/path", f"no endpoint of the plugin takes {METHOD} there: {error.message}")
            raise InvalidInput("The webhook leads nowhere.", [fault]) from error
        if await tx.count_webhooks(plugin_id) >= MOST_PER_PLUGIN:
            raise Conflict(f"The plugin has {MOST_PER_PLUGIN} webhooks; revoke one that is not needed.")
        await tx.add_webhook(made, token_hash(platform, token))
        await _record(platform, tx, caller, "webhook.created", made)
    return made, token, secret


async def webhooks(platform: Platform, caller: Caller, plugin_id: str, page: PageRequest) -> Page[Webhook]:
    """A plugin's webhooks, revoked ones too, newest first. Raises ``NotFound``."""
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        await plugin_of(tx, plugin_id)
        return await tx.webhooks(plugin_id, page)


async def webhook_of(platform: Platform, caller: Caller, plugin_id: str, webhook_id: str) -> Webhook:
    """One of a plugin's webhooks; raises ``NotFound``."""
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await _found(tx, plugin_id, webhook_id)


async def rotate_webhook(
    platform: Platform, caller: Caller, plugin_id: str, webhook_id: str, secret: str | None, overlap: timedelta
) -> tuple[Webhook, str]:
    """A new secret; the old one holds until the overlap ends. Raises ``NotFound``, ``Conflict`` where it is revoked."""
    require(caller, Action.INSTALL)
    if secret is not None:
        check_secret(secret)
    secret = secret or _new_secret()
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        held = await _found(tx, plugin_id, webhook_id, lock=True)
        rotated = held.rotated(secret, platform.clock(), overlap)
        await tx.save_webhook(rotated)
        await _record(platform, tx, caller, "webhook.rotated", rotated, overlapS=int(overlap.total_seconds()))
    forget_webhooks(platform)
    return rotated, secret


async def revoke_webhook(platform: Platform, caller: Caller, plugin_id: str, webhook_id: str) -> Webhook:
    """End a webhook; within this process at once, in others when their copy ages out. It stays listed."""
    require(caller, Action.INSTALL)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        held = await _found(tx, plugin_id, webhook_id, lock=True)
        if held.revoked_at is None:
            held = replace(held, revoked_at=platform.clock())
            await tx.save_webhook(held)
            await _record(platform, tx, caller, "webhook.revoked", held)
    forget_webhooks(platform)
    return held


def forget_webhooks(platform: Platform) -> None:
    """The next delivery reads its webhook anew."""
    platform.copies.forget(lambda name: name[0] == "webhook")


def _new_secret() -> str:
    """256 random bits. The prefix lets secret scanners know it where it does not belong."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


async def _found(tx: Transaction, plugin_id: str, webhook_id: str, *, lock: bool = False) -> Webhook:
    found = await tx.webhook(webhook_id, lock=lock)
    if found is None or found.plugin_id != plugin_id:
        raise NotFound("The plugin has no webhook of this id.")
    return found


async def _record(
    platform: Platform, tx: Transaction, caller: Caller, action: str, webhook: Webhook, **more: object
) -> None:
    detail = {"pluginId": webhook.plugin_id, "name": webhook.name, "path": webhook.path, "scheme": webhook.scheme.value}
    await record_tenant_change(platform, tx, caller, action, webhook.id, {**detail, **more})
