"""The check in its jailed process: what it answers, what it is denied, and that nothing it does reaches the service."""

import asyncio
import hashlib
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from plugyard.application.ports import Inspection
from plugyard.domain.errors import GateUnavailable
from plugyard.gate.jailed import JailedInspector
from plugyard.gate.limits import GateLimits
from plugyard.gate.malware import MalwareFile
from plugyard.sandbox.outside import zygote_client
from plugyard.sandbox.outside.zygote_client import Child
from tests.unit.gate.archive_samples import SAMPLES
from tests.unit.gate.checks.sampling import FOLDERS
from tests.unit.gate.manifest_samples import MANIFEST_SAMPLES
from tests.unit.gate.packing import Entry, deflated, manifest, plain

_LIMITS = GateLimits()
_DIGEST = "d" * 64


@pytest.fixture
async def inspector() -> AsyncIterator[JailedInspector]:
    made = JailedInspector()
    await made.start()
    yield made
    await made.close()


async def _inspect(inspector: JailedInspector, folder: Path, package: bytes) -> Inspection:
    path = folder / "package"
    path.write_bytes(package)
    return await inspector.inspect(path, digest=_DIGEST, size=len(package))


def _rules(inspection: Inspection) -> set[str]:
    return {finding.rule for finding in inspection.report.findings}


class _Remembering(JailedInspector):
    """Keeps the children that it forked, for tests to look at."""

    def __init__(self, limits: GateLimits | None = None) -> None:
        super().__init__(limits)
        self.children: list[Child] = []

    async def _fork(self, path: Path, digest: str) -> Child:
        child = await super()._fork(path, digest)
        self.children.append(child)
        return child


async def test_every_sample_is_judged_in_the_jail_as_outside(inspector: JailedInspector, tmp_path: Path) -> None:
    for sample in SAMPLES:
        if sample.limits == _LIMITS:
            assert sample.rule in _rules(await _inspect(inspector, tmp_path, sample.package())), sample.claim
            assert not (await _inspect(inspector, tmp_path, sample.twin())).report.refused, sample.claim
    for case in MANIFEST_SAMPLES:
        if case.rule != "manifest.missing":
            package = plain(*(Entry(name.encode()) for name in case.files), text=case.text)
            assert case.rule in _rules(await _inspect(inspector, tmp_path, package)), case


async def test_secrets_are_found_in_the_jail_as_outside(inspector: JailedInspector, tmp_path: Path) -> None:
    for sample in FOLDERS:
        if sample.check == "secrets" and sample.bad:
            assert sample.rule in _rules(await _inspect(inspector, tmp_path, sample.package())), sample


async def test_malware_is_found_by_digests_from_the_jail_and_by_a_list_that_changes(tmp_path: Path) -> None:
    known = tmp_path / "known.txt"
    known.write_text("# nothing yet\n")
    package = plain(Entry(b"data/evil.bin", b"evil"))
    inspector = JailedInspector(malware=MalwareFile(known))
    try:
        assert not (await _inspect(inspector, tmp_path, package)).report.refused
        known.write_text(hashlib.sha256(b"evil").hexdigest() + " Trojan.Sample\n")
        inspection = await _inspect(inspector, tmp_path, package)
        assert [(one.rule, one.where) for one in inspection.report.findings] == [("malware.file", "data/evil.bin")]
        known.write_text(_DIGEST + "\n")
        assert _rules(await _inspect(inspector, tmp_path, package)) == {"malware.package"}
    finally:
        await inspector.close()


async def test_packages_are_checked_side_by_side(inspector: JailedInspector, tmp_path: Path) -> None:
    path = tmp_path / "package"
    path.write_bytes(plain())
    size = path.stat().st_size
    answers = await asyncio.gather(*(inspector.inspect(path, digest=_DIGEST, size=size) for _ in range(20)))
    assert all(answer.bundle and not answer.report.refused for answer in answers)


async def test_a_check_that_takes_too_long_is_ended_and_refuses(tmp_path: Path) -> None:
    inspector = _Remembering(replace(_LIMITS, deadline_s=0.001))
    try:
        package = plain(Entry(b"a.bin", os.urandom(1 << 20) * 60))
        inspector.limits = replace(inspector.limits, packed_bytes=1 << 30, unpacked_bytes=1 << 30)
        inspection = await _inspect(inspector, tmp_path, package)
        assert _rules(inspection) == {"gate.timeout"}
        assert inspection.report.refused
        assert (await inspector.children[0].exited).signal == signal.SIGKILL
    finally:
        await inspector.close()


