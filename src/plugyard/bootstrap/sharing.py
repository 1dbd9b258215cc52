"""What replicas share by a Valkey or Redis server, or what stands in its place in one process.

``assembly.py`` asks for it. The client library is loaded only where ``cache_url`` is set.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from plugyard.application.places import Places
from plugyard.bootstrap.keys import CannotStart
from plugyard.http.rates import Rates
from plugyard.infrastructure.rates import LimitedRates
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.sandbox.services.base import Service
from plugyard.sandbox.services.cache import CacheService
from plugyard.sandbox.services.shared_cache import SharedCacheService
from plugyard.settings import MEGABYTE, Settings

_ENTRIES = 10_000
AWAY = "warning: the shared cache is away; limits are kept by this replica and caches are skipped"


@dataclass(frozen=True)
class Shared:
    """Who counts requests and executions, and where plugins' cached values are."""

    rates: Rates
    load: Callable[[], object]  # begins to load what the counting needs
    places: Places | None
    cache: Service
    forget_tenant: Callable[[str], Awaitable[None]]
    parts: Callable[[], dict[str, str]]  # for the health report; empty where nothing is shared


async def shared_parts(settings: Settings, telemetry: Telemetry, parts: AsyncExitStack) -> Shared:
    """Make them; ``parts`` learns how to end them. Raises ``CannotStart``."""
    local = LimitedRates()
    parts.push_async_callback(local.close)
    plugin_bytes, total_bytes = settings.cache_mb_per_plugin * MEGABYTE, settings.cache_mb * MEGABYTE
    if settings.cache_url is None:
        cache = CacheService(plugin_bytes=plugin_bytes, plugin_entries=_ENTRIES, total_bytes=total_bytes)
        return Shared(local, local.load, None, cache, cache.forget_tenant, dict)
    from plugyard.infrastructure.valkey.address import Address, BadAddress
    from plugyard.infrastructure.valkey.cache import ValkeyShelves
    from plugyard.infrastructure.valkey.link import Link, Refused
    from plugyard.infrastructure.valkey.places import SharedPlaces
    from plugyard.infrastructure.valkey.rates import SharedRates

    try:
        address = Address(settings.cache_url)
    except BadAddress as error:
        raise CannotStart(f"--cache-url: {error}") from None
    link = Link(address, connect_s=settings.cache_connect_ms / 1000, command_s=settings.cache_command_ms / 1000)
    rates, places = SharedRates(link, local), SharedPlaces(link)
    # The last, because what plugins missed is forgotten right before the server is used again.
    shelves = ValkeyShelves(link, plugin_bytes=plugin_bytes, plugin_entries=_ENTRIES, total_bytes=total_bytes)
    parts.push_async_callback(link.close)
    try:
        await link.open()
    except Refused as error:
        raise CannotStart(
            f"--cache-url: the server at {address.shown} refuses: {error}. See to its user, password and rights, or "
            "start without --cache-url"
        ) from None
    places.start()
    parts.push_async_callback(places.close)
    _show(link, telemetry)
    shared = SharedCacheService(shelves)

    def health() -> dict[str, str]:
        return {"cache": "ok" if link.up else AWAY}

    return Shared(rates, local.load, places, shared, shared.forget_tenant, health)


def _show(link: Any, telemetry: Telemetry) -> None:
    telemetry.gauge("plugyard_valkey_up", "1 while the shared Valkey answers, 0 while it is away.", lambda: link.up)
    counts = link.counts
    for name, description, read in (
        ("plugyard_valkey_lost", "Times that the shared Valkey was lost.", lambda: counts.lost),
        ("plugyard_valkey_skipped", "Questions that went without the shared Valkey.", lambda: counts.skipped),
        ("plugyard_valkey_failed", "Commands that the shared Valkey refused.", lambda: counts.failed),
        ("plugyard_valkey_away_seconds", "Seconds that the shared Valkey was away.", lambda: link.away_s),
    ):
        telemetry.counter(name, description, read)
