"""Every use case asks for its role before it does anything, and the table of roles is what it asks."""

from datetime import timedelta
from typing import Any

import pytest

from plugyard.application import (
    activate,
    audit,
    compare,
    configure,
    consent,
    execute,
    history,
    install,
    keys,
    marketplace,
    observe,
    operatorkeys,
    rights,
    signing,
    tenants,
    uninstall,
    upgrade,
    upload,
)
from plugyard.application.ports import (
    AuditFilter,
    ExecutionFilter,
    ListingFilter,
    LogFilter,
    PageRequest,
    PluginFilter,
)
from plugyard.domain.errors import Forbidden, TenantRequired
from plugyard.domain.identity import LOWEST_ROLE, Action, Role, allows
from tests.memory.world import World, as_role, manifest

PAGE, ID = PageRequest(), "no-such-id"
CALL = execute.Call("greet")
USE_CASES: list[tuple[Action, Any, tuple[Any, ...], dict[str, Any]]] = [
    (Action.UPLOAD, upload.upload, (None,), {"checksum": None, "activate": False}),
    (Action.INSTALL, install.install, (ID, None), {}),
    (Action.ACTIVATE, activate.activate, (ID,), {}),
    (Action.ACTIVATE, activate.deactivate, (ID,), {}),
    (Action.INSTALL, uninstall.uninstall, (ID,), {}),
    (Action.ACTIVATE, upgrade.upgrade, (ID, None, None), {}),
    (Action.INSTALL, upgrade.upgrade, (ID, None, []), {}),
    (Action.ACTIVATE, upgrade.rollback, (ID, None), {}),
    (Action.INSTALL, consent.consent, (ID, "1.0.0", None), {}),
    (Action.INSTALL, consent.decline, (ID, "1.0.0", "no"), {}),
    (Action.READ, rights.rights, (ID,), {}),
    (Action.READ, rights.all_rights, (PAGE,), {"unused": True}),
    (Action.INSTALL, rights.drop_rights, (ID, []), {"unused": True}),
    (Action.CONFIGURE, configure.configure, (ID, {}), {}),
    (Action.EXECUTE, execute.execute, (ID, CALL), {}),
    (Action.EXECUTE, history.cancel, (ID,), {}),
    (Action.READ, history.plugin, (ID,), {}),
    (Action.READ, history.plugins, (PluginFilter(), PAGE), {}),
    (Action.READ, history.versions, (ID, PAGE), {}),
    (Action.READ, history.version, (ID, None), {}),
    (Action.READ, compare.difference, (ID, "1.0.0", "1.1.0"), {}),
    (Action.READ, history.executions, (ID, ExecutionFilter(), PAGE), {}),
    (Action.READ, history.execution, (ID,), {}),
    (Action.MANAGE_KEYS, audit.entries, (AuditFilter(), PAGE), {}),
    (Action.MANAGE_KEYS, audit.head, (), {}),
    (Action.READ, observe.logs, (ID, LogFilter(), PAGE), {}),
    (Action.READ, observe.logs_after, (ID, LogFilter(), None), {}),
    (Action.READ, observe.metrics, (ID, None, None), {}),
    (Action.PUBLISH, marketplace.publish, (ID, None), {}),
    (Action.PUBLISH, marketplace.withdraw, (ID,), {}),
    (Action.READ, marketplace.search, (ListingFilter(), PAGE), {}),
    (Action.READ, marketplace.featured, (5,), {}),
    (Action.READ, marketplace.categories, (), {}),
    (Action.READ, marketplace.listing, (ID,), {}),
    (Action.READ, marketplace.ratings, (ID, PAGE), {}),
    (Action.INSTALL, marketplace.install_listing, (ID, None), {"activate": False}),
    (Action.RATE, marketplace.rate, (ID, 5, ""), {}),
    (Action.MANAGE_KEYS, keys.create_key, ("ci", Role.VIEWER, None), {}),
    (Action.MANAGE_KEYS, keys.revoke_key, (ID,), {}),
    (Action.MANAGE_KEYS, keys.keys, (PAGE,), {}),
    (Action.READ, tenants.own_tenant, (), {}),
    (Action.MANAGE_KEYS, tenants.set_policy, ([],), {}),
    (Action.MANAGE_TENANTS, tenants.create_tenant, ("acme", "Acme"), {}),
    (Action.MANAGE_TENANTS, tenants.tenants, (PAGE,), {}),
    (Action.MANAGE_TENANTS, tenants.tenant, (ID,), {}),
    (Action.MANAGE_TENANTS, tenants.change_tenant, (ID, tenants.Changes()), {}),
    (Action.MANAGE_TENANTS, tenants.suspend, (ID, "reason"), {}),
    (Action.MANAGE_TENANTS, tenants.resume, (ID,), {}),
    (Action.READ, tenants.usage, (), {}),
    (Action.MANAGE_OPERATORS, operatorkeys.operator_keys, (PAGE,), {}),
    (Action.MANAGE_OPERATORS, operatorkeys.create_operator_key, ("Grace", None), {}),
    (Action.MANAGE_OPERATORS, operatorkeys.rotate_operator_key, (ID, timedelta(days=1)), {}),
    (Action.MANAGE_OPERATORS, operatorkeys.revoke_operator_key, (ID,), {}),
    (Action.MANAGE_KEYS, signing.register_key, ("ci", "", ""), {}),
    (Action.MANAGE_KEYS, signing.revoke_publisher_key, (ID, "leaked", None), {}),
    (Action.READ, signing.publisher_keys, (PAGE,), {}),
    (Action.READ, signing.publisher_key, (ID,), {}),
    (Action.READ, signing.own_publisher, (), {}),
    (Action.READ, signing.trust, ([ID],), {}),
    (Action.READ, signing.trust_of_listings, ([ID],), {}),
    (Action.MANAGE_TENANTS, signing.publisher, (ID,), {}),
    (Action.MANAGE_TENANTS, signing.set_publisher, (ID, "Acme"), {"verified": True}),
]
CASES = pytest.mark.parametrize(
    ("action", "use_case", "given", "named"),
    USE_CASES,
    ids=[f"{use_case.__name__}-{action.value}" for action, use_case, _, _ in USE_CASES],
)


@CASES
async def test_a_role_that_is_too_low_is_refused_before_anything_is_read(
    world: World, action: Action, use_case: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    world.store.available = False  # whoever asks the store first would get another error
    for role in Role:
        if not allows(role, action):
            with pytest.raises(Forbidden, match=LOWEST_ROLE[action].value):
                await use_case(world.platform, as_role(role, "t"), *given, **named)


@CASES
async def test_an_operator_without_a_tenant_is_asked_for_one(
    world: World, action: Action, use_case: Any, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    if action in (Action.MANAGE_TENANTS, Action.MANAGE_OPERATORS) or use_case in (audit.entries, audit.head):
        return  # An operator without a tenant reads the platform's trail.
    world.store.available = False
    with pytest.raises(TenantRequired):
        await use_case(world.platform, as_role(Role.OPERATOR, None), *given, **named)


async def test_the_lowest_role_is_enough(world: World) -> None:
    admin = await world.caller()
    view = await world.active(admin, manifest())
    developer, viewer = (as_role(role, admin.tenant_id) for role in (Role.DEVELOPER, Role.VIEWER))
    await world.execute(developer, view)
    await activate.deactivate(world.platform, developer, view.plugin.id)
    assert (await history.plugin(world.platform, viewer, view.plugin.id))[0].plugin.id == view.plugin.id
