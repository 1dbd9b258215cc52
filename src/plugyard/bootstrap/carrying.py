"""From one machine to many: what the data folder holds of objects, copied into the bucket that the settings name."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from plugyard.application.housekeeping import FILES
from plugyard.bootstrap.keys import CannotStart, Keys
from plugyard.bootstrap.objects import object_store
from plugyard.domain.errors import PlugyardError
from plugyard.infrastructure.objects import FolderObjects
from plugyard.settings import Settings

AT_ONCE = 8


@dataclass
class Carried:
    """How many objects of how many bytes there are, how many of them were copied now, and what could not be."""

    objects: int = 0
    bytes: int = 0
    copied: int = 0
    failed: dict[str, str] = field(default_factory=dict)  # by key, why


async def carry_objects(settings: Settings, told: Callable[[int], None] = lambda bytes_: None) -> Carried:
    """Copy everything; ``told`` hears of the bytes of each object that is done. Raises ``CannotStart``.

    What is in the bucket already stays, so it can be run while the service serves, and once more when it has ended, for
    what came meanwhile. Packages and bundles never change; of plugins' own files the bucket gets the newest each time.
    """
    folder = settings.data / "objects"
    if settings.objects_url is None:
        raise CannotStart("name the bucket with --objects-url s3://bucket/prefix")
    if not folder.is_dir():
        raise CannotStart(f"{settings.data} is no data folder of a service: it has no objects/")
    # Bundles are sealed by the pepper, which has to be that of the replicas to come: the folder's own.
    keys = Keys.of(settings.data, None, pepper=settings.pepper)
    source = FolderObjects(folder)
    target = object_store(replace(settings, objects_cache_bytes=0), bytes.fromhex(keys.pepper))
    await target.start()
    found, places = Carried(), asyncio.Semaphore(AT_ONCE)

    async def carry(key: str, size: int) -> None:
        async with places:
            try:
                if key.startswith(FILES):
                    await target.objects.replace(key, await source.get(key))
                    new = True
                else:
                    new = await target.objects.put_file(key, folder / key)
            except (PlugyardError, OSError) as error:
                found.failed[key] = str(error)
            else:
                found.copied += new
            told(size)

    try:
        async with asyncio.TaskGroup() as tasks:
            async for key, size in source.sizes(""):
                found.objects += 1
                found.bytes += size
                tasks.create_task(carry(key, size))
    finally:
        await target.close()
    return found
