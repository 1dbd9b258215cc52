"""Two versions side by side: what is asked, what callers meet, how it runs, what the gate found."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from plugyard.domain.difference import Change, compare
from plugyard.domain.difference.permissions import PermissionShift, compare_permissions
from plugyard.domain.manifest import Effect, Manifest
from plugyard.domain.permissions import Permission, Service
from plugyard.domain.plugin import PluginVersion
from plugyard.domain.report import Finding, Report, Severity
from tests.memory.chance import START
from tests.memory.world import manifest

ACME = Permission(Service.NETWORK, ("api.acme.com",), ("GET",), reason="rates")


def finding(rule: str, where: str = "main.py", line: int = 1, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(rule, severity, where, "what", "why", "mend", line)


def version(
    number: str = "1.0.0", *findings: Finding, exports: tuple[str, ...] = ("greet",), **more: Any
) -> PluginVersion:
    document = Manifest.from_document(manifest(version=number, **more))
    report = Report(findings, "digest", "zip")
    return PluginVersion(number, "tenant", "plugin", document, "digest", report, exports, START)


def test_versions_that_are_the_same_do_not_differ() -> None:
    more = {"functions": {"greet": {"input": {"type": "object"}}}, "security": {"permissions": ["cache"]}}
    found = compare(version(**more), version("1.0.1", **more))
    assert (found.before, found.after, found.breaking) == ("1.0.0", "1.0.1", False)
    assert not any((found.permissions, found.dependencies, found.functions, found.endpoints))
    assert not any((found.configuration, found.settings, found.appeared, found.gone))


# permissions


def shift(before: Permission, after: Permission) -> tuple[PermissionShift, tuple[str, ...], tuple[str, ...]]:
    (change,) = compare_permissions((before,), (after,))
    return change.shift, change.more, change.less


def test_services_come_and_go_with_their_reasons() -> None:
    database = Permission(Service.DATABASE, reason="notes")
    added, removed = compare_permissions((ACME,), (database,))
    assert (added.shift, added.after) == (PermissionShift.ADDED, database)
    assert (removed.shift, removed.before) == (PermissionShift.REMOVED, ACME)


def test_a_request_is_widened_narrowed_or_both_by_its_meaning() -> None:
    wide = replace(ACME, hosts=("*.acme.com",))
    assert shift(ACME, wide) == (PermissionShift.WIDENED, ("hosts *.acme.com",), ())
    assert shift(wide, ACME) == (PermissionShift.NARROWED, (), ("hosts *.acme.com",))
    other = replace(ACME, hosts=("other.example",))
    assert shift(ACME, other) == (PermissionShift.CHANGED, ("hosts other.example",), ("hosts api.acme.com",))
    assert shift(ACME, replace(ACME, methods=())) == (PermissionShift.WIDENED, ("methods any",), ())
    assert shift(ACME, replace(ACME, reason="other words")) == (PermissionShift.NOTED, (), ())


HOSTS = st.lists(st.sampled_from(["a.acme.com", "*.acme.com", "b.example"]), max_size=2, unique=True).map(tuple)
REQUESTS = st.builds(lambda hosts: Permission(Service.NETWORK, hosts), HOSTS)


@given(REQUESTS, REQUESTS)
def test_what_is_more_one_way_is_less_the_other(one: Permission, other: Permission) -> None:
    there, back = compare_permissions((one,), (other,)), compare_permissions((other,), (one,))
    assert [change.more for change in there] == [change.less for change in back]


# functions and schemas


def test_functions_come_go_and_change() -> None:
    before = {"functions": {"gone": {"effect": "read"}, "greet": {"description": "old", "effect": "read"}}}
    after = {"functions": {"greet": {"description": "new", "effect": "write"}, "more": {}}}
    gone, greet, more = compare(version(**before), version("2.0.0", **after)).functions
    assert (gone.name, gone.change, gone.breaking) == ("gone", Change.REMOVED, True)
    assert (greet.description_before, greet.description_after) == ("old", "new")
    assert (greet.effect_before, greet.effect_after, greet.breaking) == (Effect.READ, Effect.WRITE, True)
    assert (more.name, more.change, more.breaking) == ("more", Change.ADDED, False)


def test_a_function_that_only_reads_now_breaks_nobody() -> None:
    before, after = ({"functions": {"greet": {"effect": effect}}} for effect in ("write", "read"))
    found = compare(version(**before), version("2.0.0", **after))
    assert [one.name for one in found.functions] == ["greet"]
    assert not found.breaking


def test_functions_that_no_manifest_declares_are_those_that_the_code_exports() -> None:
    (gone, new) = compare(version(exports=("a",)), version("1.0.1", exports=("b",))).functions
    assert (gone.name, gone.change, new.name, new.change) == ("a", Change.REMOVED, "b", Change.ADDED)


def test_a_newly_required_input_breaks_callers_and_a_newly_required_output_does_not() -> None:
    loose = {"type": "object", "properties": {"a": {"type": "string"}}}
    tight = {**loose, "required": ["a"]}

    def functions(**schemas: Any) -> dict[str, Any]:
        return {"functions": {"greet": schemas}}

    (taken,) = compare(version(**functions(input=loose)), version("1.1.0", **functions(input=tight))).functions
    assert [(one.pointer, one.breaking) for one in taken.input] == [("/properties/a", True)]
    assert taken.breaking
    (given_,) = compare(version(**functions(output=loose)), version("1.1.0", **functions(output=tight))).functions
    assert [(one.pointer, one.breaking) for one in given_.output] == [("/properties/a", False)]
    assert not given_.breaking


def test_a_configuration_that_may_no_longer_fit_is_breaking() -> None:
    before = {"configuration": {"type": "object", "properties": {"url": {"type": "string"}}}}
    after = {"configuration": {**before["configuration"], "required": ["url"]}}
    found = compare(version(**before), version("1.1.0", **after))
    assert [one.pointer for one in found.configuration] == ["/properties/url"]
    assert found.breaking


# how it runs


def test_dependencies_endpoints_and_settings_show_their_places() -> None:
    before = {
        "dependencies": {"platform": ">=1.0.0", "plugins": {"tax": "^1.0.0", "old": "*"}},
        "api": {"endpoints": [{"method": "GET", "path": "/a", "handler": "greet"}]},
        "security": {"resourceLimits": {"memory": 64}, "modules": ["json"]},
        "schedules": [{"cron": "0 0 * * *", "function": "greet"}],
    }
    after = {
        "dependencies": {"platform": ">=1.0.0", "plugins": {"tax": "^2.0.0"}},
        "api": {"endpoints": [{"method": "POST", "path": "/a", "handler": "greet"}]},
        "security": {"resourceLimits": {"memory": 128, "cpu": 5}, "isolation": "fresh"},
        "events": {"subscribes": ["invoice.*"]},
        "runtime": "python",
    }
    found = compare(version(**before), version("2.0.0", **after))
    assert [(one.where, one.before, one.after) for one in found.dependencies] == [
        ("/dependencies/plugins/tax", "^1.0.0", "^2.0.0"), ("/dependencies/plugins/old", "*", None),
    ]  # fmt: skip
    assert [(one.where, one.after) for one in found.endpoints] == [("GET /a", None), ("POST /a", "greet")]
    assert found.breaking
    assert {one.where: (one.before, one.after) for one in found.settings} == {
        "/runtime": ("javascript", "python"),
        "/entry": ("index.ts", "main.py"),
        "/security/isolation": ("shared", "fresh"),
        "/security/modules": (["json"], None),
        "/security/resourceLimits/memory": (64, 128),
        "/security/resourceLimits/cpu": (None, 5),
        "/events/subscribes": (None, ["invoice.*"]),
        "/schedules": ([{"cron": "0 0 * * *", "function": "greet"}], None),
    }


# findings


def test_findings_appear_and_go_and_one_that_only_moved_does_neither() -> None:
    before = version("1.0.0", finding("code.eval", line=3), finding("secrets.key"))
    after = version("1.1.0", finding("code.eval", line=9), finding("code.eval", line=12), finding("names.odd"))
    found = compare(before, after)
    assert [one.rule for one in found.appeared or ()] == ["code.eval", "names.odd"]
    assert [one.rule for one in found.gone or ()] == ["secrets.key"]


def test_a_finding_of_another_severity_is_another_finding() -> None:
    found = compare(version("1.0.0", finding("a")), version("1.0.1", finding("a", severity=Severity.ERROR)))
    assert (len(found.appeared or ()), len(found.gone or ())) == (1, 1)


def test_findings_of_a_version_that_was_judged_elsewhere_are_not_guessed() -> None:
    judged, copied = version("1.0.0", finding("a")), replace(version("1.1.0"), report=Report(digest="d"))
    found = compare(judged, copied)
    assert (found.appeared, found.gone) == (None, None)
