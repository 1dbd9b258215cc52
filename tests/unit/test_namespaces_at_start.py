"""What a start says of the namespaces of its plugins' processes, and when it refuses."""

from pathlib import Path

import pytest
import structlog

from plugyard.bootstrap import CannotStart, Service
from plugyard.sandbox import jail
from plugyard.sandbox.jail import Trial
from plugyard.settings import Settings

ALL = Trial(jail.NAMESPACES, {})
SOME = Trial(("user", "pid"), {"network": "unshare: No space left on device"})


async def said(
    monkeypatch: pytest.MonkeyPatch, folder: Path, found: Trial, **settings: bool
) -> list[dict[str, object]]:
    monkeypatch.setattr(jail, "try_namespaces", lambda: found)
    service = Service(Settings(data=folder, **settings))
    with structlog.testing.capture_logs() as logs:
        await service._look_at_namespaces()
    return [dict(line) for line in logs]


async def test_the_log_names_what_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (line,) = await said(monkeypatch, tmp_path, ALL)
    assert line["log_level"] == "info"
    assert line["namespaces"] == list(jail.NAMESPACES)


async def test_the_log_warns_of_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (line,) = await said(monkeypatch, tmp_path, SOME)
    assert line["log_level"] == "warning"
    assert line["missing"] == "network"


async def test_a_service_that_requires_them_does_not_start_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(CannotStart, match=r"network \(unshare: No space left on device\).*plugyard doctor"):
        await said(monkeypatch, tmp_path, SOME, require_namespaces=True)
    assert await said(monkeypatch, tmp_path, ALL, require_namespaces=True)


async def test_it_cannot_require_them_and_leave_the_jail_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="exclude each other"):
        await said(monkeypatch, tmp_path, ALL, require_namespaces=True, unsafe_no_jail=True)
    assert await said(monkeypatch, tmp_path, ALL, unsafe_no_jail=True) == []
