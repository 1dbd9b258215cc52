"""Tenants are made by an operator and decide for themselves what is granted without asking."""

import pytest

from plugyard.application.keys import authenticate, new_secret
from plugyard.application.platform import tenant_of
from plugyard.application.ports import PageRequest
from plugyard.application.tenants import (
    create_tenant,
    deny_modules,
    ensure_key,
    ensure_tenant,
    own_tenant,
    set_policy,
    tenants,
)
from plugyard.domain.errors import Forbidden, NameTaken, NotFound, TenantRequired
from plugyard.domain.identity import Caller, Role
from plugyard.domain.permissions import Service
from plugyard.domain.plugin import PluginState
from tests.memory.world import World, as_role, manifest

OPERATOR = as_role(Role.OPERATOR, None)


async def test_a_new_tenant_comes_with_its_first_admin_key(world: World) -> None:
    tenant, key, secret = await create_tenant(world.platform, OPERATOR, "acme", "Acme")
    caller = await authenticate(world.platform, secret, request_id="r")
    assert caller == Caller(f"key:{key.id}", Role.ADMIN, tenant.id, "r")
    assert await own_tenant(world.platform, caller) == tenant
    assert world.actions == ["tenant.created"]
    assert world.store.tables.audit[0].tenant_id is None


async def test_a_slug_is_one_tenant_s(world: World) -> None:
    await create_tenant(world.platform, OPERATOR, "acme", "Acme")
    rows = world.store.tables.copy()
    with pytest.raises(NameTaken):
        await create_tenant(world.platform, OPERATOR, "acme", "Another")
    assert world.store.tables == rows


async def test_only_operators_make_and_list_tenants(world: World, admin: Caller) -> None:
    with pytest.raises(Forbidden):
        await create_tenant(world.platform, admin, "mine", "Mine")
    with pytest.raises(Forbidden):
        await tenants(world.platform, admin, PageRequest())
    assert [one.slug for one in (await tenants(world.platform, OPERATOR, PageRequest())).items] == ["acme"]


async def test_a_policy_decides_what_is_installed_without_asking(world: World, admin: Caller) -> None:
    document = manifest(security={"permissions": ["database"]})
    assert (await world.upload(admin, document)).view.plugin.state is PluginState.VALIDATED
    changed = await set_policy(world.platform, admin, [Service.DATABASE])
    assert changed.policy.auto_grant == {Service.DATABASE}
    assert (await world.upload(admin, document)).view.plugin.state is PluginState.INSTALLED
    assert "tenant.policy_changed" in world.actions


async def test_an_operator_denies_modules_to_a_tenant_and_its_policy_leaves_that_alone(
    world: World, admin: Caller
) -> None:
    assert admin.tenant_id is not None
    changed = await deny_modules(world.platform, OPERATOR, admin.tenant_id, ["pickle", "csv", "pickle"])
    assert changed.modules_denied == ("csv", "pickle")
    assert (await set_policy(world.platform, admin, [])).modules_denied == ("csv", "pickle")
    assert "tenant.modules_denied" in world.actions
    with pytest.raises(Forbidden):
        await deny_modules(world.platform, admin, admin.tenant_id, [])
    with pytest.raises(NotFound):
        await deny_modules(world.platform, OPERATOR, "gone", [])


async def test_an_operator_has_to_name_a_tenant_for_what_is_a_tenant_s(world: World) -> None:
    with pytest.raises(TenantRequired):
        await own_tenant(world.platform, OPERATOR)
    with pytest.raises(TenantRequired):
        tenant_of(OPERATOR)


async def test_a_tenant_that_is_gone_is_missing(world: World) -> None:
    with pytest.raises(NotFound):
        await own_tenant(world.platform, as_role(Role.ADMIN, "gone"))


async def test_what_the_service_ensures_is_made_once(world: World) -> None:
    first = await ensure_tenant(world.platform, "default", "Default")
    assert await ensure_tenant(world.platform, "default", "Another") == first
    secret = new_secret()
    for _ in range(2):
        await ensure_key(world.platform, secret, name="admin", role=Role.ADMIN, tenant_id=first.id)
    assert len(world.store.tables.keys) == 1
