"""Machine code on disk is taken back only under this data folder's own seal."""

import os
from pathlib import Path

import pytest

from plugyard.sandbox.outside.components import CompiledFolder

COMPONENT, ARTEFACT = b"\0asm component", b"machine code"


def _kept(folder: Path, secret: bytes = b"secret") -> tuple[CompiledFolder, str]:
    compiled = CompiledFolder(folder, secret)
    name = compiled.name(COMPONENT)
    compiled.write(name, ARTEFACT)
    return compiled, name


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    compiled, name = _kept(tmp_path / "compiled")
    assert compiled.read(name) == ARTEFACT
    assert CompiledFolder(tmp_path / "compiled", b"secret").read(name) == ARTEFACT
    assert (tmp_path / "compiled").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("place", [0, 31, 32, -1])
def test_a_file_in_which_one_byte_was_changed_is_deleted(tmp_path: Path, place: int) -> None:
    compiled, name = _kept(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    assert compiled.read(name) is None
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("data", [b"", b"short", bytes(32)])
def test_a_file_that_was_cut_is_not_taken(tmp_path: Path, data: bytes) -> None:
    compiled, name = _kept(tmp_path)
    (tmp_path / name).write_bytes(data)
    assert compiled.read(name) is None


def test_another_folders_secret_opens_nothing(tmp_path: Path) -> None:
    _, name = _kept(tmp_path)
    assert CompiledFolder(tmp_path, b"another secret").read(name) is None


def test_the_machine_code_of_one_component_does_not_pass_for_another(tmp_path: Path) -> None:
    compiled, name = _kept(tmp_path)
    other = compiled.name(b"another component")
    (tmp_path / name).rename(tmp_path / other)
    assert compiled.read(other) is None


def test_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    compiled = CompiledFolder(tmp_path, b"secret", max_bytes=300)
    for number in range(4):
        compiled.write(f"{number}.cwasm", bytes(100))
        os.utime(tmp_path / f"{number}.cwasm", (number, number))
    compiled.read("2.cwasm")
    compiled.write("5.cwasm", bytes(100))
    assert {path.name for path in tmp_path.iterdir()} == {"2.cwasm", "5.cwasm"}


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    compiled = CompiledFolder(tmp_path / "file", b"secret")
    compiled.write("a", ARTEFACT)
    assert compiled.read("a") is None
