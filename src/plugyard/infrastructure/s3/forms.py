"""How an object lies in the bucket: its content type, whether it is compressed, and what proves it later."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from plugyard.infrastructure.proofs import Seals, digest_named, is_sealed

if TYPE_CHECKING:
    from obstore import Attributes

SHA256, SEAL = "plugyard-sha256", "plugyard-seal"
"""Names of the object metadata; S3 shows them with `x-amz-meta-` before."""
_GZIP = "gzip"
_GZIP_LEVEL = 6
# Less than this fits into one packet anyway.
_WORTH_BYTES = 1_024
# What shrinks by less than a tenth is not worth the unpacking.
_WORTH_SHARE = 0.9
_MAGIC = ((b"PK\x03\x04", "application/zip"), (b"PK\x05\x06", "application/zip"), (b"\x1f\x8b", "application/gzip"),
          (b"\x00asm", "application/wasm"))  # fmt: skip
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class Form:
    """Bytes as they are stored, and the header that says how to read them: empty, or `gzip`."""

    data: bytes
    encoding: str = ""


def formed(key: str, data: bytes) -> Form:
    """Bundles are text and shrink to a third or less; packages are compressed, and files are counted as they are."""
    if not is_sealed(key) or len(data) < _WORTH_BYTES:
        return Form(data)
    # Without a time the same bytes always take the same form, so that the form can be compared.
    packed = gzip.compress(data, _GZIP_LEVEL, mtime=0)
    return Form(packed, _GZIP) if len(packed) < _WORTH_SHARE * len(data) else Form(data)


def unformed(data: bytes, attributes: Mapping[str, str]) -> bytes:
    """The bytes as they were before `formed`. For bytes that are proven, for it inflates without a bound."""
    return gzip.decompress(data) if attributes.get("Content-Encoding") == _GZIP else data


def content_type(key: str, begins: bytes) -> str:
    """By what the bytes are. What a browser would run is never named: a plugin may have written it."""
    for magic, name in _MAGIC:
        if begins.startswith(magic):
            return name
    return "application/json" if is_sealed(key) and key.endswith(".json") else OCTETS


def attributes_of(key: str, begins: bytes, digest: str, encoding: str, seals: Seals) -> Attributes:
    """The header fields and the metadata that an object gets. `begins` is of the bytes before `formed`."""
    attributes: Attributes = {"Content-Type": content_type(key, begins), SHA256: digest}
    if encoding:
        attributes["Content-Encoding"] = encoding
    if is_sealed(key):
        attributes[SEAL] = seals.of(key, digest, encoding).hex()
    return attributes


def proves(key: str, digest: str, attributes: Mapping[str, str], seals: Seals) -> bool:
    """Whether bytes of this SHA-256, with these attributes, are what was stored under the key.

    A file that came by a signed URL has no checksum of ours beside it, and is taken as it is.
    """
    named = digest_named(key)
    if named is not None:
        return digest == named
    if is_sealed(key):
        try:
            seal = bytes.fromhex(attributes.get(SEAL, ""))
        except ValueError:
            return False
        return seals.fits(seal, key, digest, attributes.get("Content-Encoding", ""))
    return attributes.get(SHA256, digest) == digest
