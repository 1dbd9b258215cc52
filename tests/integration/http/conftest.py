"""An application for each test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.http.service import Http


@pytest.fixture
async def http(tmp_path: Path) -> Http:
    """The application, with the tenant acme in it."""
    found = Http(tmp_path)
    await found.tenant()
    return found


@pytest.fixture
async def admin(http: Http) -> AsyncIterator[Any]:
    """A client with acme's admin key."""
    async with http.client() as client:
        yield client
