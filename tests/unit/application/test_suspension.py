"""What an operator decides for a tenant holds at once, for what was there before as well."""

import asyncio

import pytest

from plugyard.application.changes import Change, Changed, heard
from plugyard.application.executable import Call, Executed
from plugyard.application.execute import execute
from plugyard.application.marketplace import categories, featured, install_listing, listing, publish, search
from plugyard.application.ports import Invocation, ListingFilter, Outcome, PageRequest
from plugyard.application.tenants import (
    Changes,
    change_tenant,
    own_tenant,
    require_active,
    resume,
    set_policy,
    suspend,
    tenant,
)
from plugyard.application.upgrade import upgrade
from plugyard.domain.errors import Conflict, Forbidden, InvalidInput, NotFound, NotGrantable, TenantSuspended
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Caller, Role
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginState, PluginView
from plugyard.domain.tenants import TenantState
from tests.memory.sandbox import succeeded
from tests.memory.world import World, as_role, manifest

OPERATOR = as_role(Role.OPERATOR, None)
ASKS = manifest(security={"permissions": ["cache", "database"]})


def of(caller: Caller) -> str:
    assert caller.tenant_id is not None
    return caller.tenant_id


async def test_a_suspended_tenant_is_told_why_and_an_operator_goes_on_seeing_it(world: World, admin: Caller) -> None:
    await require_active(world.platform, admin)
    stands = await suspend(world.platform, OPERATOR, of(admin), "The bill is open.")
    assert (stands.state, stands.suspended_at) == (TenantState.SUSPENDED, world.clock())
    with pytest.raises(TenantSuspended, match="The bill is open") as raised:
        await require_active(world.platform, admin)
    assert raised.value.reason == "The bill is open."
    named = as_role(Role.OPERATOR, of(admin))
    await require_active(world.platform, named)
    assert (await own_tenant(world.platform, named)).suspended_because == "The bill is open."
    assert "tenant.suspended" in world.actions


