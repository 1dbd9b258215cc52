"""Prepared bundles on disk serve their own package, made by the guests that are here, and nothing else."""

from pathlib import Path

import pytest

from plugyard.sandbox.outside.components import CompiledFolder
from plugyard.sandbox.outside.guests import Guests
from plugyard.sandbox.outside.preparation import PreparedFolder

DIGEST, BUNDLE = "ab" * 32, b'{"entry": "main.py", "files": {}}'
GUESTS = Guests({"python": Path("python-1.cwasm"), "javascript": Path("javascript-1.cwasm")})
NEWER = Guests({"python": Path("python-2.cwasm"), "javascript": Path("javascript-1.cwasm")})


def _kept(folder: Path) -> tuple[PreparedFolder, str]:
    prepared = PreparedFolder(folder, b"secret", GUESTS)
    name = prepared.name("python", DIGEST)
    prepared.write(name, BUNDLE)
    return prepared, name


def test_what_was_prepared_is_there_after_a_restart(tmp_path: Path) -> None:
    _, name = _kept(tmp_path / "prepared")
    assert PreparedFolder(tmp_path / "prepared", b"secret", GUESTS).read(name) == BUNDLE
    assert (tmp_path / "prepared").stat().st_mode & 0o077 == 0


def test_another_guest_another_runtime_and_another_package_have_names_of_their_own(tmp_path: Path) -> None:
    prepared, name = _kept(tmp_path)
    names = {
        name,
        prepared.name("javascript", DIGEST),
        prepared.name("python", "cd" * 32),
        PreparedFolder(tmp_path, b"secret", NEWER).name("python", DIGEST),
    }
    assert len(names) == 4


def test_the_bundle_of_one_package_does_not_pass_for_another(tmp_path: Path) -> None:
    prepared, name = _kept(tmp_path)
    other = prepared.name("python", "cd" * 32)
    (tmp_path / name).rename(tmp_path / other)
    assert prepared.read(other) is None
    assert not (tmp_path / other).exists()


@pytest.mark.parametrize("place", [0, 31, 32, -1])
def test_a_file_in_which_one_byte_was_changed_is_deleted(tmp_path: Path, place: int) -> None:
    prepared, name = _kept(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[place] ^= 1
    (tmp_path / name).write_bytes(data)
    assert prepared.read(name) is None
    assert not (tmp_path / name).exists()


def test_what_another_secret_or_another_purpose_sealed_is_not_taken(tmp_path: Path) -> None:
    prepared, name = _kept(tmp_path)
    assert PreparedFolder(tmp_path, b"another secret", GUESTS).read(name) is None
    CompiledFolder(tmp_path, b"secret").write(name, b"machine code")
    assert prepared.read(name) is None


def test_what_other_guests_made_is_cleared_away_and_so_is_what_was_left_half_written(tmp_path: Path) -> None:
    prepared, _ = _kept(tmp_path)
    prepared.write(prepared.name("javascript", DIGEST), BUNDLE)
    (tmp_path / ".half-x").write_bytes(b"half")
    newer = PreparedFolder(tmp_path, b"secret", NEWER)
    newer.clear_of_other_guests()
    assert [path.name for path in tmp_path.iterdir()] == [prepared.name("javascript", DIGEST)]


def test_the_folder_keeps_to_its_size(tmp_path: Path) -> None:
    prepared = PreparedFolder(tmp_path, b"secret", GUESTS, max_bytes=1000)
    for number in range(10):
        prepared.write(prepared.name("python", f"{number:064}"), bytes(300))
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 1000
    assert prepared.read(prepared.name("python", f"{9:064}")) == bytes(300)


def test_a_folder_that_is_not_there_yet_has_nothing_to_clear(tmp_path: Path) -> None:
    PreparedFolder(tmp_path / "nowhere", b"secret", GUESTS).clear_of_other_guests()
    assert not (tmp_path / "nowhere").exists()
