"""The tree of errors: every class has words and a code of its own."""

import inspect
from collections import Counter

import pytest

from plugyard.application import activate, upgrade  # noqa: F401 -- their errors belong to the tree
from plugyard.domain import errors
from plugyard.domain.errors import (
    DependencyConflict,
    FieldError,
    FunctionNotFound,
    InvalidInput,
    Overloaded,
    PackageRefused,
    PlugyardError,
    WrongState,
)
from plugyard.domain.report import Consequence, Finding, Report, Severity


def tree(root: type[PlugyardError]) -> list[type[PlugyardError]]:
    return [root, *(below for child in root.__subclasses__() for below in tree(child))]


EVERY = [one for one in dict.fromkeys(tree(PlugyardError)) if one.__module__.startswith("plugyard.")]


@pytest.mark.parametrize("class_", EVERY, ids=lambda one: one.__name__)
def test_every_error_says_what_is_wrong(class_: type[PlugyardError]) -> None:
    assert class_.__doc__
    needed = [one for one in inspect.signature(class_).parameters.values() if one.default is one.empty]
    if "__init__" not in vars(class_) and not needed:
        first = class_.__doc__.splitlines()[0]
        assert class_().message == str(class_()) == first
        assert class_("other words").message == "other words"


def test_no_two_errors_of_the_rules_share_a_code() -> None:
    """What the server itself says of a request may be what a rule says of another: the code is the same then."""
    of_rules = [one for one in EVERY if one.__module__.startswith(("plugyard.domain.", "plugyard.application."))]
    # To a caller it is a store that is away; deliveries tell it apart.
    of_rules.remove(errors.Unrecorded)
    twice = [code for code, count in Counter(one.code for one in of_rules).items() if count > 1]
    assert twice == []


def test_the_tree_in_the_docstring_shows_only_errors_that_exist() -> None:
    drawn = {line.split("``")[1] for line in (errors.__doc__ or "").splitlines() if "── ``" in line}
    assert drawn
    assert all(issubclass(getattr(errors, name), PlugyardError) for name in drawn)


def test_an_error_carries_what_a_caller_needs_to_go_on() -> None:
    assert InvalidInput("no", [FieldError("/a", "bad")]).errors == (FieldError("/a", "bad"),)
    missing = FunctionNotFound("f" * 500, ["greet", "wave"])
    assert missing.available == ("greet", "wave")
    assert "greet, wave" in missing.message
    assert len(missing.message) < 200
    assert "none" in FunctionNotFound("greet", []).message
    assert WrongState("activate", "uninstalled", []).allowed == ()
    assert Overloaded(retry_after_s=7).retry_after_s == 7
    assert DependencyConflict("no", ["a needs b"]).explanation == ("a needs b",)


def test_a_report_refuses_only_by_a_finding_that_blocks() -> None:
    findings = [
        Finding("rule", Severity.ERROR, "plugin.json#/a", "what", "why", "mend", None, one) for one in Consequence
    ]
    assert Report(tuple(findings[:2]), "d", "zip", 1, 2, 3, 4.0).suspicious
    assert not Report(tuple(findings), "d", "zip", 1, 2, 3, 4.0).suspicious
    assert not Report(tuple(findings[:2]), "d", "zip", 1, 2, 3, 4.0).refused
    refused = Report(tuple(findings[:2]), "d", "zip", 1, 2, 3, 4.0).with_findings(findings[2])
    assert refused.refused
    assert refused == Report(tuple(findings), "d", "zip", 1, 2, 3, 5.0)
    assert PackageRefused(refused).report is refused
