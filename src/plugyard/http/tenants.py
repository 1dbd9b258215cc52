"""Tenants over HTTP: made by operators; each tenant's own policy."""

from collections.abc import AsyncGenerator, Coroutine
from functools import partial
from typing import Any

from msgspec import UNSET
from starlette.types import ASGIApp

from plugyard.application import completions, erase, export, tenants
from plugyard.domain.errors import Overloaded
from plugyard.domain.identity import Action, Tenant
from plugyard.http import commands, examples, present, views
from plugyard.http.answers import Download, json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, page_of, text
from plugyard.http.rates import RateClass
from plugyard.http.streams import counted, require_room

_TAG = "Keys and tenants"
_ONE = "/api/v1/tenants/{tenantId}"
ZIP = "application/zip"
EXPORTS, MAX_EXPORTS = "exports", 2
_ARCHIVE = Reply(
    200,
    "The archive.",
    media_type=ZIP,
    headers={"Content-Disposition": "A name to save it by."},
)


@operation(
    "GET",
    "/api/v1/tenants",
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.TenantView], examples.page_of(examples.TENANT))],
)
async def list_tenants(exchange: Exchange) -> ASGIApp:
    """List every tenant."""
    found = await tenants.tenants(exchange.platform, exchange.caller, page_of(exchange.query))
    return json_answer(present.page(found, partial(present.tenant, defaults=exchange.platform.policies.quotas)))


@operation(
    "POST",
    "/api/v1/tenants",
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    body=Body(commands.CreateTenant, examples={"a customer": {"slug": "acme", "name": "Acme"}}),
    replies=[Reply(201, "The tenant and its first admin key.", views.NewTenantView, examples.NEW_TENANT)],
    problems=["name_taken"],
)
async def create_tenant(exchange: Exchange) -> ASGIApp:
    """Make a tenant and its first admin key."""
    asked = await exchange.body(commands.CreateTenant)
    tenant, key, secret = await tenants.create_tenant(exchange.platform, exchange.caller, asked.slug, asked.name)
    view = views.NewTenantView(tenant=_view(exchange, tenant), key=present.new_key(key, secret))
    return json_answer(view, status=201)


@operation(
    "PATCH",
    _ONE,
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    body=Body(
        commands.ChangeTenant,
        examples={
            "two modules": {"modulesDenied": ["pickle", "node:crypto"]},
            "quotas": {"quotas": {"plugins": 50, "executionsPerDay": 100000, "concurrentExecutions": "default"}},
            "smaller executions": {"ceilings": {"memory": 256, "timeout": 5000}, "grantable": ["cache", "events"]},
        },
    ),
    replies=[Reply(200, "The tenant as it is now.", views.TenantView, examples.TENANT)],
    problems=["not_found"],
)
async def change_tenant(exchange: Exchange) -> ASGIApp:
    """Decide for a tenant what its admins cannot: modules, ceilings, services, quotas.

    It holds for uploads and for executions from now on, for plugins that are installed and for those of the marketplace
    as well. What is left out stays; `modulesDenied`, `ceilings`, `grantable` and `autoGrantable` replace what was there
    before, and `quotas` change those that they name.
    """
    asked = await exchange.body(commands.ChangeTenant)
    tenant_id = exchange.id("tenantId")
    changed = await tenants.change_tenant(exchange.platform, exchange.caller, tenant_id, asked.changes())
    return json_answer(_view(exchange, changed))


@operation(
    "GET",
    _ONE,
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    replies=[Reply(200, "The tenant.", views.TenantView, examples.TENANT)],
    problems=["not_found"],
)
async def get_tenant(exchange: Exchange) -> ASGIApp:
    """Show one tenant, and how it stands.

    One that is being deleted shows as `deleting`; when nothing of it is left, it is not found.
    """
    found = await tenants.tenant(exchange.platform, exchange.caller, exchange.id("tenantId"))
    return json_answer(_view(exchange, found))


@operation(
    "POST",
    _ONE + "/suspend",
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    body=Body(commands.SuspendTenant, examples={"for a reason": {"reason": "The bill is open.", "running": "finish"}}),
    replies=[Reply(200, "The tenant as it is now.", views.TenantView, examples.SUSPENDED_TENANT)],
    problems=["not_found", "conflict"],
)
async def suspend_tenant(exchange: Exchange) -> ASGIApp:
    """Stop a tenant, with a reason that it is told.

    Its keys are answered 403 `tenant_suspended` at once, nothing of it executes, and its listings are hidden from the
    others, whose installed copies go on. What runs at this moment is cancelled, unless `running` lets it finish.
    """
    asked = await exchange.body(commands.SuspendTenant)
    suspended = await tenants.suspend(
        exchange.platform,
        exchange.caller,
        exchange.id("tenantId"),
        asked.reason,
        let_finish=asked.running == "finish",
    )
    return json_answer(_view(exchange, suspended))


@operation(
    "POST",
    _ONE + "/resume",
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    replies=[Reply(200, "The tenant as it is now.", views.TenantView, examples.TENANT)],
    problems=["not_found", "conflict"],
)
async def resume_tenant(exchange: Exchange) -> ASGIApp:
    """Let a suspended tenant go on as it was."""
    resumed = await tenants.resume(exchange.platform, exchange.caller, exchange.id("tenantId"))
    return json_answer(_view(exchange, resumed))


