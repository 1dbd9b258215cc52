"""The marketplace: a tenant offers a version to the others, they find it, install it, and rate it.

A listing is named like its plugin, and a name belongs to whoever published it first. Installing copies the version into
the other tenant, so that withdrawing the listing later breaks nobody.
"""

from collections.abc import Sequence
from dataclasses import replace

from plugyard.application.activate import activate_in
from plugyard.application.install import forget_cached, install_in
from plugyard.application.names import require_own_name
from plugyard.application.platform import Platform, plugin_of, record_change, require, require_scope, tenant_of
from plugyard.application.ports import ListingFilter, Page, PageRequest, Transaction
from plugyard.application.quotas import add_plugin, add_version
from plugyard.application.signing import check_listing, offered_signature
from plugyard.domain.errors import Conflict, FieldError, Forbidden, InvalidInput, NotFound, WrongState
from plugyard.domain.events import EventType
from plugyard.domain.identity import Action, Caller
from plugyard.domain.marketplace import MAX_STARS, MIN_STARS, Category, Listing, Rating
from plugyard.domain.permissions import Permission
from plugyard.domain.plugin import Plugin, PluginState, PluginVersion, PluginView, allowed
from plugyard.domain.report import Report
from plugyard.domain.signatures import Origin
from plugyard.domain.standing import refuse_if_blocked
from plugyard.domain.versions import Version

PUBLISHABLE = (PluginState.INSTALLED, PluginState.ACTIVE, PluginState.INACTIVE)


async def publish(platform: Platform, caller: Caller, plugin_id: str, number: str | None) -> Listing:
    """Offer a version, by default the one in use, to every tenant. Publishing again replaces the version offered."""
    require(caller, Action.PUBLISH)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        if view.plugin.state not in PUBLISHABLE:
            raise WrongState("publish", view.plugin.state.value, allowed(view.plugin.state))
        if view.plugin.origin_listing_id is not None:
            raise Forbidden("This plugin came from the marketplace; only its publisher can publish it.")
        version = view.version if number is None else await tx.version_numbered(plugin_id, number)
        if version is None:
            raise NotFound(f"There is no version {number} of this plugin.")
        stands = (await tx.standings([version.id])).get(version.id)
        refuse_if_blocked(stands)
        await require_own_name(tx, view.plugin, released=stands is not None)
        manifest = version.manifest
        absent = [key for key in ("description", "author", "category") if not getattr(manifest, key)]
        if absent:
            raise InvalidInput(
                "A listing needs words that other tenants can judge it by.",
                [FieldError(f"plugin.json#/metadata/{key}", "is needed to publish") for key in absent],
            )
        before = await tx.listing_of(plugin_id)
        listing = Listing(
            before.id if before else platform.ids(),
            view.plugin.tenant_id,
            plugin_id,
            version.id,
            view.plugin.name,
            version.number,
            version.digest,
            manifest,
            version.exports,
            version.report.packed_bytes,
            platform.clock(),
            None,
            before.installations if before else 0,
            before.rating_sum if before else 0,
            before.rating_count if before else 0,
            view.plugin.health.score,
            await offered_signature(platform, tx, version),
        )
        await tx.save_listing(listing)
        data = {"listingId": listing.id, "version": version.number}
        await record_change(platform, tx, caller, EventType.PLUGIN_PUBLISHED, view.plugin, data)
    return listing


async def withdraw(platform: Platform, caller: Caller, plugin_id: str) -> Listing:
    """Take the plugin's listing back. Who installed it keeps it."""
    require(caller, Action.PUBLISH)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        view = await plugin_of(tx, plugin_id, lock=True)
        withdrawn = await withdraw_in(platform, tx, caller, view)
    if withdrawn is None:
        raise Conflict("The plugin is not published.")
    return withdrawn


async def withdraw_in(platform: Platform, tx: Transaction, caller: Caller, view: PluginView) -> Listing | None:
    """Withdraw within a transaction that is open; ``None`` where nothing was published."""
    listing = await tx.listing_of(view.plugin.id)
    if listing is None or listing.withdrawn_at is not None:
        return None
    withdrawn = replace(listing, withdrawn_at=platform.clock())
    await tx.save_listing(withdrawn)
    data = {"listingId": listing.id, "version": listing.version}
    await record_change(platform, tx, caller, EventType.PLUGIN_WITHDRAWN, view.plugin, data)
    return withdrawn


async def search(platform: Platform, caller: Caller, filters: ListingFilter, page: PageRequest) -> Page[Listing]:
    """The listings, best first; ``q`` finds words in names, descriptions and keywords."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.search_listings(filters, page)


async def featured(platform: Platform, caller: Caller, limit: int) -> Sequence[Listing]:
    """The best listings by the rule in ``domain/marketplace.py``."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.featured(limit)


async def categories(platform: Platform, caller: Caller) -> Sequence[Category]:
    """Every category that has a listing, with the number of them."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await tx.categories()


async def listing(platform: Platform, caller: Caller, listing_id: str) -> Listing:
    """One listing that is not withdrawn."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        return await _published(tx, listing_id)


