"""A plugin or a listing with what only the store knows of it: how its requests stand, and what could be upgraded to."""

from collections.abc import Sequence

from plugyard.application.consent import asks_of_listings, standing
from plugyard.domain.marketplace import Listing
from plugyard.domain.plugin import PluginView
from plugyard.http import present
from plugyard.http.exchange import Exchange
from plugyard.http.views import ListingView, PluginDetail


async def detail_of(exchange: Exchange, view: PluginView) -> PluginDetail:
    """The plugin as the caller's tenant sees it."""
    return present.plugin_detail(view, await standing(exchange.platform, exchange.caller, view))


async def listings_of(exchange: Exchange, found: Sequence[Listing]) -> list[ListingView]:
    """The listings as the caller's tenant sees them, with what installing each would ask of it."""
    asked = await asks_of_listings(exchange.platform, exchange.caller, found)
    return [present.listing(one, of_it) for one, of_it in zip(found, asked, strict=True)]


async def listing_of(exchange: Exchange, found: Listing) -> ListingView:
    """One listing as the caller's tenant sees it."""
    return (await listings_of(exchange, [found]))[0]
