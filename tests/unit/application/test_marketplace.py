"""A tenant offers a version; others find it, install it, upgrade it and rate it."""

from dataclasses import dataclass
from typing import Any

import pytest

from plugyard.application.activate import ConfigurationIncomplete, deactivate
from plugyard.application.install import install
from plugyard.application.marketplace import (
    categories,
    featured,
    install_listing,
    listing,
    publish,
    rate,
    ratings,
    search,
    withdraw,
)
from plugyard.application.ports import ListingFilter, PageRequest
from plugyard.application.uninstall import uninstall
from plugyard.application.upgrade import ConsentRequired, upgrade
from plugyard.domain.errors import (
    Conflict,
    DependencyConflict,
    Forbidden,
    InvalidInput,
    NameTaken,
    NotFound,
    WrongState,
)
from plugyard.domain.events import EventType
from plugyard.domain.identity import Caller
from plugyard.domain.marketplace import Listing
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginState, PluginView
from tests.memory.world import World, manifest


@dataclass
class Market:
    """A publisher with a listing, and a tenant that may install it."""

    world: World
    publisher: Caller
    guest: Caller
    view: PluginView
    listing: Listing

    async def newer(self, version: str = "1.1.0", **more: Any) -> Listing:
        """The publisher offers another version."""
        await self.world.upload(self.publisher, manifest(version=version, **more))
        self.listing = await publish(self.world.platform, self.publisher, self.view.plugin.id, version)
        return self.listing

    async def installed(self, *, activate: bool = True) -> PluginView:
        """The listing as the guest installed it."""
        return await install_listing(self.world.platform, self.guest, self.listing.id, None, activate=activate)


@pytest.fixture
async def market(world: World, admin: Caller) -> Market:
    view = await world.active(admin)
    offered = await publish(world.platform, admin, view.plugin.id, None)
    return Market(world, admin, await world.caller("guest"), view, offered)


# publishing


async def test_publishing_offers_the_version_in_use_to_everyone(market: Market) -> None:
    found = await listing(market.world.platform, market.guest, market.listing.id)
    assert (found.name, found.version, found.digest) == ("greeter", "1.0.0", market.view.version.digest)
    assert (found.tenant_id, found.installations, found.rating) == (market.publisher.tenant_id, 0, None)
    assert market.world.event_types[-1] is EventType.PLUGIN_PUBLISHED


async def test_publishing_again_replaces_the_version_and_keeps_ratings_and_installations(market: Market) -> None:
    await market.installed()
    await rate(market.world.platform, market.guest, market.listing.id, 4, "good")
    first = market.listing.id
    await market.newer()
    found = await listing(market.world.platform, market.guest, first)
    assert (found.version, found.installations, found.rating) == ("1.1.0", 1, 4.0)


async def test_a_version_that_is_not_there_cannot_be_published(market: Market) -> None:
    with pytest.raises(NotFound, match=r"9\.0\.0"):
        await publish(market.world.platform, market.publisher, market.view.plugin.id, "9.0.0")


async def test_a_plugin_that_was_never_installed_cannot_be_published(world: World, admin: Caller) -> None:
    waiting = await world.upload(admin, manifest(security={"permissions": ["database"]}))
    with pytest.raises(WrongState) as caught:
        await publish(world.platform, admin, waiting.view.plugin.id, None)
    assert (caught.value.state, caught.value.allowed) == ("validated", ("install", "uninstall", "upgrade"))


async def test_a_listing_needs_words_to_be_judged_by(world: World, admin: Caller) -> None:
    view = await world.active(admin, {"metadata": {"name": "bare", "version": "1.0.0"}, "runtime": "python"})
    with pytest.raises(InvalidInput) as caught:
        await publish(world.platform, admin, view.plugin.id, None)
    assert [error.pointer.rsplit("/", 1)[1] for error in caught.value.errors] == ["description", "author", "category"]


async def test_a_name_belongs_to_whoever_published_it_first(market: Market) -> None:
    other = await market.world.caller("other")
    mine = await market.world.active(other)
    with pytest.raises(NameTaken):
        await publish(market.world.platform, other, mine.plugin.id, None)


async def test_what_came_from_the_marketplace_is_published_by_its_publisher_alone(market: Market) -> None:
    copy = await market.installed()
    with pytest.raises(Forbidden):
        await publish(market.world.platform, market.guest, copy.plugin.id, None)


