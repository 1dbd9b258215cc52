"""A platform in memory for each test, and an admin of its first tenant."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from plugyard.domain.identity import Caller
from tests.memory.world import World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The platform; what it began in the background has ended when the test has."""
    made = World(tmp_path)
    yield made
    await made.quiet()


@pytest.fixture
async def admin(world: World) -> Caller:
    """An admin of the tenant ``acme``."""
    return await world.caller()
