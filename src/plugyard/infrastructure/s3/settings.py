"""Where the bucket is, who may use it and how it encrypts, as `bootstrap` read it from the settings."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from obstore.store import S3Config

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_KMS = "aws:kms"
_DEFAULT_REGION = "us-east-1"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Encryption:
    """What S3 is told to encrypt with at each write: `AES256` is SSE-S3, `aws:kms` is SSE-KMS, `None` is nothing.

    Source: Amazon S3 User Guide, "Protecting data with server-side encryption".
    """

    algorithm: str | None = "AES256"
    key: str | None = None

    @classmethod
    def parsed(cls, text: str) -> Encryption:
        """From `AES256`, `aws:kms`, `aws:kms=KEY` or `none`. Raises `ValueError`."""
        algorithm, sign, key = text.strip().partition("=")
        if algorithm == _KMS and (key or not sign):
            return cls(_KMS, key or None)
        if sign or algorithm not in ("AES256", "none"):
            raise ValueError(f"{text!r}: write AES256, aws:kms, aws:kms=KEY or none")
        return cls(None if algorithm == "none" else algorithm)

    def config(self) -> S3Config:
        """The same for obstore, which then says it with each write, each copy and each start of a multipart upload."""
        if self.algorithm is None:
            return {}
        if self.key is None:
            return {"server_side_encryption": self.algorithm}
        return {"server_side_encryption": self.algorithm, "sse_kms_key_id": self.key}

    def headers(self) -> dict[str, str]:
        """The same as header fields, for a writer who comes with a signed URL."""
        if self.algorithm is None:
            return {}
        named = {"x-amz-server-side-encryption-aws-kms-key-id": self.key} if self.key else {}
        return {"x-amz-server-side-encryption": self.algorithm, **named}


@dataclass(frozen=True)
class Credentials:
    """An access key. None of it but its id is ever shown."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls) -> Credentials | None:
        """Those that the AWS variables name, as every tool for S3 reads them; `None` where they name none."""
        named, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
        return cls(named, secret, os.environ.get("AWS_SESSION_TOKEN")) if named and secret else None


@dataclass(frozen=True)
class Patience:
    """How long S3 is waited for, in seconds, before it counts as away.

    `answer_s` is the longest silence within a request and `request_s` its longest duration; after `retry_s` since the
    first try there is none more.
    """

    connect_s: float = 3.0
    answer_s: float = 10.0
    request_s: float = 120.0
    retries: int = 3
    retry_s: float = 15.0


@dataclass(frozen=True)
class S3Settings:
    """A bucket, the part of it that is ours, and the way to it. Without credentials obstore finds those of the machine.

    `endpoint` is `None` for Amazon itself.
    """

    bucket: str
    prefix: str = ""
    endpoint: str | None = None
    region: str = _DEFAULT_REGION
    credentials: Credentials | None = None
    encryption: Encryption = Encryption()
    patience: Patience = Patience()

    @classmethod
    def parsed(
        cls,
        url: str,
        *,
        endpoint: str | None = None,
        region: str | None = None,
        credentials: Credentials | None = None,
        encryption: str = "AES256",
    ) -> S3Settings:
        """From `s3://bucket/prefix` and the rest. Raises `ValueError`, which never repeats a secret."""
        parts = urlsplit(url)
        if parts.scheme != "s3" or parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("write the bucket as s3://bucket/prefix, and credentials in settings of their own")
        if not _BUCKET.fullmatch(parts.netloc):
            raise ValueError(f"{parts.netloc[:80]!r} is no name of a bucket")
        prefix = parts.path.strip("/")
        if any(part in ("", ".", "..") for part in prefix.split("/")) and prefix:
            raise ValueError(f"{prefix[:80]!r} is no prefix")
        if endpoint is not None:
            where = urlsplit(endpoint)
            if where.scheme not in ("http", "https") or not where.hostname or where.username or where.query:
                raise ValueError("the endpoint is an http or https URL without credentials")
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or _DEFAULT_REGION
        return cls(
            parts.netloc,
            prefix,
            endpoint.rstrip("/") if endpoint else None,
            region,
            credentials or Credentials.from_environment(),
            Encryption.parsed(encryption),
        )

    @property
    def base(self) -> str:
        """The address below which the keys lie, by path, as every compatible understands it."""
        base = f"{self.endpoint or f'https://s3.{self.region}.amazonaws.com'}/{self.bucket}"
        return f"{base}/{self.prefix}" if self.prefix else base

    @property
    def in_the_clear(self) -> bool:
        """Whether what is sent can be read on the way: by http, and not to this machine."""
        where = urlsplit(self.base)
        return where.scheme == "http" and where.hostname not in _LOOPBACK
