"""The store's marketplace: what one tenant publishes, every tenant reads, and only the database counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from plugyard.application.ports import ListingFilter, PageRequest
from plugyard.domain.errors import NameTaken
from plugyard.domain.health import Health, HealthStatus
from plugyard.domain.marketplace import Category, Listing
from tests.contract.conftest import Stored
from tests.contract.given import NOW, a_manifest, a_rating, a_stored_listing, a_tenant, ago, new_id


async def _read(stored: Stored, tenant_id: str, listing_id: str) -> Listing:
    async with stored.store.for_tenant(tenant_id) as tx:
        listing = await tx.listing(listing_id)
    assert listing is not None
    return listing


async def test_a_published_listing_is_every_tenants_to_read(stored: Stored) -> None:
    listing, reader = await a_stored_listing(stored.store, health_score=97), await a_tenant(stored.store)
    async with stored.store.for_tenant(reader.id) as tx:
        assert await tx.listing(listing.id) == listing
        assert await tx.listing_named(listing.name) == listing
        assert await tx.listing_of(listing.plugin_id) is None
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        assert await tx.listing_of(listing.plugin_id) == listing


async def test_a_withdrawn_listing_is_seen_by_its_publisher_alone(stored: Stored) -> None:
    listing, reader = await a_stored_listing(stored.store), await a_tenant(stored.store)
    withdrawn = replace(listing, withdrawn_at=NOW)
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        await tx.save_listing(withdrawn)
    async with stored.store.for_tenant(reader.id) as tx:
        assert await tx.listing(listing.id) is None
        assert await tx.listing_named(listing.name) is None
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        assert await tx.listing(listing.id) is None
        assert await tx.listing(listing.id, withdrawn=True) == withdrawn
        assert await tx.listing_of(listing.plugin_id) == withdrawn


async def test_a_name_stays_its_publishers_even_when_withdrawn(stored: Stored) -> None:
    listing = await a_stored_listing(stored.store)
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        await tx.save_listing(replace(listing, withdrawn_at=NOW))
    with pytest.raises(NameTaken):
        await a_stored_listing(stored.store, listing.name)
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        await tx.save_listing(listing)
    assert await _read(stored, listing.tenant_id, listing.id) == listing


async def test_ratings_and_installations_add_up_and_a_publishers_save_leaves_them(stored: Stored) -> None:
    listing = await a_stored_listing(stored.store)
    raters = [await a_tenant(stored.store) for _ in range(3)]
    for rater, stars in zip(raters, (5, 4, 1), strict=True):
        async with stored.store.for_tenant(rater.id) as tx:
            await tx.rate(a_rating(rater.id, listing.id, stars))
            await tx.count_installation(listing.id)
    async with stored.store.for_tenant(raters[0].id) as tx:
        await tx.rate(a_rating(raters[0].id, listing.id, 2, review="Worse now.", updated_at=NOW))
    counted = await _read(stored, raters[0].id, listing.id)
    assert (counted.rating_sum, counted.rating_count, counted.installations) == (7, 3, 3)

    async with stored.store.for_tenant(listing.tenant_id) as tx:
        await tx.save_listing(listing)
    assert await _read(stored, listing.tenant_id, listing.id) == counted


async def test_one_rating_per_tenant_keeps_its_first_day_and_the_newest_comes_first(stored: Stored) -> None:
    listing = await a_stored_listing(stored.store)
    early, late = await a_tenant(stored.store), await a_tenant(stored.store)
    first = a_rating(early.id, listing.id, 5, created_at=ago(days=2), updated_at=ago(days=2))
    second = a_rating(late.id, listing.id, 3, created_at=ago(days=1), updated_at=ago(days=1))
    changed = replace(first, stars=4, review="Ä", created_at=NOW, updated_at=NOW)
    for rating in (first, second, changed):
        async with stored.store.for_tenant(rating.tenant_id) as tx:
            await tx.rate(rating)
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        page = await tx.ratings(listing.id, PageRequest(1))
        rest = await tx.ratings(listing.id, PageRequest(1, page.next_cursor))
    assert page.items == (replace(changed, created_at=first.created_at),)
    assert rest.items == (second,)
    assert rest.next_cursor is None


async def test_search_finds_by_words_and_category_the_best_first(stored: Stored) -> None:
    category = f"category-{new_id()}"
    names = [f"searched-{new_id()}" for _ in range(4)]
    listings = []
    for place, name in enumerate(names):
        manifest = a_manifest(name, category=category, keywords=["maps"] if place else ["charts"])
        listings.append(await a_stored_listing(stored.store, name, manifest=manifest, health_score=20 * place))
    reader = await a_tenant(stored.store)
    async with stored.store.for_tenant(reader.id) as tx:
        every = await tx.search_listings(ListingFilter(category=category), PageRequest())
        maps = await tx.search_listings(ListingFilter(category=category, q="MAPS notes"), PageRequest(2))
        more = await tx.search_listings(
            ListingFilter(category=category, q="MAPS notes"), PageRequest(2, maps.next_cursor)
        )
        nothing = await tx.search_listings(ListingFilter(category=category, q="nowhere"), PageRequest())
        featured = [one for one in await tx.featured(100_000) if one.manifest.category == category]
    assert [one.id for one in every.items] == [one.id for one in listings[::-1]]
    assert [one.id for one in maps.items + more.items] == [one.id for one in listings[:0:-1]]
    assert nothing.items == ()
    assert featured == list(every.items)


async def test_categories_are_counted_by_what_is_published(stored: Stored) -> None:
    rare, common = f"rare-{new_id()}", f"common-{new_id()}"
    for category in (rare, common, common):
        name = f"counted-{new_id()}"
        await a_stored_listing(stored.store, name, manifest=a_manifest(name, category=category))
    name = f"counted-{new_id()}"
    await a_stored_listing(stored.store, name, manifest=a_manifest(name, category=rare), withdrawn_at=NOW)
    reader = await a_tenant(stored.store)
    async with stored.store.for_tenant(reader.id) as tx:
        found = [one for one in await tx.categories() if one.name in (rare, common)]
    assert found == [Category(common, 2), Category(rare, 1)]


async def test_a_listing_is_saved_with_the_health_that_it_has(stored: Stored) -> None:
    listing = await a_stored_listing(stored.store)
    async with stored.store.for_tenant(listing.tenant_id) as tx:
        view = await tx.plugin(listing.plugin_id, lock=True)
        assert view is not None
        await tx.save_plugin(view.plugin.with_health(Health(HealthStatus.DEGRADED, 85, NOW)))
        await tx.save_listing(replace(listing, health_score=85))
    assert (await _read(stored, listing.tenant_id, listing.id)).health_score == 85


async def test_a_tenant_reads_the_ratings_that_it_gave_and_no_others(stored: Stored) -> None:
    giver, other = await a_tenant(stored.store), await a_tenant(stored.store)
    listings = [await a_stored_listing(stored.store) for _ in range(3)]
    for number, listing in enumerate(listings):
        for tenant in (giver, other):
            async with stored.store.for_tenant(tenant.id) as tx:
                await tx.rate(a_rating(tenant.id, listing.id, number + 1, updated_at=ago(minutes=number)))
    async with stored.store.for_tenant(giver.id) as tx:
        first = await tx.own_ratings(PageRequest(2))
        rest = await tx.own_ratings(PageRequest(2, first.next_cursor))
    found = [*first.items, *rest.items]
    assert [one.stars for one in found] == [1, 2, 3]
    assert {one.tenant_id for one in found} == {giver.id}
    assert rest.next_cursor is None
