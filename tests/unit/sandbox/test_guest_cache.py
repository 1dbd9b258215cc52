"""The cache of compiled guests: built once, by one process at a time, and never half."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from wasmtime import wat2wasm
from wasmtime.component import Component

from plugyard.sandbox.inside.compile import compile_component
from plugyard.sandbox.inside.environment import engine
from plugyard.sandbox.outside import guests


class Toolchain:
    """Stands in for componentize-py, npm and the compiler."""

    def __init__(self) -> None:
        self.compiled: list[str] = []
        self.fails = False
        self._lock = threading.Lock()

    def run(self, step: str, command: list[str], folder: Path) -> None:
        if step != "compile":
            return
        time.sleep(0.05)
        if self.fails:
            raise guests.GuestBuildError("compile failed")
        with self._lock:
            self.compiled.append(folder.parent.name.split("-")[1])
        Path(command[-1]).write_bytes(b"artefact")


@pytest.fixture
def toolchain(monkeypatch: pytest.MonkeyPatch) -> Toolchain:
    toolchain = Toolchain()
    monkeypatch.setattr(guests, "_run", toolchain.run)
    return toolchain


def test_a_second_start_builds_nothing(tmp_path: Path, toolchain: Toolchain) -> None:
    first = guests.build(tmp_path / "cache")
    assert sorted(toolchain.compiled) == ["javascript", "python"]
    assert guests.build(tmp_path / "cache") == first
    assert len(toolchain.compiled) == 2
    assert all(path.read_bytes() == b"artefact" for path in first.artefacts.values())


def test_two_that_build_at_once_build_once(tmp_path: Path, toolchain: Toolchain) -> None:
    with ThreadPoolExecutor(4) as threads:
        found = [task.result() for task in [threads.submit(guests.build, tmp_path / "cache") for _ in range(4)]]
    assert len(set(map(str, found))) == 1
    assert sorted(toolchain.compiled) == ["javascript", "python"]


def test_a_build_that_fails_leaves_nothing_half_and_the_next_one_succeeds(tmp_path: Path, toolchain: Toolchain) -> None:
    cache = tmp_path / "cache"
    toolchain.fails = True
    with pytest.raises(guests.GuestBuildError, match="compile failed"):
        guests.build(cache)
    assert list(cache.glob("*.cwasm")) == []
    assert list(cache.glob(".building-*")) == []
    # What a build that was killed leaves behind goes with the next one.
    (cache / ".building-python-dead").mkdir()
    toolchain.fails = False
    assert all(path.exists() for path in guests.build(cache).artefacts.values())
    assert list(cache.glob(".building-*")) == []


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, toolchain: Toolchain) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with pytest.raises(guests.GuestBuildError, match="writable by no one else"):
        guests.build(cache)
    assert toolchain.compiled == []


def test_progress_goes_from_nothing_to_the_whole(tmp_path: Path, toolchain: Toolchain) -> None:
    seen: list[tuple[str, float | None]] = []
    guests.build(tmp_path / "cache", lambda step, fraction: seen.append((step, fraction)))
    fractions = [fraction for _, fraction in seen if fraction is not None]
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert fractions == sorted(fractions)


def test_a_changed_source_is_another_artefact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("guests/python", "sdk"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "sdk" / "plugin.wit").write_text("package x;")
    (tmp_path / "guests" / "modules.json").write_text("{}")
    source = tmp_path / "guests" / "python" / "guest.py"
    source.write_text("a = 1\n")
    monkeypatch.setattr(guests, "source_root", lambda: tmp_path)
    before = guests._digest("python")
    source.write_text("a = 2\n")
    after = guests._digest("python")
    (tmp_path / "guests" / "modules.json").write_text('{"more": 1}')
    assert len({before, after, guests._digest("python")}) == 3


def test_the_sources_of_both_guests_are_found() -> None:
    root = guests.source_root()
    assert (root / "sdk" / "plugin.wit").is_file()
    assert (root / "guests" / "javascript" / "package-lock.json").is_file()
    assert "resolved" not in (root / "guests" / "javascript" / "package-lock.json").read_text()


def test_guests_of_an_image_are_compiled_for_every_processor(
    tmp_path: Path, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[list[str]] = []

    def run(step: str, command: list[str], folder: Path) -> None:
        if step == "compile":
            told.append(command)
            Path(command[-2]).write_bytes(b"artefact")

    monkeypatch.setattr(guests, "_run", run)
    guests.build(tmp_path / "cache", any_processor=True)
    assert [command[-1] for command in told] == ["any", "any"]
    # The service finds them under the names that it would give its own.
    monkeypatch.setattr(guests, "_run", toolchain.run)
    guests.build(tmp_path / "cache")
    assert toolchain.compiled == []


def test_a_component_for_every_processor_loads_on_this_one(tmp_path: Path) -> None:
    source, native, shared = (tmp_path / name for name in ("a.wasm", "native.cwasm", "shared.cwasm"))
    source.write_bytes(wat2wasm("(component)"))
    compile_component(source, native)
    compile_component(source, shared, any_processor=True)
    assert native.read_bytes() != shared.read_bytes(), "it asks for no less than this processor has"
    Component.deserialize_file(engine(), str(shared))


def test_artefacts_that_root_owns_are_as_good_as_ones_own(
    tmp_path: Path, toolchain: Toolchain, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o755)
    owner = cache.stat().st_uid
    monkeypatch.setattr(guests.os, "geteuid", lambda: owner + 1)
    if owner == 0:
        guests.build(cache)
    else:
        with pytest.raises(guests.GuestBuildError, match="or to root"):
            guests.build(cache)
    assert (toolchain.compiled == []) == (owner != 0)
