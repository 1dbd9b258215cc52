"""A package comes in: judged, stored, written down; or refused, and nothing is left of it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from plugyard.application.install import install
from plugyard.application.marketplace import publish
from plugyard.application.platform import Policies
from plugyard.application.ports import Inspection
from plugyard.application.tenants import deny_modules
from plugyard.application.uninstall import uninstall
from plugyard.application.upload import bundle_key, package_key, upload
from plugyard.application.verify import verify
from plugyard.domain.errors import (
    ChecksumMismatch,
    GateUnavailable,
    NameTaken,
    PackageRefused,
    SandboxUnavailable,
    StoreUnavailable,
    VersionExists,
)
from plugyard.domain.events import EventType
from plugyard.domain.execution import ExecutionFailure
from plugyard.domain.identity import Caller, Role
from plugyard.domain.modules import ModuleRules
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginState, PluginView
from plugyard.domain.report import Consequence, Finding, Report, Severity
from plugyard.sandbox.outside.guests import module_list
from tests.memory.transaction import MemoryTransaction
from tests.memory.world import World, as_role, manifest

NETWORK = {"permissions": [{"service": "network", "hosts": ["api.acme.com"]}]}
FINDING = Finding(
    "archive.traversal", Severity.ERROR, "../x", "leaves the folder", "it could", "rename it", None, Consequence.BLOCK
)


def nothing_is_left(world: World) -> bool:
    tables = world.store.tables
    return not (world.objects.held or tables.plugins or tables.versions or tables.outbox or tables.audit)


def nothing_is_left_of_the_upload(world: World) -> bool:
    tables = world.store.tables
    return not (world.objects.held or tables.plugins or tables.versions or tables.outbox)


async def test_a_new_package_is_stored_written_down_and_installed(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin)
    plugin, digest = uploaded.view.plugin, uploaded.version.digest
    assert (uploaded.created, uploaded.consent_needed, uploaded.not_activated) == (True, (), None)
    assert (plugin.state, plugin.name, plugin.tenant_id) == (PluginState.INSTALLED, "greeter", admin.tenant_id)
    assert set(world.objects.held) == {package_key(digest), bundle_key(digest)}
    assert await world.fetch(admin, plugin.id) == uploaded.view
    assert world.event_types == [EventType.PLUGIN_UPLOADED, EventType.PLUGIN_VALIDATED, EventType.PLUGIN_INSTALLED]
    assert [event.data["state"] for event in world.events] == ["pending", "validated", "installed"]
    assert world.actions == [one.value for one in world.event_types]


async def test_a_package_may_be_activated_with_its_upload(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, activate=True)
    assert uploaded.view.plugin.state is PluginState.ACTIVE


async def test_the_same_bytes_again_are_the_existing_plugin(world: World, admin: Caller) -> None:
    first = await world.upload(admin)
    held, events = dict(world.objects.held), len(world.events)
    again = await world.upload(admin)
    assert (again.created, again.view.plugin.id, again.version.id) == (
        False,
        first.view.plugin.id,
        first.version.id,
    )
    assert world.objects.held == held
    assert len(world.events) == events


async def test_other_bytes_under_a_version_that_exists_are_refused_and_leave_nothing(
    world: World, admin: Caller
) -> None:
    await world.upload(admin)
    before = (dict(world.objects.held), world.store.tables.copy())
    with pytest.raises(VersionExists, match=r"raise metadata.version"):
        await world.upload(admin, code="second")
    assert (world.objects.held, world.store.tables) == before


async def test_a_refused_package_leaves_nothing_and_shows_its_findings(world: World, admin: Caller) -> None:
    with pytest.raises(PackageRefused) as caught:
        await world.upload(admin, findings=(FINDING,))
    assert caught.value.report.findings == (FINDING,)
    assert nothing_is_left(world)


async def test_a_report_without_a_manifest_is_a_refusal(world: World, admin: Caller) -> None:
    package = world.pack(manifest())
    world.inspector.inspections[package.digest] = Inspection(Report())
    with pytest.raises(PackageRefused):
        await upload(world.platform, admin, package, checksum=None, activate=False)
    assert nothing_is_left(world)


async def test_warnings_let_a_package_in_and_stay_with_it(world: World, admin: Caller) -> None:
    warning = Finding("manifest.license", Severity.WARNING, "plugin.json#/metadata", "no license", "why", "mend")
    uploaded = await world.upload(admin, findings=(warning,))
    assert uploaded.report.findings == uploaded.version.report.findings == (warning,)


@pytest.mark.parametrize("error", [GateUnavailable(), SandboxUnavailable()])
async def test_what_cannot_be_judged_is_not_let_in(world: World, admin: Caller, error: Exception) -> None:
    if isinstance(error, GateUnavailable):
        world.inspector.failing = error
    else:
        world.executor.failing = error
    with pytest.raises(type(error)):
        await world.upload(admin)
    assert nothing_is_left(world)


async def test_a_checksum_is_compared_before_anything_else(world: World, admin: Caller) -> None:
    world.inspector.failing = AssertionError("the package was looked at")
    with pytest.raises(ChecksumMismatch) as caught:
        await world.upload(admin, checksum="sha256:" + "0" * 64)
    assert caught.value.errors[0].pointer == "/checksum"
    assert nothing_is_left(world)


async def test_a_checksum_that_fits_is_read_in_any_case(world: World, admin: Caller) -> None:
    package = world.pack(manifest())
    done = await upload(world.platform, admin, package, checksum=f"SHA256:{package.digest.upper()}", activate=False)
    assert done.created


async def test_without_the_object_store_nothing_is_written_down(world: World, admin: Caller) -> None:
    world.objects.available = False
    with pytest.raises(StoreUnavailable):
        await world.upload(admin)
    assert nothing_is_left(world)


async def test_code_that_does_not_load_is_refused_with_its_error(world: World, admin: Caller) -> None:
    error = ExecutionFailure("load_error", "SyntaxError: unexpected )", "index.js:3:7")
    with pytest.raises(PackageRefused) as caught:
        await world.upload(admin, load_error=error)
    (finding,) = caught.value.report.findings
    assert (finding.rule, finding.where) == ("code.does-not-load", "index.js")
    assert "index.js:3:7" in finding.what
    assert nothing_is_left(world)


async def test_an_import_that_is_not_offered_has_a_rule_of_its_own(world: World, admin: Caller) -> None:
    error = ExecutionFailure("module_refused", "the module socket is not offered to plugins", "main.py:1")
    with pytest.raises(PackageRefused) as caught:
        await world.upload(admin, load_error=error)
    (finding,) = caught.value.report.findings
    assert finding.rule == "code.module-refused"
    assert "docs/modules.md" in finding.mend


async def test_modules_that_a_manifest_needs_and_may_not_have_are_findings_each_at_its_place(tmp_path: Path) -> None:
    world = World(tmp_path, Policies(modules=module_list(denied=("crypto",))))
    admin = await world.caller()
    assert admin.tenant_id is not None
    await deny_modules(world.platform, as_role(Role.OPERATOR, None), admin.tenant_id, ["node:url"])
    needed = ["util", "node:crypto", "fs", "url", "lodash"]
    with pytest.raises(PackageRefused) as caught:
        await world.upload(admin, manifest(security={"modules": needed}))
    findings = caught.value.report.findings
    assert [(one.rule, one.where) for one in findings] == [
        ("code.module-refused", f"plugin.json#/security/modules/{place}") for place in (1, 2, 3, 4)
    ]
    for finding, says in zip(findings, ("the operator", "context.services.files", "this tenant", "npm"), strict=True):
        assert says in finding.what
    assert nothing_is_left_of_the_upload(world)


async def test_the_code_is_loaded_under_the_rules_that_its_executions_will_have(world: World, admin: Caller) -> None:
    assert admin.tenant_id is not None
    await deny_modules(world.platform, as_role(Role.OPERATOR, None), admin.tenant_id, ["url"])
    limits = {"startup": 700, "stack": 256, "timeout": 5, "cpu": 3}
    await world.upload(admin, manifest(security={"modules": ["util"], "resourceLimits": limits}))
    ((probed, rules),) = world.executor.probed
    assert rules == ModuleRules(("util",), ("url",))
    assert probed is not None
    # What one call may take says nothing of how long loading may.
    assert (probed.startup_ms, probed.stack_bytes) == (700, 256 << 10)


async def test_all_findings_come_at_once(world: World, admin: Caller) -> None:
    document = manifest(
        functions={"greet": {}, "quote": {}},
        api={
            "endpoints": [
                {"method": "GET", "path": "/", "handler": "greet"},
                {"method": "GET", "path": "/page", "handler": "page"},
            ]
        },
        dependencies={"plugins": {"tax": "^1.0.0"}, "platform": "*"},
    )
    with pytest.raises(PackageRefused) as caught:
        await world.upload(admin, document)
    found = {(finding.rule, finding.where) for finding in caught.value.report.findings}
    assert found == {
        ("dependencies.unresolvable", "plugin.json#/dependencies"),
        ("code.function-missing", "plugin.json#/functions/quote"),
        ("code.function-missing", "plugin.json#/api/endpoints/1/handler"),
    }
    assert nothing_is_left(world)


async def test_code_without_stack_or_exports_is_explained_too(world: World) -> None:
    tenant = await world.tenant()
    package = world.pack(manifest(functions={"greet": {}}), exports=())
    with pytest.raises(PackageRefused) as caught:
        await verify(world.platform, tenant.id, package.path, digest=package.digest, size=package.size)
    assert "It exports: nothing." in caught.value.report.findings[0].what


async def test_a_dependency_may_come_from_the_tenant_s_own_plugins(world: World, admin: Caller) -> None:
    await world.upload(admin, manifest("tax"))
    uploaded = await world.upload(admin, manifest(dependencies={"plugins": {"tax": "^1.0.0"}}))
    async with world.store.for_tenant(uploaded.view.plugin.tenant_id) as tx:
        (resolved,) = await tx.dependencies(uploaded.version.id)
    assert (resolved.name, resolved.range, resolved.resolved_version) == ("tax", "^1.0.0", "1.0.0")
    assert resolved.resolved_plugin_id is not None


# consent and activation


async def test_what_the_policy_does_not_grant_waits_for_consent(world: World, admin: Caller) -> None:
    developer = as_role(Role.DEVELOPER, admin.tenant_id)
    uploaded = await world.upload(developer, manifest(security=NETWORK), activate=True)
    assert uploaded.view.plugin.state is PluginState.VALIDATED
    assert uploaded.consent_needed == (Permission(Service.NETWORK, ("api.acme.com",)),)
    assert uploaded.view.plugin.grants == ()


async def test_an_admin_who_activates_with_the_upload_consents_by_it(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, manifest(security=NETWORK), activate=True)
    assert uploaded.view.plugin.state is PluginState.ACTIVE
    assert uploaded.view.plugin.grants == (Permission(Service.NETWORK, ("api.acme.com",)),)


async def test_an_admin_who_does_not_activate_has_not_consented(world: World, admin: Caller) -> None:
    uploaded = await world.upload(admin, manifest(security=NETWORK))
    assert uploaded.view.plugin.state is PluginState.VALIDATED


async def test_a_developer_activates_what_the_policy_grants(world: World, admin: Caller) -> None:
    developer = as_role(Role.DEVELOPER, admin.tenant_id)
    document = manifest(security={"permissions": ["cache"]})
    uploaded = await world.upload(developer, document, activate=True)
    assert uploaded.view.plugin.state is PluginState.ACTIVE
    assert uploaded.view.plugin.grants == (Permission(Service.CACHE),)


async def test_a_newer_version_replaces_the_one_that_nobody_consented_to(world: World, admin: Caller) -> None:
    await world.upload(admin, manifest(security=NETWORK))
    second = await world.upload(admin, manifest(version="1.1.0", security=NETWORK))
    assert second.view.plugin.state is PluginState.VALIDATED
    assert second.view.version.number == "1.1.0"
    assert second.consent_needed


async def test_a_new_version_leaves_the_active_one_running_unless_told(world: World, admin: Caller) -> None:
    first = await world.active(admin)
    second = await world.upload(admin, manifest(version="1.1.0"))
    assert (second.created, second.version.number) == (True, "1.1.0")
    assert second.view.version.id == first.version.id
    assert world.event_types[-2:] == [EventType.PLUGIN_UPLOADED, EventType.PLUGIN_VALIDATED]


async def test_a_new_version_with_activate_takes_over(world: World, admin: Caller) -> None:
    await world.active(admin)
    second = await world.upload(admin, manifest(version="1.1.0"), activate=True)
    assert second.view.version.number == "1.1.0"
    assert second.view.plugin.state is PluginState.ACTIVE
    assert world.event_types[-1] is EventType.PLUGIN_UPGRADED


async def test_a_new_version_that_asks_for_more_waits_while_the_old_one_runs(world: World, admin: Caller) -> None:
    first = await world.active(admin)
    developer = as_role(Role.DEVELOPER, admin.tenant_id)
    second = await world.upload(developer, manifest(version="1.1.0", security=NETWORK), activate=True)
    assert second.created
    assert second.view.version.id == first.version.id
    assert second.consent_needed == (Permission(Service.NETWORK, ("api.acme.com",)),)
    assert second.not_activated is not None
    assert "network" in second.not_activated


async def test_an_admin_s_upload_keeps_what_was_narrowed_and_grants_what_is_new(world: World, admin: Caller) -> None:
    plain = {"permissions": ["network"]}
    uploaded = await world.upload(admin, manifest(security=plain))
    named = (Permission(Service.NETWORK, ("api.acme.com",)),)
    await install(world.platform, admin, uploaded.view.plugin.id, named)
    more = {"permissions": ["network", "database"]}
    second = await world.upload(admin, manifest(version="1.1.0", security=more), activate=True)
    assert second.view.plugin.grants == (*named, Permission(Service.DATABASE))


async def test_an_upload_stays_while_its_configuration_is_incomplete(world: World, admin: Caller) -> None:
    schema = {"type": "object", "required": ["url"], "properties": {"url": {"type": "string"}}}
    uploaded = await world.upload(admin, manifest(configuration=schema), activate=True)
    assert uploaded.created
    assert uploaded.view.plugin.state is PluginState.INSTALLED
    assert uploaded.not_activated is not None
    assert "configuration" in uploaded.not_activated
    assert await world.fetch(admin, uploaded.view.plugin.id) == uploaded.view


async def test_an_upload_stays_while_a_dependency_is_only_in_the_marketplace(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    published = await world.active(other, manifest("tax"))
    await publish(world.platform, other, published.plugin.id, None)
    uploaded = await world.upload(admin, manifest(dependencies={"plugins": {"tax": "^1.0.0"}}), activate=True)
    assert uploaded.created
    assert uploaded.view.plugin.state is PluginState.VALIDATED
    assert uploaded.not_activated is not None


async def test_after_an_uninstall_the_name_is_free_again(world: World, admin: Caller) -> None:
    first = await world.upload(admin)
    await uninstall(world.platform, admin, first.view.plugin.id)
    second = await world.upload(admin)
    assert second.created
    assert second.view.plugin.id != first.view.plugin.id


async def test_two_tenants_may_hold_the_same_package(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    first, second = await world.upload(admin), await world.upload(other)
    assert second.created
    assert second.view.plugin.id != first.view.plugin.id
    assert len(world.objects.held) == 2


# uploads at the same time


async def test_of_two_uploads_at_once_one_creates_and_the_other_finds(world: World, admin: Caller) -> None:
    both = await asyncio.gather(world.upload(admin), world.upload(admin))
    assert sorted(one.created for one in both) == [False, True]
    assert len(world.store.tables.plugins) == len(world.store.tables.versions) == 1


def blind_once(monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """Let some looks for a name see nothing, as in a transaction that began before another one committed."""
    seen, real = [0], MemoryTransaction.plugin_named

    async def plugin_named(self: MemoryTransaction, name: str, **how: Any) -> PluginView | None:
        seen[0] += 1
        return None if seen[0] <= looks else await real(self, name, **how)

    monkeypatch.setattr(MemoryTransaction, "plugin_named", plugin_named)


async def test_an_upload_that_lost_the_race_finds_what_the_quicker_one_wrote(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.upload(admin)
    blind_once(monkeypatch, 2)
    second = await world.upload(admin)
    assert not second.created
    assert second.view.plugin.id == first.view.plugin.id


async def test_an_upload_that_lost_the_race_to_other_bytes_is_refused(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.upload(admin)
    rows = world.store.tables.copy()
    blind_once(monkeypatch, 2)
    with pytest.raises(VersionExists):
        await world.upload(admin, code="second")
    assert world.store.tables == rows


async def test_a_name_that_stays_taken_is_said_so(world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.upload(admin)

    async def taken(*_: Any) -> None:
        raise NameTaken

    monkeypatch.setattr(MemoryTransaction, "add_version", taken)
    with pytest.raises(NameTaken):
        await world.upload(admin, manifest(version="1.1.0"))
