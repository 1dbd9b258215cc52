"""The guests, built once for all sessions, and one sandbox for the whole of this folder."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import platformdirs
import pytest

from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests, build
from plugyard.sandbox.outside.pool import PoolSettings

from .aftermath import still, unharmed_since


@pytest.fixture(scope="session")
def guests() -> Guests:
    folder = (
        os.environ.get("PLUGYARD_GUESTS") or Path(platformdirs.user_cache_dir("plugyard", appauthor=False)) / "guests"
    )
    return build(Path(folder))


@pytest.fixture(scope="session")
async def sandbox(guests: Guests) -> AsyncIterator[Sandbox]:
    """A running sandbox; what is left of it afterwards is a failure of the tests."""
    sandbox = Sandbox(guests, PoolSettings(spares=1, max_environments=8))
    await sandbox.start()
    yield sandbox
    await sandbox.close()


@pytest.fixture
async def unharmed(sandbox: Sandbox) -> AsyncIterator[None]:
    """After the test the service answers, others run, and no process, file or connection is left of it."""
    before = await still(sandbox)
    yield
    await unharmed_since(sandbox, before)
