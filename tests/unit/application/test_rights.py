"""Which rights plugins use, gathered beside the executions, listed, and dropped by an admin."""

from datetime import timedelta

import pytest

from plugyard.application.install import install
from plugyard.application.ports import Outcome, PageRequest
from plugyard.application.rights import all_rights, drop_rights, rights
from plugyard.application.uninstall import uninstall
from plugyard.application.uses import MOST_GATHERED, UseBook, write_uses
from plugyard.domain.errors import InvalidInput, StoreUnavailable, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.execution import ExecutionStatus
from plugyard.domain.identity import Caller
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import Plugin, PluginState
from plugyard.domain.rights import Right
from tests.memory.chance import START
from tests.memory.sandbox import USED
from tests.memory.world import World, manifest

ASKS = {"permissions": [{"service": "network", "hosts": ["*.acme.com", "old.example"]}, "database"]}
NETWORK, DATABASE = Right(Service.NETWORK), Right(Service.DATABASE)
WIDE, OLD, SEEN = (Right(Service.NETWORK, name) for name in ("*.acme.com", "old.example", "api.acme.com"))


async def used(world: World, admin: Caller, plugin_id: str, *what: Right) -> None:
    """An execution that used these rights."""
    outcome = Outcome(ExecutionStatus.SUCCEEDED, b"null", None, USED, used=frozenset(what))
    world.executor.answer("greet", outcome)
    await world.execute(admin, await world.fetch(admin, plugin_id))


async def test_a_right_is_unused_until_it_is_used_and_for_thirty_days_after_the_grant_it_is_not(
    world: World, admin: Caller
) -> None:
    plugin_id = (await world.active(admin, manifest(security=ASKS))).plugin.id
    world.clock.forward(days=29)
    assert [one.unused for one in await rights(world.platform, admin, plugin_id)] == [False] * 4
    world.clock.forward(days=1)
    await used(world, admin, plugin_id, NETWORK, WIDE, SEEN)
    found = {one.use.right: one for one in await rights(world.platform, admin, plugin_id)}
    assert {right for right, one in found.items() if one.unused} == {OLD, DATABASE}
    assert found[WIDE].use.last_used_at == world.clock()
    assert found[WIDE].use.seen == (("api.acme.com", world.clock()),)
    assert found[OLD].use.granted_at == START


async def test_a_batch_is_written_once_and_one_that_cannot_be_written_waits(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin, manifest(security=ASKS))).plugin.id
    await used(world, admin, plugin_id, DATABASE)
    assert world.store.tables.used_rights == {}
    world.store.available = False
    with pytest.raises(StoreUnavailable):
        await write_uses(world.platform)
    world.store.available = True
    assert await write_uses(world.platform) == 1
    assert await write_uses(world.platform) == 0
    assert [one.right for one in world.store.tables.used_rights] == [DATABASE]


async def test_an_admin_drops_all_that_went_unused(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin, manifest(security=ASKS))).plugin.id
    world.clock.forward(days=31)
    await used(world, admin, plugin_id, NETWORK, WIDE, SEEN)
    view = await drop_rights(world.platform, admin, plugin_id, [], unused=True)
    assert view.plugin.grants == (Permission(Service.NETWORK, ("*.acme.com",)),)
    assert world.events[-1].type is EventType.PLUGIN_RIGHTS_DROPPED
    assert world.events[-1].data["dropped"] == ["network old.example", "database"]
    assert world.actions[-1] == "plugin.rights_dropped"
    await used(world, admin, plugin_id)
    assert world.executor.invocations[-1].grants == view.plugin.grants
    # Nothing is left to drop, and nothing is told of.
    count = len(world.events)
    assert (await drop_rights(world.platform, admin, plugin_id, [], unused=True)).plugin.grants == view.plugin.grants
    assert len(world.events) == count


async def test_a_right_that_is_not_held_is_named_and_nothing_is_dropped(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin, manifest(security=ASKS))).plugin.id
    with pytest.raises(InvalidInput) as caught:
        await drop_rights(world.platform, admin, plugin_id, [DATABASE, SEEN])
    assert [error.pointer for error in caught.value.errors] == ["/rights/1"]
    assert len((await world.fetch(admin, plugin_id)).plugin.grants) == 2


async def test_what_left_has_nothing_to_drop(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin, manifest(security=ASKS))).plugin.id
    await uninstall(world.platform, admin, plugin_id)
    with pytest.raises(WrongState):
        await drop_rights(world.platform, admin, plugin_id, [], unused=True)


async def test_a_right_that_is_granted_again_counts_from_then(world: World, admin: Caller) -> None:
    plugin_id = (await world.active(admin, manifest(security=ASKS))).plugin.id
    await drop_rights(world.platform, admin, plugin_id, [DATABASE])
    world.clock.forward(days=10)
    await install(world.platform, admin, plugin_id, None)
    found = {one.use.right: one.use.granted_at for one in await rights(world.platform, admin, plugin_id)}
    assert found[DATABASE] == START + timedelta(days=10)
    assert found[WIDE] == START


async def test_the_tenant_s_rights_come_in_pages_and_are_its_own(world: World, admin: Caller) -> None:
    other = await world.caller("other")
    for caller, name in ((admin, "b"), (admin, "a"), (other, "foreign")):
        await world.active(caller, manifest(name, security=ASKS))
    found, cursor = [], None
    while True:
        page = await all_rights(world.platform, admin, PageRequest(3, cursor), unused=False)
        found += [(one.plugin.name, one.use.right.key) for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    keys = sorted(right.key for right in (NETWORK, WIDE, OLD, DATABASE))
    assert found == [(name, key) for name in ("a", "b") for key in keys]
    assert (await all_rights(world.platform, admin, PageRequest(), unused=True)).items == ()
    world.clock.forward(days=30)
    assert len((await all_rights(world.platform, admin, PageRequest(), unused=True)).items) == 8


@pytest.mark.parametrize("cursor", ["!", "bm9uc2Vuc2U", "W10"])
async def test_a_cursor_of_nowhere_is_refused(world: World, admin: Caller, cursor: str) -> None:
    with pytest.raises(InvalidInput):
        await all_rights(world.platform, admin, PageRequest(3, cursor), unused=False)


def test_the_book_is_bounded_and_never_forgets_what_a_grant_spells_out() -> None:
    book = UseBook()
    grants = (Permission(Service.NETWORK, ("*.acme.com", "old.example")),)
    plugin = Plugin("p", "t", "greeter", PluginState.ACTIVE, "v", START, START, grants=grants)
    for number in range(MOST_GATHERED + 50):
        book.note(plugin, [Right(Service.NETWORK, f"h{number}.acme.com")], START)
    book.note(plugin, [OLD, NETWORK], START)
    taken = book.take()
    assert len(taken) == MOST_GATHERED + 2
    assert {one.right for one in taken} >= {OLD, NETWORK}
    assert book.take() == {}
