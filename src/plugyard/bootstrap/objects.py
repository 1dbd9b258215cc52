"""Which object store the settings name: a folder, or a bucket with a folder before it."""

import asyncio
import hmac
import time
from typing import TYPE_CHECKING

import structlog

from plugyard.application.ports import Objects
from plugyard.bootstrap.keys import CannotStart
from plugyard.domain.errors import PlugyardError
from plugyard.infrastructure.objects import FolderObjects
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.settings import Settings

if TYPE_CHECKING:
    from plugyard.infrastructure.cached import CachedObjects
    from plugyard.infrastructure.s3.objects import S3Objects
    from plugyard.infrastructure.s3.settings import S3Settings

ASKED_EVERY_S = 5.0
# A probe that waits for longer takes the replica out, and all replicas share the bucket.
WAITED_FOR_S = 0.3
STARTS_WITHOUT_AFTER_S = 5.0
_SLOW = "warning: the object store does not answer"
log = structlog.get_logger("plugyard")


class ObjectStore:
    """The store that was chosen, how it does, and its end."""

    def __init__(
        self, objects: Objects, bucket: "S3Objects | None" = None, cached: "CachedObjects | None" = None
    ) -> None:
        self.objects = objects
        self._bucket = bucket
        self._cached = cached
        self._state = "ok"
        self._asked_at = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def show(self, telemetry: Telemetry) -> None:
        """Have it shown what the cache saves, where there is one."""
        cached = self._cached
        if cached is None:
            return
        for name, description, read in (
            ("plugyard_objects_cache_hits", "Objects that were read from the cache's disk.", lambda: cached.hits),
            ("plugyard_objects_cache_misses", "Objects that the bucket was asked for.", lambda: cached.misses),
        ):
            telemetry.counter(name, description, read)

    async def start(self) -> None:
        """Look at the bucket once. Raises ``CannotStart`` where waiting will not help; what is away may come back."""
        if self._bucket is None:
            return
        from plugyard.infrastructure.s3.failures import Misconfigured

        try:
            async with asyncio.timeout(STARTS_WITHOUT_AFTER_S):
                await self._bucket.ping()
        except Misconfigured as error:
            raise CannotStart(f"--objects-url: {error.message}") from error
        except (PlugyardError, TimeoutError) as error:
            log.warning("the service starts without its object store", error=str(error) or "no answer")

    async def parts(self) -> dict[str, str]:
        """For the health report. A bucket that is away stops nothing: what is kept here goes on being executed."""
        if self._bucket is None:
            return {}
        if self._asking is None and time.monotonic() - self._asked_at > ASKED_EVERY_S:
            self._asking = asyncio.create_task(self._ask(self._bucket))
        if self._asking is not None:
            await asyncio.wait([self._asking], timeout=WAITED_FOR_S)
            if self._asking is not None and self._state == "ok":
                return {"objects": _SLOW}
        return {"objects": self._state}

    async def close(self) -> None:
        """End what is under way."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        if self._cached is not None:
            await self._cached.close()

    async def _ask(self, bucket: "S3Objects") -> None:
        try:
            await bucket.ping()
            self._state = "ok"
        except PlugyardError as error:
            self._state = f"warning: {error.message}"
        finally:
            self._asked_at, self._asking = time.monotonic(), None


def object_store(settings: Settings, secret: bytes) -> ObjectStore:
    """What the settings name. ``secret`` seals what only this service may have written. Raises ``CannotStart``."""
    if settings.objects_url is None:
        return ObjectStore(FolderObjects(settings.data / "objects"))
    # Loaded only where a bucket is used.
    from plugyard.infrastructure.cached import CachedObjects
    from plugyard.infrastructure.cachefolder import CacheFolder
    from plugyard.infrastructure.s3.objects import S3Objects

    named = bucket_of(settings)
    if named.in_the_clear:
        log.warning("objects are sent in the clear; use an https endpoint", endpoint=named.endpoint)
    if named.encryption.algorithm is None:
        log.warning("objects are stored without encryption (--objects-encryption none)")
    bucket = S3Objects(named, hmac.digest(secret, b"plugyard: objects", "sha256"))
    if settings.objects_cache_bytes == 0:
        return ObjectStore(bucket, bucket)
    folder = CacheFolder(settings.data / "objects-cache", settings.objects_cache_bytes, secret)
    cached = CachedObjects(bucket, folder)
    return ObjectStore(cached, bucket, cached)


def bucket_of(settings: Settings) -> "S3Settings":
    """The way to the bucket of the settings. Raises ``CannotStart``."""
    from plugyard.infrastructure.s3.settings import Credentials, S3Settings

    named, secret = settings.objects_access_key_id, settings.objects_secret_access_key
    if (named is None) != (secret is None):
        raise CannotStart("--objects-access-key-id and --objects-secret-access-key belong together")
    credentials = Credentials(named, secret) if named is not None and secret is not None else None
    try:
        return S3Settings.parsed(
            settings.objects_url or "",
            endpoint=settings.objects_endpoint,
            region=settings.objects_region,
            credentials=credentials,
            encryption=settings.objects_encryption,
        )
    except ValueError as error:
        raise CannotStart(f"the settings of the object store: {error}") from error
