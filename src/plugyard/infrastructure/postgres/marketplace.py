"""Listings and ratings as rows. A part of the transaction that `store` opens."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from plugyard.application.ports import ListingFilter, Page, PageRequest
from plugyard.domain.errors import NameTaken, NotFound
from plugyard.domain.manifest import Manifest
from plugyard.domain.marketplace import Category, Listing, Rating
from plugyard.infrastructure.postgres.precedence import precedence_key
from plugyard.infrastructure.postgres.publishers import signature_of
from plugyard.infrastructure.postgres.rows import Session, uuid_or_none
from plugyard.infrastructure.postgres.statements import statements
from plugyard.infrastructure.postgres.words import manifest_words

_SQL = statements("marketplace")


class MarketplaceRows(Session):
    """The marketplace part of `application.ports.Transaction`."""

    async def save_listing(self, listing: Listing) -> None:
        """Adds or changes a listing; its counts and sums are the database's own and stay.

        Raises `NameTaken` when the name is another tenant's, for good, or of another published listing.
        """
        await self._run(_SQL["reserve listing name"], {"name": listing.name})
        if await self._one(_SQL["own listing name"], {"name": listing.name}) is None:
            raise NameTaken(f"The marketplace's name {listing.name!r} is another publisher's.")
        try:
            await self._run(_SQL["save listing"], _listing_row(listing))
        except psycopg.errors.UniqueViolation as error:
            raise NameTaken(f"Another plugin is published as {listing.name!r}.") from error

    async def listing(self, listing_id: str, *, withdrawn: bool = False) -> Listing | None:
        """The published listing of that id; with `withdrawn`, one of the tenant's own that is withdrawn too."""
        if uuid_or_none(listing_id) is None:
            return None
        row = await self._one(_SQL["listing by id"], {"id": listing_id, "withdrawn": withdrawn})
        return _listing(row) if row else None

    async def listing_of(self, plugin_id: str) -> Listing | None:
        """The listing of the tenant's own plugin, withdrawn or not."""
        if uuid_or_none(plugin_id) is None:
            return None
        row = await self._one(_SQL["listing of a plugin"], {"plugin_id": plugin_id})
        return _listing(row) if row else None

    async def listing_named(self, name: str) -> Listing | None:
        """The published listing of that name."""
        if "\0" in name:
            return None
        row = await self._one(_SQL["listing by name"], {"name": name})
        return _listing(row) if row else None

    async def search_listings(self, filters: ListingFilter, page: PageRequest) -> Page[Listing]:
        """Published listings that pass the filters, by score, the highest first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.listings(filters, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_listing(row) for row in rows), cursor)

    async def featured(self, limit: int) -> Sequence[Listing]:
        """The published listings with the highest scores."""
        return [_listing(row) for row in await self._all(_SQL["featured listings"], {"limit": limit})]

    async def categories(self) -> Sequence[Category]:
        """The categories of published listings, by count, then by name."""
        return [Category(row["category"], row["listings"]) for row in await self._all(_SQL["categories"], {})]

    async def count_installation(self, listing_id: str) -> None:
        """Counts one installation of a published listing."""
        if uuid_or_none(listing_id) is not None:
            await self._run(_SQL["count installation"], {"id": listing_id})

    async def hold_listing(self, listing_id: str, *, alone: bool = False) -> None:
        """Holds a listing until the transaction ends: beside others who take it over, or alone, to refuse it."""
        await self._run(_SQL["hold a listing alone" if alone else "hold a listing"], {"id": listing_id})

    async def rate(self, rating: Rating) -> None:
        """Adds or replaces the tenant's one rating of a listing; raises `NotFound` when there is no such listing."""
        if uuid_or_none(rating.listing_id) is None or await self._run(_SQL["rate"], dataclasses.asdict(rating)) == 0:
            raise NotFound

    async def own_ratings(self, page: PageRequest) -> Page[Rating]:
        """The ratings that the tenant gave, of listings that are gone too, the newest first."""
        from plugyard.infrastructure.postgres import lists

        query = lists.own_ratings(page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_rating(row) for row in rows), cursor)

    async def ratings(self, listing_id: str, page: PageRequest) -> Page[Rating]:
        """The ratings of a listing that the tenant may read, the newest first."""
        from plugyard.infrastructure.postgres import lists

        if uuid_or_none(listing_id) is None:
            return Page(())
        query = lists.ratings(listing_id, page)
        rows, cursor = query.page(await self._all(query.text, query.parameters))
        return Page(tuple(_rating(row) for row in rows), cursor)


def _listing_row(listing: Listing) -> dict[str, Any]:
    return {
        "id": listing.id,
        "tenant_id": listing.tenant_id,
        "plugin_id": listing.plugin_id,
        "version_id": listing.version_id,
        "name": listing.name,
        "version": listing.version,
        "digest": listing.digest,
        "entry": listing.manifest.entry,
        "manifest": Jsonb(listing.manifest.document),
        "exports": Jsonb(list(listing.exports)),
        "packed_bytes": listing.packed_bytes,
        "category": listing.manifest.category,
        "words": manifest_words(listing.manifest),
        "published_at": listing.published_at,
        "withdrawn_at": listing.withdrawn_at,
        "health_score": listing.health_score,
        "precedence": precedence_key(listing.manifest.version),
        "signature": None if listing.signature is None else Jsonb(listing.signature.to_document()),
    }


def _listing(row: dict[str, Any]) -> Listing:
    return Listing(
        id=row["id"],
        tenant_id=row["tenant_id"],
        plugin_id=row["plugin_id"],
        version_id=row["version_id"],
        name=row["name"],
        version=row["version"],
        digest=row["digest"],
        manifest=Manifest.from_document(row["manifest"], entry=row["entry"]),
        exports=tuple(row["exports"]),
        packed_bytes=row["packed_bytes"],
        published_at=row["published_at"],
        withdrawn_at=row["withdrawn_at"],
        installations=row["installations"],
        rating_sum=row["rating_sum"],
        rating_count=row["rating_count"],
        health_score=row["health_score"],
        signature=signature_of(row["signature"]),
    )


def _rating(row: dict[str, Any]) -> Rating:
    return Rating(
        tenant_id=row["tenant_id"],
        listing_id=row["listing_id"],
        stars=row["stars"],
        review=row["review"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