async def test_nothing_of_a_suspended_tenant_executes_whoever_asks(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.execute(admin, view)
    await suspend(world.platform, OPERATOR, of(admin), "abuse")
    for caller in (admin, as_role(Role.OPERATOR, of(admin))):
        with pytest.raises(TenantSuspended):
            await world.execute(caller, view)
    assert len(world.executor.invocations) == 1
    await world.quiet()
    assert world.executor.forgotten == [view.plugin.id]


async def test_another_process_learns_of_a_suspension_when_its_copies_age_out(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await world.execute(admin, view)
    await require_active(world.platform, admin)
    async with world.store.for_operator() as tx:  # as another process writes it
        await tx.save_state(of(admin), TenantState.SUSPENDED, "abuse", world.clock())
    await require_active(world.platform, admin)
    world.clock.forward(seconds=1.1)
    with pytest.raises(TenantSuspended):
        await require_active(world.platform, admin)
    with pytest.raises(TenantSuspended):
        await world.execute(admin, view)


async def _running(
    world: World, admin: Caller, view: PluginView
) -> tuple[asyncio.Future[Executed], str, asyncio.Event]:
    """An execution that is under way until the event is set, and its id."""
    began, gate = asyncio.Event(), asyncio.Event()

    async def waits(invocation: Invocation) -> Outcome:
        began.set()
        await gate.wait()
        return succeeded()

    world.executor.scripts["greet"] = waits
    running = asyncio.ensure_future(world.execute(admin, view))
    await began.wait()
    (execution_id,) = world.platform.running
    return running, execution_id, gate


@pytest.mark.parametrize("let_finish", [False, True])
async def test_what_runs_is_cancelled_or_finishes_as_the_operator_says(
    world: World, admin: Caller, let_finish: bool
) -> None:
    view = await world.active(admin)
    running, execution_id, gate = await _running(world, admin, view)
    await suspend(world.platform, OPERATOR, of(admin), "abuse", let_finish=let_finish)
    assert world.executor.cancelled == ([] if let_finish else [execution_id])
    gate.set()
    assert (await running).execution.status is ExecutionStatus.SUCCEEDED


async def test_what_runs_is_cancelled_when_another_replica_suspends(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    running, execution_id, gate = await _running(world, admin, view)
    await heard(world.platform, Change(Changed.HALTED, "another tenant"))
    await heard(world.platform, Change(Changed.TENANT, of(admin), "suspended"))
    assert world.executor.cancelled == [], "it may have been let finish"
    await heard(world.platform, Change(Changed.HALTED, of(admin)))
    assert world.executor.cancelled == [execution_id]
    gate.set()
    await running
    # One that was on its way from the look at its plugin, which nothing here has changed, is refused.
    with pytest.raises(TenantSuspended):
        await world.execute(admin, view)
    await require_active(world.platform, admin)
    await heard(world.platform, Change(Changed.TENANT, of(admin), "active"))
    world.executor.scripts.clear()
    assert (await world.execute(admin, view)).execution.status is ExecutionStatus.SUCCEEDED


async def test_a_call_that_is_on_its_way_when_its_tenant_is_suspended_does_not_execute(
    world: World, admin: Caller
) -> None:
    view = await world.active(admin)
    store, reached, go = world.store, asyncio.Event(), asyncio.Event()
    original = store.for_tenant

    def slow(tenant_id: str):  # type: ignore[no-untyped-def]
        transaction = original(tenant_id)

        class Slow:
            async def __aenter__(self):  # type: ignore[no-untyped-def]
                reached.set()
                await go.wait()
                return await transaction.__aenter__()

            async def __aexit__(self, *how):  # type: ignore[no-untyped-def]
                return await transaction.__aexit__(*how)

        return Slow()

    await world.execute(admin, view)  # what it needs is cached now, so the claim of the key is what it waits for
    store.for_tenant = slow  # type: ignore[method-assign]
    call = Call("greet", idempotency_key="once")
    attempt = asyncio.ensure_future(execute(world.platform, admin, view.plugin.id, call))
    await reached.wait()
    store.for_tenant = original  # type: ignore[method-assign]
    await suspend(world.platform, OPERATOR, of(admin), "abuse")
    go.set()
    with pytest.raises(TenantSuspended):
        await attempt
    assert len(world.executor.invocations) == 1


async def test_a_tenant_that_is_resumed_goes_on_as_it_was(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    with pytest.raises(Conflict):
        await resume(world.platform, OPERATOR, of(admin))
    await suspend(world.platform, OPERATOR, of(admin), "first")
    since = world.clock()
    world.clock.forward(hours=1)
    assert (await suspend(world.platform, OPERATOR, of(admin), "second")).suspended_at == since
    resumed = await resume(world.platform, OPERATOR, of(admin))
    assert (resumed.state, resumed.suspended_because, resumed.suspended_at) == (TenantState.ACTIVE, None, None)
    await require_active(world.platform, admin)
    assert (await world.execute(admin, view)).execution.status is ExecutionStatus.SUCCEEDED


async def test_the_listings_of_a_suspended_tenant_are_hidden_and_installed_copies_go_on(
    world: World, admin: Caller
) -> None:
    offered = await publish(world.platform, admin, (await world.active(admin)).plugin.id, None)
    other = await world.caller("other")
    copy = await install_listing(world.platform, other, offered.id, None, activate=True)
    await suspend(world.platform, OPERATOR, of(admin), "abuse")
    assert (await search(world.platform, other, ListingFilter(), PageRequest())).items == ()
    assert list(await featured(world.platform, other, 5)) == []
    assert list(await categories(world.platform, other)) == []
    with pytest.raises(NotFound):
        await listing(world.platform, other, offered.id)
    third = await world.caller("third")
    with pytest.raises(NotFound):
        await install_listing(world.platform, third, offered.id, None, activate=False)
    assert (await world.execute(other, copy)).execution.status is ExecutionStatus.SUCCEEDED
    with pytest.raises(Conflict):
        await upgrade(world.platform, other, copy.plugin.id, None, None)
    await resume(world.platform, OPERATOR, of(admin))
    assert [one.id for one in (await search(world.platform, other, ListingFilter(), PageRequest())).items] == [
        offered.id
    ]


async def test_only_operators_bound_and_suspend(world: World, admin: Caller) -> None:
    for attempt in (
        suspend(world.platform, admin, of(admin), "me"),
        resume(world.platform, admin, of(admin)),
        change_tenant(world.platform, admin, of(admin), Changes()),
        tenant(world.platform, admin, of(admin)),
    ):
        with pytest.raises(Forbidden):
            await attempt
    for attempt in (
        suspend(world.platform, OPERATOR, "gone", "me"),
        resume(world.platform, OPERATOR, "gone"),
        change_tenant(world.platform, OPERATOR, "gone", Changes()),
        tenant(world.platform, OPERATOR, "gone"),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_a_service_that_may_not_be_granted_is_refused_wherever_it_is_granted(world: World, admin: Caller) -> None:
    bounds = Changes(grantable=frozenset({Service.CACHE}))
    await change_tenant(world.platform, OPERATOR, of(admin), bounds)
    uploaded = await world.upload(admin, ASKS, activate=True)
    assert uploaded.view.plugin.state is PluginState.VALIDATED
    assert uploaded.not_activated is not None
    assert "database" in uploaded.not_activated
    with pytest.raises(NotGrantable, match="database"):
        await world.active(admin, ASKS)
    newer = manifest("plain", security={"permissions": ["cache"]})
    plain = await world.active(admin, newer, code="plain")
    await world.upload(
        admin, manifest("plain", "1.1.0", security={"permissions": ["cache", "events"]}), code="asks for more"
    )
    with pytest.raises(NotGrantable, match="events"):
        await upgrade(
            world.platform,
            admin,
            plain.plugin.id,
            None,
            (*plain.version.manifest.permissions, Permission(Service.EVENTS)),
        )


async def test_a_service_that_is_taken_away_is_taken_from_plugins_that_have_it(world: World, admin: Caller) -> None:
    view = await world.active(admin, ASKS)
    await world.execute(admin, view)
    assert {one.service for one in world.executor.invocations[-1].grants} == {Service.CACHE, Service.DATABASE}
    await change_tenant(world.platform, OPERATOR, of(admin), Changes(grantable=frozenset({Service.CACHE})))
    await world.execute(admin, view)
    assert {one.service for one in world.executor.invocations[-1].grants} == {Service.CACHE}


async def test_a_policy_grants_by_itself_only_what_the_operator_lets_it(world: World, admin: Caller) -> None:
    await set_policy(world.platform, admin, [Service.DATABASE, Service.CACHE])
    bounds = Changes(auto_grantable=frozenset({Service.CACHE}))
    await change_tenant(world.platform, OPERATOR, of(admin), bounds)
    assert (await world.upload(admin, ASKS)).view.plugin.state is PluginState.VALIDATED
    with pytest.raises(InvalidInput) as raised:
        await set_policy(world.platform, admin, [Service.DATABASE])
    assert [one.message for one in raised.value.errors] == ["database"]


async def test_ceilings_hold_for_what_is_installed_and_lower_nothing_that_is_lower(world: World, admin: Caller) -> None:
    document = manifest(security={"resourceLimits": {"memory": 512, "timeout": 100}})
    view = await world.active(admin, document)
    ceilings = RequestedLimits(memory_mb=256, timeout_ms=5_000, cpu_ms=50, service_kb=10)
    await change_tenant(world.platform, OPERATOR, of(admin), Changes(ceilings=ceilings))
    await world.execute(admin, view)
    held = world.executor.invocations[-1].limits
    assert (held.memory_bytes >> 20, held.timeout_ms, held.cpu_ms, held.service_bytes) == (256, 100, 50, 10 << 10)
    await world.execute(admin, view, limits=RequestedLimits(memory_mb=64))
    assert world.executor.invocations[-1].limits.memory_bytes >> 20 == 64
    plain = await world.active(admin, manifest("plain"), code="plain")
    await world.execute(admin, plain)
    held = world.executor.invocations[-1].limits
    assert (held.memory_bytes >> 20, held.timeout_ms) == (128, 5_000), "a default is not raised to a ceiling"


async def test_what_is_not_named_stays_as_it_was(world: World, admin: Caller) -> None:
    await change_tenant(world.platform, OPERATOR, of(admin), Changes(ceilings=RequestedLimits(memory_mb=64)))
    changed = await change_tenant(world.platform, OPERATOR, of(admin), Changes(modules_denied=["csv"]))
    assert (changed.bounds.ceilings.memory_mb, changed.modules_denied) == (64, ("csv",))
    entries = world.actions
    assert entries.count("tenant.bounded") == 1
    assert entries.count("tenant.modules_denied") == 1


async def test_a_tenant_that_another_process_resumes_goes_on_here_as_well(world: World, admin: Caller) -> None:
    view = await world.active(admin)
    await suspend(world.platform, OPERATOR, of(admin), "abuse")
    async with world.store.for_operator() as tx:  # as another process writes it
        await tx.save_state(of(admin), TenantState.ACTIVE, None, world.clock())
    with pytest.raises(TenantSuspended):
        await require_active(world.platform, admin)
    world.clock.forward(minutes=1, seconds=1)
    await require_active(world.platform, admin)
    assert (await world.execute(admin, view)).execution.status is ExecutionStatus.SUCCEEDED
