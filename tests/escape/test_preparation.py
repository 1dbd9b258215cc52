"""What is made of a package once outlives the service, serves that package alone, and holds no policy."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plugyard.domain.manifest import Runtime
from plugyard.sandbox.outside import broker
from plugyard.sandbox.outside.executor import Sandbox
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.pool import PoolSettings
from plugyard.sandbox.outside.preparation import PreparedFolder

from .hostile import run, value

PYTHON, JAVASCRIPT = Runtime.PYTHON, Runtime.JAVASCRIPT
SOURCES = {
    PYTHON: "import pickle, helper\ndef run(n): return helper.twice(n)\n",
    JAVASCRIPT: "import { twice } from './helper';\nimport 'crypto';\n"
    "export const run = (n: number): number => twice(n);\n",
}
FILES = {
    PYTHON: {"helper.py": "def twice(n): return 2 * n\n"},
    JAVASCRIPT: {"helper.ts": "export const twice = (n: number) => 2 * n;\n"},
}
RUNTIMES = pytest.mark.parametrize("runtime", [PYTHON, JAVASCRIPT])


@asynccontextmanager
async def sandbox_on(folder: Path, guests: Guests, denied: tuple[str, ...] = ()) -> AsyncIterator[Sandbox]:
    """A sandbox that keeps its prepared bundles in `folder`, as a service that has just started."""
    prepared = PreparedFolder(folder, b"secret", guests)
    sandbox = Sandbox(guests, PoolSettings(spares=0, max_environments=4), prepared=prepared, modules_denied=denied)
    await sandbox.start()
    try:
        yield sandbox
    finally:
        await sandbox.close()


def names_in(folder: Path) -> list[str]:
    """What is kept."""
    return [path.name for path in folder.iterdir()]


def spoil(folder: Path) -> None:
    """Change the one file that is kept, as who can write the folder and has no key might."""
    (kept,) = folder.iterdir()
    data = kept.read_bytes()
    assert b"2 * n" in data
    kept.write_bytes(data.replace(b"2 * n", b"3 * n"))


@pytest.fixture
def preparations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The size of every bundle that an environment was asked to prepare."""
    asked: list[int] = []
    prepare = broker.Environment.prepare

    async def counted(self: broker.Environment, memory: int, bundle: bytes, allowance: broker.Allowance) -> bytes:
        asked.append(len(bundle))
        return await prepare(self, memory, bundle, allowance)

    monkeypatch.setattr(broker.Environment, "prepare", counted)
    return asked


@RUNTIMES
async def test_a_second_service_on_the_same_folder_executes_without_preparing(
    guests: Guests, tmp_path: Path, runtime: Runtime, preparations: list[int]
) -> None:
    for _ in range(2):
        async with sandbox_on(tmp_path, guests) as sandbox:
            assert value(await run(sandbox, runtime, SOURCES[runtime], files=FILES[runtime], input=21)) == 42
    assert len(preparations) == 1


@RUNTIMES
async def test_what_was_tampered_with_is_prepared_anew(
    guests: Guests, tmp_path: Path, runtime: Runtime, preparations: list[int]
) -> None:
    async with sandbox_on(tmp_path, guests) as sandbox:
        assert value(await run(sandbox, runtime, SOURCES[runtime], files=FILES[runtime], input=1)) == 2
    spoil(tmp_path)
    async with sandbox_on(tmp_path, guests) as sandbox:
        assert value(await run(sandbox, runtime, SOURCES[runtime], files=FILES[runtime], input=1)) == 2
    assert len(preparations) == 2


@RUNTIMES
async def test_a_module_that_is_denied_after_the_restart_is_refused_although_nothing_is_prepared(
    guests: Guests, tmp_path: Path, runtime: Runtime, preparations: list[int]
) -> None:
    denied = {PYTHON: "pickle", JAVASCRIPT: "crypto"}[runtime]
    for policy, code in (((), None), ((denied,), "module_refused"), ((), None)):
        async with sandbox_on(tmp_path, guests, policy) as sandbox:
            outcome = await run(sandbox, runtime, SOURCES[runtime], files=FILES[runtime], input=1)
            assert (outcome.error and outcome.error.code) == code
    assert len(preparations) == 1


async def test_what_cannot_be_prepared_is_tried_again_by_the_next_service(
    guests: Guests, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> bytes:
        return b""

    with monkeypatch.context() as patch:
        patch.setattr(broker.Environment, "prepare", nothing)
        async with sandbox_on(tmp_path, guests) as sandbox:
            assert value(await run(sandbox, PYTHON, SOURCES[PYTHON], files=FILES[PYTHON], input=1)) == 2
    assert names_in(tmp_path) == []
