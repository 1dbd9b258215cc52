"""Each rule on archives fires for a package that breaks it, names the file, and leaves its harmless twin alone."""

import io

import pytest

from plugyard.application.rescan import RULES as OF_THE_RESCAN
from plugyard.application.verify import RULES as OF_THE_VERIFICATION
from plugyard.domain.report import Consequence
from plugyard.gate.archive.contents import caseless
from plugyard.gate.checks import malware
from plugyard.gate.inspect import inspect
from plugyard.gate.rules import RULES
from tests.unit.gate.archive_samples import SAMPLES, Sample
from tests.unit.gate.checks.sampling import FOLDERS
from tests.unit.gate.component_samples import COMPONENT_SAMPLES
from tests.unit.gate.manifest_samples import MANIFEST_SAMPLES
from tests.unit.gate.packing import BASE, CODE, Entry, Member, gz, manifest, plain, streamed, taped, tar, zip_of

# These are about the check's own process; tests/integration/test_gate_jail.py shows them.
_OF_THE_PROCESS = {"gate.timeout", "gate.could-not-run"}
_OF_MANY = {"gate.too-many-findings"}


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.rule}: {sample.claim}")
def test_a_rule_fires_and_names_the_place(sample: Sample) -> None:
    report = inspect(io.BytesIO(sample.package()), sample.limits).report
    hits = [finding for finding in report.findings if finding.rule == sample.rule]
    assert hits, report.findings
    assert any(sample.where in finding.where for finding in hits), hits
    assert report.refused == any(RULES[finding.rule].consequence is Consequence.BLOCK for finding in report.findings)
    if RULES[sample.rule].consequence is Consequence.BLOCK:
        assert report.refused


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: f"{sample.rule}: twin of {sample.claim}")
def test_the_harmless_twin_is_accepted(sample: Sample) -> None:
    inspection = inspect(io.BytesIO(sample.twin()), sample.limits)
    assert not inspection.report.refused, inspection.report.findings
    assert sample.rule not in {finding.rule for finding in inspection.report.findings}
    assert inspection.entry == "index.js"
    assert inspection.bundle is not None


def test_every_rule_has_a_sample() -> None:
    shown = {sample.rule for sample in SAMPLES} | {sample.rule for sample in MANIFEST_SAMPLES}
    shown |= {rule for rule, *_ in COMPONENT_SAMPLES}
    shown |= {sample.rule for sample in FOLDERS} | {rule.id for rule in (*OF_THE_VERIFICATION, *OF_THE_RESCAN)}
    assert set(RULES) - shown == _OF_THE_PROCESS | _OF_MANY | {rule.id for rule in malware.CHECK.rules}


@pytest.mark.parametrize("form", ["marked", "plain", "marked64", "plain64"])
def test_all_four_forms_of_the_record_behind_streamed_data_are_read(form: str) -> None:
    entries = [streamed(Entry(b"plugin.json", manifest(), method=8), form), Entry(b"index.js", CODE)]
    assert not inspect(io.BytesIO(zip_of(*entries)), SAMPLES[0].limits).report.refused
    last = [Entry(b"index.js", CODE), streamed(Entry(b"plugin.json", manifest(), method=8), form)]
    assert not inspect(io.BytesIO(zip_of(*last)), SAMPLES[0].limits).report.refused


def test_a_rewritten_record_behind_streamed_data_is_refused() -> None:
    package = plain(streamed(Entry(b"a.txt", b"abc"), "marked"))
    at = package.index(b"PK\x07\x08")
    broken = package[: at + 4] + b"\0\0\0\0" + package[at + 8 :]
    rules = {finding.rule for finding in inspect(io.BytesIO(broken), SAMPLES[0].limits).report.findings}
    assert "archive.headers-disagree" in rules


def test_all_findings_come_at_once() -> None:
    package = plain(
        Entry(b"../a.js", b"x"), Entry(b"con.js", b"x"), Entry(b"b.txt", b"x", crc=1), Entry(b"l", b"x", mode=0o120777),
        text=manifest(metadata={"name": "A", "version": "1"}, securty={}),
    )  # fmt: skip
    rules = [finding.rule for finding in inspect(io.BytesIO(package), SAMPLES[0].limits).report.findings]
    wanted = {"archive.path-traversal", "archive.path-reserved", "archive.damaged", "archive.link", "manifest.format",
              "manifest.version", "manifest.unknown-field"}  # fmt: skip
    assert wanted <= set(rules)


def test_findings_are_capped_with_a_notice_and_still_refuse() -> None:
    bad = [Entry(f"._{number}".encode()) for number in range(400)]
    report = inspect(io.BytesIO(plain(*bad, Entry(b"../x"))), SAMPLES[0].limits).report
    assert len(report.findings) == SAMPLES[0].limits.findings + 1
    assert report.findings[-1].rule == "gate.too-many-findings"
    assert report.refused


def test_a_refused_package_gives_no_bundle_but_its_manifest() -> None:
    inspection = inspect(io.BytesIO(plain(Entry(b"../x"))), SAMPLES[0].limits)
    assert inspection.bundle is None
    assert inspection.manifest is not None
    assert inspection.manifest["metadata"]["name"] == "my-plugin"


def test_a_wrapped_package_has_its_manifest_checked_too() -> None:
    package = gz(
        tar(Member(b"p/", kind=b"5"), Member(b"p/plugin.json", manifest(runtim="x")), Member(b"p/index.js", CODE))
    )
    findings = inspect(io.BytesIO(package), SAMPLES[0].limits).report.findings
    assert [finding.rule for finding in findings] == ["package.wrapped", "manifest.unknown-field"]
    assert findings[1].where == "p/plugin.json#/runtim"


def test_the_report_measures_the_package() -> None:
    package = taped(Member(b"a.bin", bytes(1000)))
    report = inspect(io.BytesIO(package), SAMPLES[0].limits).report
    assert report.format == "tar.gz"
    assert report.packed_bytes == len(package)
    assert report.entries == 3
    assert report.unpacked_bytes == 1000 + sum(len(member.data) for member in BASE)
    assert len(report.digest) == 64


def test_a_hostile_name_is_printable_in_the_finding() -> None:
    report = inspect(io.BytesIO(plain(Entry(b"\x1b[31m" + b"a" * 9000, b"x"))), SAMPLES[0].limits).report
    for finding in report.findings:
        assert finding.where.isprintable()
        assert len(finding.where) <= 240


@pytest.mark.parametrize(
    ("one", "other"), [("A", "a"), ("\u00df", "SS"), ("\ufb01le", "file"), ("\u212a", "k"), ("\u03c2", "\u03a3")]
)
def test_names_that_some_systems_fold_have_one_key(one: str, other: str) -> None:
    assert caseless(one) == caseless(other)
