"""The adapter: each method of `application.ports.Objects` as requests to a bucket."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

from plugyard.application.housekeeping import YOUNGEST
from plugyard.application.ports import SignedUrl, UrlMethod
from plugyard.domain.errors import ChecksumMismatch, FieldError, InvalidInput, NotFound
from plugyard.infrastructure.proofs import Seals, digest_named, is_sealed, sha256_of, sha256_of_file
from plugyard.infrastructure.s3.failures import damaged, translated
from plugyard.infrastructure.s3.forms import OCTETS, SHA256, attributes_of, formed, proves, unformed
from plugyard.infrastructure.s3.settings import Patience, S3Settings
from plugyard.infrastructure.s3.signing import presigned

if TYPE_CHECKING:
    from obstore import Attributes, ObjectMeta
    from obstore.store import S3Config

PART_BYTES = 5 * 1024 * 1024
"""The smallest part that S3 takes of a file in parts, all but the last."""
PARTS_AT_ONCE = 3
"""With the line above, what an upload holds in memory."""
_PIECE_BYTES = 256 * 1024
LONGEST_URL = timedelta(days=7)
"""What S3 allows for a signed URL."""
# The sweep of orphans spares what is younger than YOUNGEST; a renewal long before leaves an upload time for its row.
_YOUNG = YOUNGEST / 4
_PURPOSE = b"plugyard: objects on S3"
_PROBE = "probe/nothing"


class S3Objects:
    """Objects in a bucket. What S3 answers is proven before it is used; see `forms.proves`.

    `secret` seals bundles, so all replicas that share a bucket share it. Raises `StoreUnavailable` where S3 cannot be
    reached in the time of `S3Settings.patience`, refuses, or answers other bytes than were stored.
    """

    def __init__(
        self, settings: S3Settings, secret: bytes, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._settings = settings
        self._seals = Seals(secret, _PURPOSE)
        self._clock = clock
        self._store = S3Store(
            settings.bucket,
            prefix=settings.prefix or None,
            config=_config(settings),
            client_options=_client(settings),
            retry_config=_retries(settings.patience),
        )

    async def put_file(self, key: str, path: Path) -> bool:
        """Stores a file in parts, never whole in memory; answers whether it was new.

        Raises `ChecksumMismatch` where the key names other bytes.
        """
        digest, size, begins = await asyncio.to_thread(sha256_of_file, path)
        _refuse_others(key, digest)
        if is_sealed(key):
            return await self.put(key, await asyncio.to_thread(path.read_bytes))
        attributes = attributes_of(key, begins, digest, "", self._seals)
        if await self._is_there(key, size, attributes):
            return False
        with translated("put", key):
            await obstore.put_async(
                self._store,
                key,
                path,
                attributes=attributes,
                use_multipart=size > PART_BYTES,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )
        return True

    async def put(self, key: str, data: bytes) -> bool:
        """Stores bytes; answers whether they were new. Raises `ChecksumMismatch` where the key names others."""
        stored, attributes = await self._prepared(key, data)
        if await self._is_there(key, len(stored), attributes):
            return False
        await self._write(key, stored, attributes)
        return True

    async def replace(self, key: str, data: bytes) -> None:
        """Stores bytes in the place of what was there. For keys that do not say what they hold."""
        await self._write(key, *await self._prepared(key, data))

    async def get(self, key: str) -> bytes:
        """The bytes under a key; raises `NotFound`."""
        with translated("get", key):
            answer = await obstore.get_async(self._store, key)
            attributes = answer.attributes
            data = bytes(await answer.bytes_async())
        if not proves(key, await sha256_of(data), attributes, self._seals):
            raise damaged(key)
        return await asyncio.to_thread(unformed, data, attributes) if is_sealed(key) else data

    async def pieces(self, key: str) -> AsyncIterator[bytes]:
        """The bytes under a key, some at a time; raises `NotFound`.

        The last piece is held back until all of them are proven, so that nobody gets the whole of something else.
        """
        if is_sealed(key):
            data = await self.get(key)
            for start in range(0, len(data), _PIECE_BYTES):
                yield data[start : start + _PIECE_BYTES]
            return
        hashed, held = hashlib.sha256(), b""
        with translated("get", key):
            answer = await obstore.get_async(self._store, key)
            attributes = answer.attributes
            async for piece in answer.stream(min_chunk_size=_PIECE_BYTES):
                if held:
                    yield held
                held = bytes(piece)
                hashed.update(held)
        if not proves(key, hashed.hexdigest(), attributes, self._seals):
            raise damaged(key)
        yield held

    async def copy(self, source: str, target: str) -> None:
        """Puts what is under one key under another as well, within S3; raises `NotFound`."""
        if is_sealed(source) or is_sealed(target):
            # A seal names its key, so the copy needs one of its own.
            await self.replace(target, await self.get(source))
            return
        with translated("copy", source):
            await obstore.copy_async(self._store, source, target)

    async def move(self, source: str, target: str) -> None:
        """Puts what is under one key under another instead, within S3; raises `NotFound`."""
        await self.copy(source, target)
        if source != target:
            await self.delete(source)

    async def delete(self, key: str) -> None:
        """Removes a key; nothing there is no error."""
        with translated("delete", key):
            try:
                await obstore.delete_async(self._store, key)
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise

    async def list(self, prefix: str) -> AsyncIterator[tuple[str, datetime]]:
        """The keys that begin with `prefix`, with their last change, in no order."""
        async for found in self._found(prefix):
            yield found["path"], found["last_modified"]

    async def sizes(self, prefix: str) -> AsyncIterator[tuple[str, int]]:
        """The keys that begin with `prefix`, with the bytes that they take in the bucket, in no order."""
        async for found in self._found(prefix):
            yield found["path"], found["size"]

    async def signed_url(self, key: str, method: UrlMethod, expires: timedelta) -> SignedUrl | None:
        """A URL by which its holder alone reads (`GET`) or writes (`PUT`) a key until it expires, within 7 days.

        Who writes sends the headers that come with it, which demand the encryption and, for a package, its checksum.
        `None` for writing where nobody can be let: to bundles, and where the credentials are not in this process.
        Raises `InvalidInput`.
        """
        if not timedelta(seconds=1) <= expires <= LONGEST_URL:
            raise InvalidInput("A signed URL lives for a second to 7 days.", [FieldError("/expires", str(expires))])
        if method == "GET":
            with translated("sign", key):
                return SignedUrl(await obstore.sign_async(self._store, "GET", key, expires))
        credentials = self._settings.credentials
        if credentials is None or is_sealed(key):
            return None
        with translated("sign", key):
            address = f"{self._settings.base}/{_whole(key)}"
        headers = {"content-type": OCTETS, **self._settings.encryption.headers()}
        digest = digest_named(key)
        if digest is not None:
            headers["x-amz-checksum-sha256"] = base64.b64encode(bytes.fromhex(digest)).decode()
            headers[f"x-amz-meta-{SHA256}"] = digest
        url = presigned("PUT", address, headers, credentials, self._settings.region, expires, self._clock())
        return SignedUrl(url, headers)

    async def ping(self) -> None:
        """Raises `StoreUnavailable`, or `failures.Misconfigured` where waiting will not help."""
        with translated("ping", ""):
            async for _ in obstore.list(self._store, prefix=_PROBE):
                return

    async def _prepared(self, key: str, data: bytes) -> tuple[bytes, Attributes]:
        _refuse_others(key, await sha256_of(data) if digest_named(key) else None)
        form = await asyncio.to_thread(formed, key, data) if is_sealed(key) else formed(key, data)
        digest = await sha256_of(form.data)
        return form.data, attributes_of(key, data[:16], digest, form.encoding, self._seals)

    async def _write(self, key: str, stored: bytes, attributes: Attributes) -> None:
        with translated("put", key):
            await obstore.put_async(
                self._store,
                key,
                stored,
                attributes=attributes,
                use_multipart=len(stored) > PART_BYTES,
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    async def _is_there(self, key: str, size: int, attributes: Attributes) -> bool:
        """Whether the same bytes are stored already; if so they count as written now."""
        try:
            with translated("look", key):
                found = await obstore.get_async(self._store, key, options={"head": True})
        except NotFound:
            return False
        if found.meta["size"] != size or any(found.attributes.get(name) != value for name, value in attributes.items()):
            return False
        if self._clock() - found.meta["last_modified"] < _YOUNG:
            return True
        return await self._renew(key)

    async def _renew(self, key: str) -> bool:
        """Dates what is there as if it were written now; False where it has just gone.

        The sweep of orphans spares what is young: an upload that finds its object there must not rely on an old date.
        S3 copies no object onto itself, so it goes aside and comes back; what a crash leaves aside the sweep takes.
        """
        aside = f"{key}.{uuid.uuid4().hex}"
        try:
            with translated("renew", key):
                await obstore.copy_async(self._store, key, aside)
                await obstore.copy_async(self._store, aside, key)
        except NotFound:
            return False
        await self.delete(aside)
        return True

    async def _found(self, prefix: str) -> AsyncIterator[ObjectMeta]:
        # obstore takes whole segments of a path, a prefix may end within one.
        segments = prefix.rpartition("/")[0]
        with translated("list", prefix):
            async for batch in obstore.list(self._store, prefix=segments or None):
                for found in batch:
                    if found["path"].startswith(prefix):
                        yield found


def _refuse_others(key: str, digest: str | None) -> None:
    named = digest_named(key)
    if named is not None and digest != named:
        raise ChecksumMismatch(f"The bytes have the checksum sha256:{digest}, and the key names sha256:{named}.")


def _whole(key: str) -> str:
    """The key, where it is one: a signature must not lead out of the prefix."""
    if any(part in ("", ".", "..") for part in key.split("/")):
        raise ValueError(f"{key[:200]!r} is no key")
    return key


def _config(settings: S3Settings) -> S3Config:
    config: dict[str, Any] = {
        "region": settings.region,
        # S3 compares each write and each part with it, and refuses what was damaged on the way.
        "checksum_algorithm": "SHA256",
        # One request for each key; not every compatible knows the other way.
        "disable_bulk_delete": True,
        **settings.encryption.config(),
    }
    if settings.endpoint is not None:
        config["endpoint"] = settings.endpoint
    if settings.credentials is not None:
        config["access_key_id"] = settings.credentials.access_key_id
        config["secret_access_key"] = settings.credentials.secret_access_key
        if settings.credentials.session_token is not None:
            config["session_token"] = settings.credentials.session_token
    return config  # type: ignore[return-value]


def _client(settings: S3Settings) -> Any:
    patience = settings.patience
    return {
        "allow_http": settings.base.startswith("http://"),
        "connect_timeout": timedelta(seconds=patience.connect_s),
        "read_timeout": timedelta(seconds=patience.answer_s),
        "timeout": timedelta(seconds=patience.request_s),
        "user_agent": "plugyard",
    }


def _retries(patience: Patience) -> Any:
    return {
        "max_retries": patience.retries,
        "retry_timeout": timedelta(seconds=patience.retry_s),
        "backoff": {
            "init_backoff": timedelta(milliseconds=100),
            "max_backoff": timedelta(seconds=2),
            "base": 2,
        },
    }
