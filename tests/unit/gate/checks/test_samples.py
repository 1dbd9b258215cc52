"""Every check of its own file finds what its bad samples hold, at the marked lines, and leaves its good ones alone."""

import io

import pytest

from plugyard.gate.checks import CHECKS
from plugyard.gate.inspect import inspect
from plugyard.gate.limits import GateLimits
from tests.unit.gate.checks.sampling import FOLDERS, Folder


@pytest.mark.parametrize("sample", [one for one in FOLDERS if one.bad], ids=str)
def test_a_bad_sample_is_found_where_it_is_marked(sample: Folder) -> None:
    report = inspect(io.BytesIO(sample.package()), GateLimits()).report
    hits = [finding for finding in report.findings if finding.rule == sample.rule]
    assert hits, [(finding.rule, finding.what) for finding in report.findings]
    missed = set(sample.marked()) - {(finding.where, finding.line) for finding in hits}
    assert not missed, [(finding.where, finding.line, finding.what) for finding in hits]


@pytest.mark.parametrize("sample", [one for one in FOLDERS if not one.bad], ids=str)
def test_a_good_sample_is_left_alone(sample: Folder) -> None:
    report = inspect(io.BytesIO(sample.package()), GateLimits()).report
    assert sample.rule not in {finding.rule for finding in report.findings}, report.findings
    assert not report.refused, report.findings


def test_every_rule_of_a_check_that_runs_has_samples_of_both_kinds() -> None:
    shown = {(sample.check, sample.rule, sample.bad) for sample in FOLDERS}
    wanted = {
        (check.run.__module__.rpartition(".")[2], rule.id, bad)
        for check in CHECKS
        if check.run is not None
        for rule in check.rules
        for bad in (True, False)
    }
    assert not wanted - shown


def test_what_is_found_while_reading_names_the_module_that_finds_it() -> None:
    for check in CHECKS:
        assert (check.run is None) == bool(check.found_in), check.name
