"""The Dockerfile: what hadolint says of it, and what it promises to whoever runs the image."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from plugyard import __version__
from plugyard.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy/Dockerfile"


def instructions() -> list[tuple[str, str]]:
    """Each instruction with its words, lines that go on joined, comments left out."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines())]


def last_stage() -> list[tuple[str, str]]:
    """The instructions of the image itself."""
    every = instructions()
    last = max(number for number, (word, _) in enumerate(every) if word == "FROM")
    return every[last:]


def words(name: str) -> str:
    """What stands behind the only instruction of this name in the last stage."""
    (found,) = [rest for word, rest in last_stage() if word == name]
    return found


def test_hadolint_finds_nothing() -> None:
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("the wheel of hadolint is not made for this machine")
    done = subprocess.run([hadolint, "--no-color", str(DOCKERFILE)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_has_no_tool_that_built_it_and_is_not_root() -> None:
    assert [rest.partition(" AS ")[2] for word, rest in instructions() if word == "FROM"] == ["wheel", "service", ""]
    assert words("USER") == "10001:10001"
    assert not [rest for word, rest in last_stage() if word in ("RUN", "ADD")]
    copied = [rest for word, rest in last_stage() if word == "COPY"]
    assert all(one.startswith("--from=service ") for one in copied)
    # Code and guests are root's; the one thing that belongs to the service is the empty folder for its data.
    assert [one for one in copied if "--chown" in one] == ["--from=service --chown=10001:10001 /data /var/lib/plugyard"]


def test_nothing_at_run_time_goes_through_a_shell() -> None:
    assert json.loads(words("ENTRYPOINT")) == ["plugyard"]
    assert json.loads(words("CMD")) == ["serve"]
    checked = words("HEALTHCHECK").partition(" CMD ")[2]
    assert json.loads(checked) == ["plugyard", "healthy"]


def test_a_start_builds_nothing() -> None:
    built = [rest for word, rest in instructions() if word == "RUN" and "plugyard guests" in rest]
    assert len(built) == 1
    assert "--any-processor" in built[0]
    folder = re.search(r"--guests (\S+)", built[0])
    assert folder is not None
    assert environment()["PLUGYARD_GUESTS"] == folder[1]
    # Others can read them, and nobody can write them.
    assert f"chmod 0755 {folder[1]}" in built[0]


def environment() -> dict[str, str]:
    """The variables of the image."""
    return dict(re.findall(r"(\w+)=(\S+)", words("ENV")))


def test_every_variable_of_the_image_is_a_setting() -> None:
    known = {f"PLUGYARD_{field.name.upper()}" for field in fields(Settings)}
    assert {name for name in environment() if name.startswith("PLUGYARD_")} <= known
    assert words("EXPOSE") == environment()["PLUGYARD_PORT"]
    assert json.loads(words("VOLUME")) == [environment()["PLUGYARD_DATA"]]


def test_the_labels_name_the_version() -> None:
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', words("LABEL")))
    assert labels.keys() == {"title", "description", "licenses", "version", "revision"}
    assert ("ARG", f"VERSION={__version__}") in last_stage()
    assert labels["licenses"] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]


def test_the_builder_is_sent_what_the_wheel_needs_and_no_more() -> None:
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
    needed = tomllib.loads((ROOT / "pyproject.toml").read_text())
    bundled = needed["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert sent == {"pyproject.toml", needed["project"]["readme"], "src", *bundled}
    copied = " ".join(rest for word, rest in instructions() if word == "COPY" and "--from" not in rest).split()
    assert sent <= set(copied)
