"""A plugin or a listing with what only the store knows of it: how its requests stand, and what could be upgraded to."""

from collections.abc import Callable, Sequence

from plugyard.application.consent import asks_of_listings, standing
from plugyard.application.signing import trust, trust_of_listings
from plugyard.domain.marketplace import Listing
from plugyard.domain.plugin import PluginView
from plugyard.domain.signatures import Trust
from plugyard.http import present
from plugyard.http.exchange import Exchange
from plugyard.http.views import ListingView, PluginDetail


async def trust_in(exchange: Exchange, version_ids: Sequence[str]) -> Callable[[str], Trust]:
    """Who stands behind each of the versions, by its id."""
    found = await trust(exchange.platform, exchange.caller, version_ids)
    return lambda version_id: found.get(version_id, Trust())


async def detail_of(exchange: Exchange, view: PluginView) -> PluginDetail:
    """The plugin as the caller's tenant sees it."""
    behind = await trust_in(exchange, [view.version.id])
    stands = await standing(exchange.platform, exchange.caller, view)
    return present.plugin_detail(view, stands, behind(view.version.id))


async def listings_of(exchange: Exchange, found: Sequence[Listing]) -> list[ListingView]:
    """The listings as the caller's tenant sees them, with what installing each would ask of it."""
    asked = await asks_of_listings(exchange.platform, exchange.caller, found)
    behind = await trust_of_listings(exchange.platform, exchange.caller, [one.id for one in found])
    return [present.listing(one, of_it, behind.get(one.id, Trust())) for one, of_it in zip(found, asked, strict=True)]


async def listing_of(exchange: Exchange, found: Listing) -> ListingView:
    """One listing as the caller's tenant sees it."""
    return (await listings_of(exchange, [found]))[0]