async def test_a_withdrawn_listing_is_found_no_more_and_may_come_back(market: Market) -> None:
    platform = market.world.platform
    copy = await market.installed()
    withdrawn = await withdraw(platform, market.publisher, market.view.plugin.id)
    assert withdrawn.withdrawn_at == market.world.clock()
    assert market.world.event_types[-1] is EventType.PLUGIN_WITHDRAWN
    with pytest.raises(NotFound):
        await listing(platform, market.guest, market.listing.id)
    with pytest.raises(Conflict, match="not published"):
        await withdraw(platform, market.publisher, market.view.plugin.id)
    await market.world.execute(market.guest, copy)
    again = await publish(platform, market.publisher, market.view.plugin.id, None)
    assert (again.id, again.installations) == (market.listing.id, 1)


async def test_uninstalling_withdraws_the_listing(market: Market) -> None:
    await uninstall(market.world.platform, market.publisher, market.view.plugin.id)
    assert list(await featured(market.world.platform, market.guest, 10)) == []
    assert EventType.PLUGIN_WITHDRAWN in market.world.event_types


# finding


async def test_listings_are_found_by_words_and_category(market: Market) -> None:
    platform = market.world.platform
    for q, category, count in (("greets PEOPLE", None, 1), ("taxes", None, 0), (None, "utility", 1), (None, "x", 0)):
        page = await search(platform, market.guest, ListingFilter(category, q), PageRequest())
        assert len(page.items) == count, (q, category)


async def test_the_featured_are_the_best_first_and_categories_are_counted(market: Market) -> None:
    better = await market.world.active(market.publisher, manifest("better"))
    await publish(market.world.platform, market.publisher, better.plugin.id, None)
    found = await search(market.world.platform, market.guest, ListingFilter(q="better"), PageRequest())
    await install_listing(market.world.platform, market.guest, found.items[0].id, None, activate=False)
    names = [one.name for one in await featured(market.world.platform, market.guest, 10)]
    assert names == ["better", "greeter"]
    assert len(await featured(market.world.platform, market.guest, 1)) == 1
    (category,) = await categories(market.world.platform, market.guest)
    assert (category.name, category.count) == ("utility", 2)


# installing


async def test_installing_copies_the_version_into_the_tenant(market: Market) -> None:
    copy = await market.installed()
    assert copy.plugin.state is PluginState.ACTIVE
    assert copy.plugin.tenant_id == market.guest.tenant_id
    assert copy.plugin.origin_listing_id == market.listing.id
    assert copy.version.digest == market.view.version.digest
    assert copy.version.id != market.view.version.id
    assert (await listing(market.world.platform, market.guest, market.listing.id)).installations == 1
    told = [event.type for event in market.world.events if event.plugin_id == copy.plugin.id]
    assert told == [EventType.PLUGIN_VALIDATED, EventType.PLUGIN_INSTALLED, EventType.PLUGIN_ACTIVATED]
    await market.world.execute(market.guest, copy)
    asked = market.world.executor.invocations[-1]
    assert (asked.tenant_id, await asked.bundle()) == (
        market.guest.tenant_id,
        await market.world.objects.get(f"bundles/sha256/{asked.digest[:2]}/{asked.digest}.json"),
    )


async def test_an_installer_grants_less_and_never_more(market: Market) -> None:
    offered = await market.newer("2.0.0", security={"permissions": ["database", "cache"]})
    platform = market.world.platform
    cache = Permission(Service.CACHE)
    with pytest.raises(InvalidInput):
        await install_listing(platform, market.guest, offered.id, [Permission(Service.EVENTS)], activate=False)
    copy = await install_listing(platform, market.guest, offered.id, [cache], activate=False)
    assert (copy.plugin.grants, copy.plugin.state) == ((cache,), PluginState.INSTALLED)


async def test_the_publisher_itself_cannot_install_its_listing(market: Market) -> None:
    with pytest.raises(Conflict, match="your own"):
        await install_listing(market.world.platform, market.publisher, market.listing.id, None, activate=False)


async def test_a_name_that_the_tenant_uses_already_is_taken(market: Market) -> None:
    await market.installed()
    rows = market.world.store.tables.copy()
    with pytest.raises(NameTaken):
        await market.installed()
    assert market.world.store.tables == rows


async def test_an_install_that_cannot_be_activated_leaves_nothing(market: Market) -> None:
    await deactivate(market.world.platform, market.publisher, market.view.plugin.id)
    offered = await market.newer("2.0.0", configuration={"type": "object", "required": ["url"]})
    rows = market.world.store.tables.copy()
    with pytest.raises(ConfigurationIncomplete):
        await install_listing(market.world.platform, market.guest, offered.id, None, activate=True)
    assert market.world.store.tables == rows


async def test_an_install_without_its_dependencies_leaves_nothing(market: Market) -> None:
    await market.world.upload(market.publisher, manifest("tax"))
    offered = await market.newer("2.0.0", dependencies={"plugins": {"tax": "*"}})
    rows = market.world.store.tables.copy()
    with pytest.raises(DependencyConflict):
        await install_listing(market.world.platform, market.guest, offered.id, None, activate=False)
    assert market.world.store.tables == rows


