"""How bytes that were kept elsewhere prove to be those that were stored under a key, whoever hands them back.

`s3` asks what S3 answers, `cached` what the local disk answers. A package proves itself: its key names its SHA-256.
A bundle lies under the digest of the package that it was made from, so a keyed hash over its key and its bytes
stands beside it. For all other keys a SHA-256 beside the bytes shows damage, and nothing more.
"""

import asyncio
import hashlib
import hmac
import os
import re
from pathlib import Path

_PACKAGE = re.compile(r"packages/sha256/([0-9a-f]{2})/(\1[0-9a-f]{62})")
_BUNDLES = "bundles/"
_PIECE_BYTES = 1 << 20
# Hashing less than this takes less time than asking a thread for it.
_AT_ONCE_BYTES = 256 * 1024


def digest_named(key: str) -> str | None:
    """The SHA-256 in hex that a package's key names; `None` for every other key."""
    found = _PACKAGE.fullmatch(key)
    return found.group(2) if found else None


def is_sealed(key: str) -> bool:
    """Whether what lies under the key counts only with a seal of this service: it is executed, and names no digest."""
    return key.startswith(_BUNDLES)


class Seals:
    """Makes and compares seals. `secret` must be the same in every process that reads what another has sealed."""

    def __init__(self, secret: bytes, purpose: bytes) -> None:
        self._key = hmac.digest(secret, purpose, "sha256")

    def of(self, key: str, digest: str, form: str = "") -> bytes:
        """The seal (32 bytes) over a key, the SHA-256 in hex of what lies there, and the form that it lies there in."""
        return hmac.digest(self._key, "\0".join((key, form, digest)).encode(), "sha256")

    def fits(self, seal: bytes, key: str, digest: str, form: str = "") -> bool:
        """Whether a seal is the one above."""
        return hmac.compare_digest(seal, self.of(key, digest, form))


async def sha256_of(data: bytes) -> str:
    """The SHA-256 of bytes in hex; large ones are hashed in a thread."""
    if len(data) <= _AT_ONCE_BYTES:
        return hashlib.sha256(data).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())


def sha256_of_file(path: Path) -> tuple[str, int, bytes]:
    """The SHA-256 of a file in hex, its size in bytes, and how it begins. Raises `OSError`."""
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        begins = file.read(16)
        file.seek(0)
        while piece := file.read(_PIECE_BYTES):
            hashed.update(piece)
        return hashed.hexdigest(), os.fstat(file.fileno()).st_size, begins
