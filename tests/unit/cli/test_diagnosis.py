"""``plugyard doctor``: a line for each part of the jail, and for each that lacks what that means and how to get it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from plugyard.cli import diagnosis
from plugyard.cli.diagnosis import diagnose, of_namespaces, remedy
from plugyard.sandbox import jail
from plugyard.sandbox.jail import Kernel, Trial
from plugyard.settings import Settings

ALL = Trial(jail.NAMESPACES, {})
NONE = Trial((), dict.fromkeys(jail.NAMESPACES, "unshare: Operation not permitted"))
FULL = Kernel(seccomp=True, landlock_abi=7, drops_root=True, pidfd=True)
EMPTY = Kernel(seccomp=False, landlock_abi=0, drops_root=False, pidfd=False)


def look(
    monkeypatch: pytest.MonkeyPatch, folder: Path, kernel: Kernel, found: Trial, **settings: bool
) -> dict[str, diagnosis.Check]:
    monkeypatch.setattr(diagnosis.jail, "probe", lambda: kernel)
    monkeypatch.setattr(diagnosis.jail, "try_namespaces", lambda: found)
    return {check.name: check for check in diagnose(Settings(data=folder, **settings))}


def test_each_part_of_the_jail_has_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    checks = look(monkeypatch, tmp_path, FULL, ALL)
    parts = ["process", "seccomp", "landlock", "own user", *(f"{name} namespace" for name in jail.NAMESPACES)]
    assert [name for name in checks if name in parts] == parts
    assert all(checks[name].ok and not checks[name].remedy for name in parts)


def test_what_is_missing_says_what_that_means_and_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checks = look(monkeypatch, tmp_path, EMPTY, NONE)
    for name in ["process", "seccomp", "landlock", "own user", *(f"{name} namespace" for name in jail.NAMESPACES)]:
        assert not checks[name].ok
        assert checks[name].detail
        assert checks[name].remedy
    assert "Operation not permitted" in checks["pid namespace"].detail


def test_an_old_landlock_says_what_a_newer_one_would_deny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = look(monkeypatch, tmp_path, Kernel(True, 3, True, True), ALL)["landlock"]
    assert old.ok
    assert "TCP" not in old.detail
    assert "signals" in old.remedy


@pytest.mark.parametrize(
    ("settings", "needed"),
    [
        ({}, {"process", "seccomp"}),
        ({"unsafe_no_jail": True}, {"process"}),
        ({"require_namespaces": True}, {"process", "seccomp", *(f"{name} namespace" for name in jail.NAMESPACES)}),
    ],
)
def test_the_settings_say_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: dict[str, bool], needed: set[str]
) -> None:
    checks = look(monkeypatch, tmp_path, EMPTY, NONE, **settings)
    assert {name for name, check in checks.items() if check.needed} == needed | {"system", "python"}


def test_a_namespace_that_lacks_is_one_line_among_those_that_are_there() -> None:
    found = Trial(tuple(name for name in jail.NAMESPACES if name != "mount"), {"mount": "pivot_root: Invalid argument"})
    checks = {check.name: check for check in of_namespaces(found, required=False)}
    assert [name for name, check in checks.items() if not check.ok] == ["mount namespace"]
    assert "pivot_root" in checks["mount namespace"].detail


@pytest.mark.parametrize(
    ("files", "euid", "expected"),
    [
        ({"proc/sys/user/max_user_namespaces": "0\n"}, 1000, "user.max_user_namespaces"),
        ({"proc/sys/kernel/unprivileged_userns_clone": "0\n"}, 1000, "kernel.unprivileged_userns_clone=1"),
        ({"proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1\n"}, 1000, "AppArmor"),
        ({".dockerenv": "", "proc/sys/user/max_user_namespaces": "100\n"}, 0, "container"),
        ({"run/.containerenv": ""}, 1000, "container"),
        ({}, 0, "CAP_SYS_ADMIN"),
        ({}, 1000, "CONFIG_USER_NS"),
    ],
)
def test_the_remedy_fits_what_stands_in_the_way(
    tmp_path: Path, files: dict[str, str], euid: int, expected: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert expected in remedy(tmp_path, euid=euid)


def doctor(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "plugyard.cli", "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_it_prints_the_same_for_people_and_for_programs(tmp_path: Path) -> None:
    told = doctor("--data", str(tmp_path), "--json")
    checks = json.loads(told.stdout)
    assert all(set(check) == {"name", "ok", "needed", "detail", "remedy"} for check in checks)
    assert told.returncode == (0 if all(check["ok"] or not check["needed"] for check in checks) else 1)
    lines = doctor("--data", str(tmp_path)).stdout.splitlines()
    for check in checks:
        if check["name"] == "disk":
            continue
        (line,) = [line for line in lines if line.startswith(("ok ", "NO ")) and f" {check['name']} " in line[:24]]
        assert line.startswith("ok" if check["ok"] else "NO")
        assert line.endswith(check["detail"])
        assert not check["remedy"] or any(one.strip() == f"to get it: {check['remedy']}" for one in lines)
