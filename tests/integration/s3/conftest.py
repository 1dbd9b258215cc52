"""A prefix of the bucket for each test, with and without a proxy that writes down what is asked."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from plugyard.infrastructure.s3.objects import S3Objects
from plugyard.infrastructure.s3.settings import S3Settings
from tests.integration.s3.recorder import Recorder, recorder
from tests.seaweed import Seaweed

SECRET = b"the same in all replicas"


def package_key(data: bytes) -> str:
    """Where a package of these bytes lies."""
    digest = hashlib.sha256(data).hexdigest()
    return f"packages/sha256/{digest[:2]}/{digest}"


async def asked(method: str, url: str, content: bytes | None = None, headers: Any = None) -> httpx.Response:
    """The answer to somebody who has nothing but a URL."""
    async with httpx.AsyncClient(timeout=30) as client:
        return await client.request(method, url, content=content, headers=headers)


@dataclass(frozen=True)
class Bucket:
    """A prefix, an adapter for it, and the way there for what tests look at."""

    settings: S3Settings
    objects: S3Objects


@pytest.fixture
def bucket(s3: Seaweed) -> Bucket:
    """Straight to S3."""
    settings = s3.settings(uuid.uuid4().hex)
    return Bucket(settings, S3Objects(settings, SECRET))


@dataclass(frozen=True)
class Watched:
    """The same through a proxy."""

    recorder: Recorder
    server: Seaweed
    prefix: str

    def objects(self, **settings: Any) -> S3Objects:
        """An adapter that goes through the proxy."""
        return S3Objects(self.server.settings(self.prefix, endpoint=self.recorder.endpoint, **settings), SECRET)


@pytest.fixture
def watched(s3: Seaweed) -> Iterator[Watched]:
    """Through a proxy that writes down what is asked."""
    with recorder(s3.endpoint) as recording:
        yield Watched(recording, s3, uuid.uuid4().hex)


@pytest.fixture
def large_file(tmp_path: Path) -> Path:
    """More than one part."""
    path = tmp_path / "large"
    path.write_bytes(b"PK\x03\x04" + bytes(range(256)) * 45_000)
    return path
