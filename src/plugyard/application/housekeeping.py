"""What the service tidies by itself: objects that no version names, left by an upload that died half-way; and the
data of plugins that were uninstalled, once it has been kept for as long as the operator wants."""

from datetime import datetime, timedelta

from plugyard.application.platform import Platform, record_tenant_change
from plugyard.domain.errors import PlugyardError
from plugyard.domain.identity import Caller, Role

PREFIXES = ("packages/", "bundles/")
FILES = "files/"  # then the tenant, the plugin, and what the plugin calls it
# An upload writes its objects before its row, so young objects may still get one.
YOUNGEST = timedelta(hours=1)
_BATCH = 500


def digest_in(key: str) -> str:
    """The digest that an object's key names."""
    return key.rsplit("/", 1)[-1].removesuffix(".json")


async def sweep_orphans(platform: Platform) -> int:
    """Delete what has been lying unnamed for an hour; how many objects that were."""
    swept = 0
    for prefix in PREFIXES:
        batch: list[str] = []
        async for key, changed in platform.objects.list(prefix):
            if _old(platform, changed):
                batch.append(key)
            if len(batch) == _BATCH:
                swept += await _sweep(platform, batch)
                batch = []
        swept += await _sweep(platform, batch)
    return swept


async def drop_data(platform: Platform, kept: timedelta) -> int:
    """Drop the databases and files of plugins that were uninstalled longer than ``kept`` ago; of how many plugins.

    One whose data cannot be dropped holds up no other; when all others are done its error is raised.
    """
    databases = set(await platform.databases.held())
    files: dict[tuple[str, str], list[str]] = {}
    async for key, _ in platform.objects.list(FILES):
        parts = key.removeprefix(FILES).split("/", 2)
        if len(parts) == 3:
            files.setdefault((parts[0], parts[1]), []).append(key)
    holders = sorted(databases | files.keys())
    before = platform.clock() - kept
    gone: frozenset[str] = frozenset()
    for start in range(0, len(holders), _BATCH):
        batch = [plugin_id for _, plugin_id in holders[start : start + _BATCH]]
        async with platform.store.for_operator() as tx:
            gone |= await tx.uninstalled(batch, before)
    failed: PlugyardError | None = None
    for tenant_id, plugin_id in (holder for holder in holders if holder[1] in gone):
        try:
            if (tenant_id, plugin_id) in databases:
                await platform.databases.drop(tenant_id, plugin_id)
            for key in files.get((tenant_id, plugin_id), ()):
                await platform.objects.delete(key)
            async with platform.store.for_tenant(tenant_id) as tx:
                service = Caller("service:housekeeping", Role.OPERATOR, tenant_id)
                await record_tenant_change(platform, tx, service, "plugin.data_dropped", plugin_id)
        except PlugyardError as error:
            failed = error
    if failed is not None:
        raise failed
    return len(gone)


async def _sweep(platform: Platform, keys: list[str]) -> int:
    """Delete what of this no version names. Each is looked at once more at the last moment: it may have come again."""
    swept = 0
    for key in await _unnamed(platform, keys):
        young = [at async for found, at in platform.objects.list(key) if found == key and not _old(platform, at)]
        if not young and await _unnamed(platform, [key]):
            await platform.objects.delete(key)
            swept += 1
    return swept


def _old(platform: Platform, changed: datetime) -> bool:
    return changed < platform.clock() - YOUNGEST


async def _unnamed(platform: Platform, keys: list[str]) -> list[str]:
    if not keys:
        return []
    async with platform.store.for_operator() as tx:
        named = await tx.known_digests([digest_in(key) for key in keys])
    return [key for key in keys if digest_in(key) not in named]
