"""Tenants over HTTP: made by operators; each tenant's own policy and audit trail."""

from starlette.types import ASGIApp

from plugyard.application import history, tenants
from plugyard.domain.identity import Action
from plugyard.http import commands, examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, page_of

_TAG = "Keys and tenants"


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
    return json_answer(present.page(found, present.tenant))


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
    view = views.NewTenantView(tenant=present.tenant(tenant), key=present.new_key(key, secret))
    return json_answer(view, status=201)


@operation(
    "PATCH",
    "/api/v1/tenants/{tenantId}",
    tag=_TAG,
    action=Action.MANAGE_TENANTS,
    body=Body(commands.ChangeTenant, examples={"two modules": {"modulesDenied": ["pickle", "node:crypto"]}}),
    replies=[Reply(200, "The tenant as it is now.", views.TenantView, examples.TENANT)],
    problems=["not_found"],
)
async def change_tenant(exchange: Exchange) -> ASGIApp:
    """Decide which modules no plugin of a tenant may import.

    It holds for uploads and for executions from now on, for plugins from the marketplace as well; it replaces what was
    denied before.
    """
    asked = await exchange.body(commands.ChangeTenant)
    tenant_id = exchange.id("tenantId")
    changed = await tenants.deny_modules(exchange.platform, exchange.caller, tenant_id, asked.modules_denied)
    return json_answer(present.tenant(changed))


@operation(
    "GET",
    "/api/v1/tenant",
    tag=_TAG,
    replies=[Reply(200, "The tenant.", views.TenantView, examples.TENANT)],
    problems=["not_found"],
)
async def own_tenant(exchange: Exchange) -> ASGIApp:
    """Show the tenant that the key acts in."""
    return json_answer(present.tenant(await tenants.own_tenant(exchange.platform, exchange.caller)))


@operation(
    "PATCH",
    "/api/v1/tenant/policy",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    body=Body(commands.SetPolicy, examples={"two services": {"autoGrant": ["cache", "events"]}}),
    replies=[Reply(200, "The tenant as it is now.", views.TenantView, examples.TENANT)],
    problems=["not_found"],
)
async def set_policy(exchange: Exchange) -> ASGIApp:
    """Decide which services every plugin of the tenant gets without an admin's consent."""
    asked = await exchange.body(commands.SetPolicy)
    return json_answer(present.tenant(await tenants.set_policy(exchange.platform, exchange.caller, asked.auto_grant)))


@operation(
    "GET",
    "/api/v1/audit",
    tag=_TAG,
    action=Action.MANAGE_KEYS,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.AuditView], examples.page_of(examples.AUDIT))],
)
async def list_audit(exchange: Exchange) -> ASGIApp:
    """List who did what in the tenant, newest first."""
    found = await history.audit(exchange.platform, exchange.caller, page_of(exchange.query))
    return json_answer(present.page(found, present.audit_entry))


OPERATIONS = (list_tenants, create_tenant, change_tenant, own_tenant, set_policy, list_audit)