async def _published(tx: Transaction, listing_id: str) -> Listing:
    found = await tx.listing(listing_id)
    if found is None:
        raise NotFound("There is no listing of this id.")
    return found


async def install_listing(
    platform: Platform,
    caller: Caller,
    listing_id: str,
    grants: Sequence[Permission] | None,
    *,
    activate: bool,
    number: str | None = None,
) -> PluginView:
    """Install a listing into the caller's tenant, with the grants given or with all that it asks.

    ``number`` is the version whose requests were shown; raises ``Conflict`` where another one is offered by now.
    """
    require(caller, Action.INSTALL)
    if activate:
        require_scope(caller, Action.ACTIVATE, None)
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        await tx.hold_listing(listing_id)
        found = await _published(tx, listing_id)
        if found.tenant_id == tenant_id:
            raise Conflict("The listing is your own tenant's; its plugin is there already.")
        if number is not None and number != found.version:
            raise Conflict(f"The listing offers version {found.version} by now; look at what that asks for.")
        await check_listing(platform, tx, tenant_id, found)
        now = platform.clock()
        plugin_id = platform.ids()
        version = copy_of(platform, found, tenant_id, plugin_id)
        plugin = Plugin(
            plugin_id, tenant_id, found.name, PluginState.PENDING, version.id, now, now, origin_listing_id=found.id
        )
        # The publisher's tenant had it judged; the same bytes need no second judgement.
        validated, happened = plugin.validated(now)
        await add_plugin(platform, tx, validated, version)
        await tx.save_origin(Origin(version.id, tenant_id, found.tenant_id, found.signature))
        data = {"version": version.number, "listingId": found.id}
        await record_change(platform, tx, caller, happened, validated, data)
        asked = version.manifest.permissions if grants is None else tuple(grants)
        view = await install_in(platform, tx, caller, PluginView(validated, version), asked)
        await tx.count_installation(found.id)
        if activate:
            view = await activate_in(platform, tx, caller, view)
    forget_cached(platform, plugin_id)
    return view


def copy_of(platform: Platform, found: Listing, tenant_id: str, plugin_id: str) -> PluginVersion:
    """The listing's version as the tenant's own, not stored yet."""
    report = Report(digest=found.digest, packed_bytes=found.packed_bytes)
    return PluginVersion(
        platform.ids(), tenant_id, plugin_id, found.manifest, found.digest, report, found.exports, platform.clock()
    )


async def offered_copy(platform: Platform, tx: Transaction, view: PluginView) -> PluginVersion | None:
    """The version that the plugin's listing offers now: the copy that is here already, or one that is not stored."""
    found = await tx.listing(view.plugin.origin_listing_id or "")
    if found is None:
        return None
    held = await tx.version_numbered(view.plugin.id, found.version)
    return held or copy_of(platform, found, view.plugin.tenant_id, view.plugin.id)


async def adopt_version(
    platform: Platform, tx: Transaction, view: PluginView, number: str | None
) -> PluginVersion | None:
    """Copy the version that the plugin's listing offers now, if it is the one wanted and not here yet."""
    origin = view.plugin.origin_listing_id or ""
    await tx.hold_listing(origin)
    found = await tx.listing(origin)
    if found is None or (number is not None and found.version != number):
        return None
    held = await tx.version_numbered(view.plugin.id, found.version)
    if held is not None:
        return held
    if number is None and Version.parse(found.version) < view.version.manifest.version:
        return None
    await check_listing(platform, tx, view.plugin.tenant_id, found)
    version = copy_of(platform, found, view.plugin.tenant_id, view.plugin.id)
    await add_version(platform, tx, version)
    await tx.save_origin(Origin(version.id, version.tenant_id, found.tenant_id, found.signature))
    return version


async def rate(platform: Platform, caller: Caller, listing_id: str, stars: int, review: str) -> Rating:
    """Give a listing 1 to 5 stars and a review; a tenant has one rating of a listing, and a new one replaces it."""
    require(caller, Action.RATE)
    if not MIN_STARS <= stars <= MAX_STARS:
        raise InvalidInput("A rating has 1 to 5 stars.", [FieldError("/stars", f"{MIN_STARS} to {MAX_STARS}")])
    tenant_id = tenant_of(caller)
    async with platform.store.for_tenant(tenant_id) as tx:
        found = await _published(tx, listing_id)
        if found.tenant_id == tenant_id:
            raise Forbidden("A publisher cannot rate its own listing.")
        installed = await tx.plugin_named(found.name)
        if installed is None or installed.plugin.origin_listing_id != found.id:
            raise Forbidden("Only a tenant that has installed the listing can rate it.")
        now = platform.clock()
        rating = Rating(tenant_id, listing_id, stars, review, now, now)
        await tx.rate(rating)
        data = {"listingId": listing_id, "stars": stars}
        await record_change(platform, tx, caller, EventType.PLUGIN_RATED, installed.plugin, data)
    return rating


async def ratings(platform: Platform, caller: Caller, listing_id: str, page: PageRequest) -> Page[Rating]:
    """The ratings of a listing, newest first."""
    require(caller, Action.READ)
    async with platform.store.for_tenant(tenant_of(caller)) as tx:
        await _published(tx, listing_id)
        return await tx.ratings(listing_id, page)