async def test_a_check_that_runs_out_of_memory_refuses(tmp_path: Path) -> None:
    inspector = JailedInspector(replace(_LIMITS, memory_bytes=1 << 20))
    try:
        text = b"".join(b"const x%d = %d;\n" % (number, number) for number in range(300_000))
        inspection = await _inspect(inspector, tmp_path, plain(Entry(b"lib/a.js", text)))
        assert _rules(inspection) == {"gate.could-not-run"}
    finally:
        await inspector.close()


async def test_a_schema_that_exhausts_the_validator_ends_the_check_alone(
    inspector: JailedInspector, tmp_path: Path
) -> None:
    properties = {f"p{number}": {"default": 1} for number in range(5_000)}
    hostile = {"properties": properties, "required": [f"q{number}" for number in range(9_000)]}
    inspection = await _inspect(inspector, tmp_path, plain(text=manifest(configuration=hostile)))
    assert _rules(inspection) <= {"gate.could-not-run", "gate.timeout"}
    assert inspection.report.refused
    assert not (await _inspect(inspector, tmp_path, plain())).report.refused


async def test_a_check_that_is_killed_refuses_and_the_next_one_runs(tmp_path: Path) -> None:
    class Killed(_Remembering):
        async def _fork(self, path: Path, digest: str) -> Child:
            child = await super()._fork(path, digest)
            if len(self.children) == 1:
                child.kill()
            return child

    inspector = Killed()
    try:
        big = plain(Entry(b"a.bin", os.urandom(20 << 20)))
        assert _rules(await _inspect(inspector, tmp_path, big)) == {"gate.could-not-run"}
        assert not (await _inspect(inspector, tmp_path, big)).report.refused
    finally:
        await inspector.close()


async def test_a_zygote_that_died_is_started_again(inspector: JailedInspector, tmp_path: Path) -> None:
    pid = inspector._zygote.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(0.2)
    assert not inspector.alive
    assert not (await _inspect(inspector, tmp_path, plain())).report.refused
    assert inspector.alive


async def test_a_file_that_cannot_be_had_is_no_verdict(inspector: JailedInspector, tmp_path: Path) -> None:
    with pytest.raises(GateUnavailable):
        await inspector.inspect(tmp_path / "absent", digest=_DIGEST, size=1)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(GateUnavailable):
        await inspector.inspect(tmp_path / "link", digest=_DIGEST, size=1)


def _environment_of(pid: int | None) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()


async def test_the_process_has_an_empty_environment_and_nothing_is_left_behind(tmp_path: Path) -> None:
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    descriptors = len(os.listdir("/proc/self/fd"))
    inspector = _Remembering()
    await inspector.start()
    zygote = inspector._zygote.pid
    assert _environment_of(zygote) == b""
    for _ in range(5):
        await _inspect(inspector, tmp_path, plain())
    await asyncio.gather(*(child.exited for child in inspector.children))
    assert psutil.Process(zygote).children() == []
    await inspector.close()
    assert {process.pid for process in psutil.Process().children(recursive=True)} <= before
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1


async def test_a_package_of_50_megabytes_is_checked_in_seconds_with_bounded_memory(tmp_path: Path) -> None:
    inspector = _Remembering()
    try:
        noise = os.urandom(1 << 20)
        packed = deflated(noise)
        entries = [Entry(b"%d.bin" % number, noise, method=8, packed=packed) for number in range(46)]
        text = b"".join(b"const x%d = %d;\n" % (number, number * 7919 % 10007) for number in range(330_000))
        entries.append(Entry(b"lib/a.js", text, method=8, packed=deflated(text)))
        package = plain(*entries)
        assert 45 << 20 < len(package) <= _LIMITS.packed_bytes
        loop = asyncio.get_running_loop()
        began = loop.time()
        inspection = await _inspect(inspector, tmp_path, package)
        assert not inspection.report.refused, inspection.report.findings
        assert loop.time() - began < 5
        assert (await inspector.children[0].exited).peak_rss_bytes < 150 << 20
    finally:
        await inspector.close()


async def test_a_check_that_has_ended_before_the_service_looks_is_heard_all_the_same(
    inspector: JailedInspector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = []

    def late(pidfd: int) -> int:
        # The service is busy with others while the check reads its package, answers, ends and is reaped.
        time.sleep(0.7)
        numbers.append(own(pidfd))
        return numbers[-1]

    own = zygote_client._id_of
    monkeypatch.setattr(zygote_client, "_id_of", late)
    inspection = await _inspect(inspector, tmp_path, plain())
    assert inspection.manifest is not None
    assert numbers[0] <= 0
