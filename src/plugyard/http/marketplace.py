"""The marketplace over HTTP: finding, installing and rating what other tenants publish."""

from starlette.types import ASGIApp

from plugyard.application import marketplace
from plugyard.application.ports import ListingFilter
from plugyard.domain.identity import Action
from plugyard.http import commands, examples, present, views
from plugyard.http.answers import json_answer
from plugyard.http.detailed import detail_of, listing_of, listings_of
from plugyard.http.exchange import Exchange
from plugyard.http.operations import Body, Reply, operation
from plugyard.http.queries import PAGE, page_of, text, whole

_ALL = "/api/v1/plugins/marketplace"
_ONE = _ALL + "/{listingId}"
_TAG = "Marketplace"


@operation(
    "GET",
    _ALL,
    tag=_TAG,
    query=(
        text("q", "Words to find in names, descriptions and keywords.", example="invoice"),
        text("category", "Only this category.", example="finance"),
        *PAGE,
    ),
    replies=[Reply(200, "A page.", views.PageView[views.ListingView], examples.page_of(examples.LISTING))],
)
async def search_marketplace(exchange: Exchange) -> ASGIApp:
    """Search the marketplace, best first."""
    asked = exchange.query
    filters = ListingFilter(asked["category"], asked["q"])
    found = await marketplace.search(exchange.platform, exchange.caller, filters, page_of(asked))
    return json_answer(views.PageView(items=await listings_of(exchange, found.items), next_cursor=found.next_cursor))


@operation(
    "GET",
    _ALL + "/featured",
    tag=_TAG,
    query=(whole("limit", "How many listings to answer at most.", 1, 100, 10),),
    replies=[Reply(200, "The best.", views.FeaturedView, {"items": [examples.LISTING]})],
)
async def featured_listings(exchange: Exchange) -> ASGIApp:
    """Show the featured listings.

    By a score from 0 to 1: half by rating, three tenths by installations, two tenths by health.
    """
    found = await marketplace.featured(exchange.platform, exchange.caller, exchange.query["limit"])
    return json_answer(views.FeaturedView(items=await listings_of(exchange, found)))


@operation(
    "GET",
    _ALL + "/categories",
    tag=_TAG,
    replies=[Reply(200, "All of them.", views.CategoriesView, {"items": [{"name": "finance", "count": 3}]})],
)
async def marketplace_categories(exchange: Exchange) -> ASGIApp:
    """List the categories that have listings, with counts."""
    found = await marketplace.categories(exchange.platform, exchange.caller)
    return json_answer(views.CategoriesView(items=[present.category(one) for one in found]))


@operation(
    "GET",
    _ONE,
    tag=_TAG,
    replies=[Reply(200, "The listing.", views.ListingView, examples.LISTING)],
    problems=["not_found"],
)
async def get_listing(exchange: Exchange) -> ASGIApp:
    """Show one listing."""
    found = await marketplace.listing(exchange.platform, exchange.caller, exchange.id("listingId"))
    return json_answer(await listing_of(exchange, found))


@operation(
    "POST",
    _ONE + "/install",
    tag=_TAG,
    action=Action.INSTALL,
    body=Body(commands.InstallListing, required=False, examples={"as it asks": {}, "and activate": {"activate": True}}),
    replies=[Reply(201, "The plugin in your tenant.", views.PluginDetail, examples.DETAIL)],
    problems=[
        "not_found",
        "conflict",
        "name_taken",
        "dependency_conflict",
        "configuration_incomplete",
        "quota_exceeded",
        "not_grantable",
        "signature_required",
    ],
)
async def install_listing(exchange: Exchange) -> ASGIApp:
    """Install a listing into your tenant.

    The version is copied, so that a listing which is withdrawn later breaks nobody. With `version`, a listing that
    offers another one by now is left alone (409).
    """
    asked = await exchange.optional_body(commands.InstallListing)
    view = await marketplace.install_listing(
        exchange.platform,
        exchange.caller,
        exchange.id("listingId"),
        commands.permissions(asked.grants),
        activate=asked.activate,
        number=asked.version,
    )
    return json_answer(
        await detail_of(exchange, view), status=201, headers=(("location", f"/api/v1/plugins/{view.plugin.id}"),)
    )


@operation(
    "PUT",
    _ONE + "/rating",
    tag=_TAG,
    action=Action.RATE,
    body=Body(commands.RateListing, examples={"five stars": {"stars": 5, "review": "Adds up."}}),
    replies=[Reply(200, "The rating.", views.RatingView, examples.RATING)],
    problems=["not_found"],
)
async def rate_listing(exchange: Exchange) -> ASGIApp:
    """Rate a listing that your tenant has installed.

    A tenant has one rating of a listing, and a new one replaces it. Publishers do not rate their own.
    """
    asked = await exchange.body(commands.RateListing)
    given = await marketplace.rate(
        exchange.platform, exchange.caller, exchange.id("listingId"), asked.stars, asked.review
    )
    return json_answer(present.rating(given, exchange.caller.tenant_id))


@operation(
    "GET",
    _ONE + "/ratings",
    tag=_TAG,
    query=PAGE,
    replies=[Reply(200, "A page.", views.PageView[views.RatingView], examples.page_of(examples.RATING))],
    problems=["not_found"],
)
async def list_ratings(exchange: Exchange) -> ASGIApp:
    """List a listing's ratings, newest first."""
    found = await marketplace.ratings(
        exchange.platform, exchange.caller, exchange.id("listingId"), page_of(exchange.query)
    )
    return json_answer(present.page(found, lambda one: present.rating(one, exchange.caller.tenant_id)))


OPERATIONS = (
    search_marketplace,
    featured_listings,
    marketplace_categories,
    get_listing,
    install_listing,
    rate_listing,
    list_ratings,
)