async def test_a_listing_that_is_not_there_is_missing_everywhere(market: Market) -> None:
    platform, guest = market.world.platform, market.guest
    for attempt in (
        listing(platform, guest, "no-such-id"),
        install_listing(platform, guest, "no-such-id", None, activate=False),
        rate(platform, guest, "no-such-id", 5, ""),
        ratings(platform, guest, "no-such-id", PageRequest()),
    ):
        with pytest.raises(NotFound, match="no listing"):
            await attempt


# upgrading from a listing


async def test_an_installed_listing_is_upgraded_to_what_is_offered_now(market: Market) -> None:
    copy = await market.installed()
    await market.newer()
    upgraded = await upgrade(market.world.platform, market.guest, copy.plugin.id, None, None)
    assert (upgraded.version.number, upgraded.version.tenant_id) == ("1.1.0", market.guest.tenant_id)
    await market.newer("1.2.0")
    assert (await upgrade(market.world.platform, market.guest, copy.plugin.id, "1.2.0", None)).version.number == "1.2.0"
    with pytest.raises(Conflict):
        await upgrade(market.world.platform, market.guest, copy.plugin.id, None, None)


async def test_an_upgrade_from_a_listing_that_asks_for_more_waits_for_consent(market: Market) -> None:
    copy = await market.installed()
    await market.newer(security={"permissions": ["database"]})
    with pytest.raises(ConsentRequired):
        await upgrade(market.world.platform, market.guest, copy.plugin.id, None, None)
    kept = await market.world.fetch(market.guest, copy.plugin.id)
    assert (kept.version.number, kept.plugin.waiting and kept.plugin.waiting.version) == ("1.0.0", "1.1.0")


@pytest.mark.parametrize("number", [None, "3.0.0"])
async def test_a_listing_that_offers_nothing_newer_changes_nothing(market: Market, number: str | None) -> None:
    await market.newer()
    copy = await market.installed()
    await publish(market.world.platform, market.publisher, market.view.plugin.id, "1.0.0")
    with pytest.raises((Conflict, NotFound)):
        await upgrade(market.world.platform, market.guest, copy.plugin.id, number, None)


async def test_a_withdrawn_listing_leaves_its_copies_as_they_are(market: Market) -> None:
    copy = await market.installed()
    await withdraw(market.world.platform, market.publisher, market.view.plugin.id)
    with pytest.raises(Conflict):
        await upgrade(market.world.platform, market.guest, copy.plugin.id, None, None)
    await install(market.world.platform, market.guest, copy.plugin.id, [])


# rating


async def test_a_tenant_has_one_rating_and_may_change_it(market: Market) -> None:
    platform = market.world.platform
    await market.installed()
    await rate(platform, market.guest, market.listing.id, 2, "meh")
    market.world.clock.forward(days=1)
    await rate(platform, market.guest, market.listing.id, 5, "better now")
    assert (await listing(platform, market.guest, market.listing.id)).rating == 5.0
    (one,) = (await ratings(platform, market.publisher, market.listing.id, PageRequest())).items
    assert (one.stars, one.review, one.updated_at > one.created_at) == (5, "better now", True)
    assert market.world.events[-1].type is EventType.PLUGIN_RATED
    assert market.world.events[-1].data["stars"] == 5


@pytest.mark.parametrize("stars", [0, 6, -1])
async def test_a_rating_has_one_to_five_stars(market: Market, stars: int) -> None:
    await market.installed()
    with pytest.raises(InvalidInput) as caught:
        await rate(market.world.platform, market.guest, market.listing.id, stars, "")
    assert caught.value.errors[0].pointer == "/stars"


async def test_only_who_installed_a_listing_rates_it(market: Market) -> None:
    platform = market.world.platform
    with pytest.raises(Forbidden, match="has installed"):
        await rate(platform, market.guest, market.listing.id, 5, "")
    own = await market.world.active(market.guest)  # another plugin that only shares the name
    with pytest.raises(Forbidden, match="has installed"):
        await rate(platform, market.guest, market.listing.id, 5, "")
    await uninstall(platform, market.guest, own.plugin.id)
    copy = await market.installed()
    await uninstall(platform, market.guest, copy.plugin.id)
    with pytest.raises(Forbidden, match="has installed"):
        await rate(platform, market.guest, market.listing.id, 5, "")
    assert (await listing(platform, market.guest, market.listing.id)).rating is None


async def test_a_publisher_cannot_rate_its_own_listing(market: Market) -> None:
    with pytest.raises(Forbidden, match="own listing"):
        await rate(market.world.platform, market.publisher, market.listing.id, 5, "")
