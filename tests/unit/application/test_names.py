"""Names that imitate, from the upload to the marketplace."""

import pytest

from plugyard.application import quarantine
from plugyard.application.marketplace import publish, withdraw
from plugyard.application.platform import Policies
from plugyard.application.signing import set_publisher
from plugyard.domain.errors import NameTaken
from plugyard.domain.identity import Caller, Role
from plugyard.domain.report import Consequence
from plugyard.domain.rules import RuleSettings
from plugyard.gate.rules import RULES
from tests.memory.world import World, as_role, manifest

OPERATOR = as_role(Role.OPERATOR, None)


@pytest.fixture
async def seller(world: World) -> Caller:
    """A publisher whose plugin invoice-totals is in the marketplace."""
    caller = await world.caller("seller")
    view = await world.active(caller, manifest("invoice-totals"))
    await publish(world.platform, caller, view.plugin.id, None)
    return caller


async def _rules(world: World, caller: Caller, name: str, author: str = "Ada") -> dict[str, Consequence]:
    document = manifest(name)
    document["metadata"]["author"] = author
    done = await world.upload(caller, document)
    return {one.rule: one.consequence for one in done.report.findings}


@pytest.mark.parametrize("name", ["invoicetotals", "inv0ice-totals", "invoice-total", "invoice-toatls"])
async def test_a_name_that_reads_like_a_listing_waits_for_an_operator(world: World, seller: Caller, name: str) -> None:
    other = await world.caller("other")
    done = await world.upload(other, manifest(name), activate=True)
    (finding,) = done.report.findings
    assert (finding.rule, finding.where) == ("names.imitates-plugin", "plugin.json#/metadata/name")
    assert "'invoice-totals'" in finding.what
    assert done.standing is not None
    assert done.not_activated


async def test_the_same_name_another_name_and_ones_own_names_are_no_imitation(world: World, seller: Caller) -> None:
    other = await world.caller("other")
    assert await _rules(world, other, "invoice-totals") == {}
    assert await _rules(world, other, "weather-report") == {}
    assert await _rules(world, seller, "invoice-total") == {}


async def test_a_short_name_that_is_a_letter_away_is_only_shown(world: World) -> None:
    seller, other = await world.caller("seller"), await world.caller("other")
    view = await world.active(seller, manifest("notes"))
    await publish(world.platform, seller, view.plugin.id, None)
    assert await _rules(world, other, "votes") == {"names.similar-to-plugin": Consequence.SHOW}


async def test_once_released_the_next_version_is_only_told(world: World, seller: Caller) -> None:
    other = await world.caller("other")
    done = await world.upload(other, manifest("invoice-total"))
    await quarantine.release(world.platform, OPERATOR, done.version.id, "They are two houses.")
    again = await world.upload(other, manifest("invoice-total", "1.1.0"))
    assert [(one.rule, one.consequence) for one in again.report.findings] == [
        ("names.imitates-plugin", Consequence.SHOW)
    ]
    assert again.standing is None


async def test_a_withdrawn_listing_is_imitated_by_nobody(world: World, seller: Caller) -> None:
    (plugin,) = [one for one in world.store.tables.plugins.values() if one.name == "invoice-totals"]
    await withdraw(world.platform, seller, plugin.id)
    assert await _rules(world, await world.caller("other"), "invoice-total") == {}


async def test_an_operator_may_switch_the_rule_off(world: World, seller: Caller) -> None:
    rules = RuleSettings.of(["names.*=off"], RULES)
    object.__setattr__(world.platform, "policies", Policies(rules=rules))
    assert await _rules(world, await world.caller("other"), "invoice-total") == {}


async def test_an_author_that_reads_like_a_verified_publisher_waits(world: World) -> None:
    publisher, other = await world.caller("publisher"), await world.caller("other")
    assert publisher.tenant_id is not None
    assert await _rules(world, other, "before", "Acme Inc.") == {}
    await set_publisher(world.platform, OPERATOR, publisher.tenant_id, "Acme Incorporated", verified=True)
    assert await _rules(world, other, "after", "ACME") == {"names.imitates-publisher": Consequence.QUARANTINE}
    assert await _rules(world, other, "another", "Ada") == {}
    assert await _rules(world, publisher, "own", "Acme") == {}


async def test_what_came_before_the_listing_that_it_is_like_is_not_published_beside_it(world: World) -> None:
    early, seller = await world.caller("early"), await world.caller("seller")
    view = await world.active(early, manifest("invoice-total"))
    sold = await world.active(seller, manifest("invoice-totals"))
    await publish(world.platform, seller, sold.plugin.id, None)
    with pytest.raises(NameTaken, match="invoice-totals"):
        await publish(world.platform, early, view.plugin.id, None)
    assert early.tenant_id is not None
    await set_publisher(world.platform, OPERATOR, early.tenant_id, "Early Birds", verified=True)
    assert (await publish(world.platform, early, view.plugin.id, None)).name == "invoice-total"


async def test_what_an_operator_released_may_be_published(world: World, seller: Caller) -> None:
    other = await world.caller("other")
    done = await world.upload(other, manifest("invoice-total"))
    await quarantine.release(world.platform, OPERATOR, done.version.id, "They are two houses.")
    again = await world.upload(other, manifest("invoice-total"), activate=True)
    assert (await publish(world.platform, other, again.view.plugin.id, None)).name == "invoice-total"