@operation(
    "GET",
    _ONE + "/export",
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    rate=RateClass.UPLOAD,
    replies=[_ARCHIVE],
    problems=["not_found"],
)
async def export_tenant(exchange: Exchange) -> ASGIApp:
    """Export everything of a tenant as a ZIP archive.

    It is streamed. `manifest.json` at its end has a checksum for every file, and for a suspended tenant the
    `confirmation` that deleting it asks for.
    """
    tenant_id = exchange.id("tenantId")
    return await _download(exchange, export.export_tenant(exchange.platform, exchange.caller, tenant_id), tenant_id)


@operation(
    "DELETE",
    _ONE,
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    query=(
        text("confirmation", "The `confirmation` in the manifest of an export made since the tenant is suspended."),
        text("force", "Why it is deleted without one; kept in the audit trail.", most=500),
    ),
    replies=[Reply(202, "The tenant, of which nothing is left soon.", views.TenantView, examples.DELETED_TENANT)],
    problems=["not_found", "conflict"],
)
async def delete_tenant(exchange: Exchange) -> ASGIApp:
    """Delete a suspended tenant, and everything that is its own.

    Answers at once; the deleting goes on, over a restart as well, until the tenant is not found any more. What other
    tenants installed of its listings stays theirs. The audit trail stays, under the tenant's id.
    """
    asked = exchange.query
    deleted = await erase.delete_tenant(
        exchange.platform,
        exchange.caller,
        exchange.id("tenantId"),
        confirmation=asked["confirmation"],
        forced_because=asked["force"],
    )
    return json_answer(_view(exchange, deleted), status=202)


@operation(
    "GET",
    "/api/v1/tenant/export",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    rate=RateClass.UPLOAD,
    replies=[_ARCHIVE],
    problems=["not_found"],
)
async def export_own_tenant(exchange: Exchange) -> ASGIApp:
    """Export everything of the tenant that the key acts in as a ZIP archive.

    It is streamed. `manifest.json` at its end has a checksum for every file. Secrets are in none of them.
    """
    begun = export.export_own_tenant(exchange.platform, exchange.caller)
    return await _download(exchange, begun, exchange.caller.tenant_id or "")


async def _download(
    exchange: Exchange, begun: Coroutine[Any, Any, AsyncGenerator[bytes, None]], tenant_id: str
) -> ASGIApp:
    """The archive, which ends with its reader: while it goes on it costs the store, and the loop its packing."""
    try:
        require_room(exchange, EXPORTS, MAX_EXPORTS)
    except Overloaded:
        begun.close()
        raise
    pieces = await begun
    try:
        require_room(exchange, EXPORTS, MAX_EXPORTS)
    except Overloaded:
        await pieces.aclose()
        raise
    return Download(counted(exchange, EXPORTS, pieces), ZIP, f"{tenant_id}.zip")


@operation(
    "GET",
    "/api/v1/tenant",
    tag=_TAG,
    replies=[Reply(200, "The tenant.", views.OwnTenantView, examples.OWN_TENANT)],
    problems=["not_found"],
)
async def own_tenant(exchange: Exchange) -> ASGIApp:
    """Show the tenant that the key acts in, with its quotas and what is used of them."""
    platform = exchange.platform
    found = await tenants.own_tenant(platform, exchange.caller)
    used = await tenants.usage(platform, exchange.caller)
    return json_answer(present.own_tenant(found, platform.policies.quotas, used))


@operation(
    "GET",
    "/api/v1/tenant/webhook-secret",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    replies=[Reply(200, "The secret.", views.WebhookSecretView, examples.WEBHOOK_SECRET)],
)
async def get_webhook_secret(exchange: Exchange) -> ASGIApp:
    """Show the secret by which webhooks of the tenant's executions are signed."""
    return json_answer(views.WebhookSecretView(secret=completions.secret(exchange.platform, exchange.caller)))


@operation(
    "PATCH",
    "/api/v1/tenant/policy",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    body=Body(
        commands.SetPolicy,
        examples={
            "two services": {"autoGrant": ["cache", "events"]},
            "signed alone": {"requireSignature": "marketplace", "requireVerifiedPublisher": True},
        },
    ),
    replies=[Reply(200, "The tenant as it is now.", views.TenantView, examples.TENANT)],
    problems=["not_found"],
)
async def set_policy(exchange: Exchange) -> ASGIApp:
    """Decide what every plugin of the tenant gets without an admin's consent, and what packages have to have.

    Services that the operator does not let be granted so are refused by name. What is demanded holds for uploads and
    for what is installed from the marketplace from now on.
    """
    asked = await exchange.body(commands.SetPolicy)
    changed = await tenants.set_policy(
        exchange.platform,
        exchange.caller,
        None if asked.auto_grant is UNSET else asked.auto_grant,
        signature=None if asked.require_signature is UNSET else asked.require_signature,
        verified_publisher=None if asked.require_verified_publisher is UNSET else asked.require_verified_publisher,
    )
    return json_answer(_view(exchange, changed))


def _view(exchange: Exchange, tenant: Tenant) -> views.TenantView:
    return present.tenant(tenant, exchange.platform.policies.quotas)


OPERATIONS = (
    list_tenants,
    create_tenant,
    get_tenant,
    change_tenant,
    suspend_tenant,
    resume_tenant,
    export_tenant,
    delete_tenant,
    export_own_tenant,
    own_tenant,
    get_webhook_secret,
    set_policy,
)
