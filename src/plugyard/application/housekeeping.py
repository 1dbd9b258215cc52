"""What the service tidies by itself: objects that no version names, left by an upload that died half-way."""

from datetime import timedelta

from plugyard.application.platform import Platform

PREFIXES = ("packages/", "bundles/")
# An upload writes its objects before its row, so young objects may still get one.
YOUNGEST = timedelta(hours=1)
_BATCH = 500


def digest_in(key: str) -> str:
    """The digest that an object's key names."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")


async def sweep_orphans(platform: Platform) -> int:
    """Delete what has been lying unnamed for an hour; how many objects that were."""
    oldest = platform.clock() - YOUNGEST
    swept = 0
    for prefix in PREFIXES:
        batch: list[str] = []
        async for key, changed in platform.objects.list(prefix):
            if changed < oldest:
                batch.append(key)
            if len(batch) == _BATCH:
                swept += await _sweep(platform, batch)
                batch = []
        swept += await _sweep(platform, batch)
    return swept


async def _sweep(platform: Platform, keys: list[str]) -> int:
    if not keys:
        return 0
    async with platform.store.for_operator() as tx:
        named = await tx.known_digests([digest_in(key) for key in keys])
    orphans = [key for key in keys if digest_in(key) not in named]
    for key in orphans:
        await platform.objects.delete(key)
    return len(orphans)
