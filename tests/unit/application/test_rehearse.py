"""Examples are run before a package is let in, and what they did becomes findings and a part of the report."""

import json
from typing import Any

import pytest

from plugyard.application.platform import Policies
from plugyard.application.ports import Outcome, Rehearsed
from plugyard.application.rehearse import MOST_CALLS, MOST_EXAMPLES, MOST_MEMORY_BYTES, MOST_USES
from plugyard.domain.behaviour import Behaviour, HostSeen, HostTried, ServiceUse
from plugyard.domain.errors import Overloaded, PackageRefused, SandboxUnavailable
from plugyard.domain.execution import ExecutionFailure, ExecutionStatus, Violation
from plugyard.domain.identity import Caller
from plugyard.domain.limits import RequestedLimits
from plugyard.domain.permissions import Service
from plugyard.domain.report import Consequence, Report
from plugyard.domain.rights import Right
from plugyard.domain.rules import RuleSettings
from plugyard.domain.tenants import TenantBounds
from plugyard.gate.rules import RULES
from tests.memory.sandbox import USED, failed
from tests.memory.world import World, manifest

GREET: dict[str, Any] = {"greet": {"examples": [{"name": "Ada"}, {"name": "Bob"}]}}


def asking(*permissions: Any, **more: Any) -> dict[str, Any]:
    return manifest(functions=GREET, security={"permissions": list(permissions)}, **more)


def request(host: str, *, inside: bool = False, port: int = 443) -> ServiceUse:
    target = HostTried(host, port, "https", inside)
    return ServiceUse("http", "request", f"GET https://{target.shown}/", host=target)


def used(*services: Service) -> Outcome:
    return Outcome(ExecutionStatus.SUCCEEDED, b"1", None, USED, used=frozenset(Right(one) for one in services))


async def report_on(world: World, admin: Caller, document: dict[str, Any], answer: Rehearsed | None = None) -> Report:
    if answer is not None:
        world.executor.rehearsed["greet"] = answer
    return (await world.upload(admin, document)).report


def rules(report: Report) -> set[str]:
    return {finding.rule for finding in report.findings}


async def test_each_example_is_run_as_somebody_who_does_not_exist(world: World, admin: Caller) -> None:
    configuration = {
        "properties": {"base": {"default": "EUR"}, "apiKey": {"type": "string", "examples": ["k-1"]}},
        "required": ["apiKey"],
    }
    await world.upload(admin, manifest(functions=GREET, configuration=configuration))
    (rehearsal,) = world.executor.rehearsals
    assert [json.loads(run.input) for run in rehearsal.runs] == GREET["greet"]["examples"]
    contexts = [json.loads(run.context) for run in rehearsal.runs]
    assert all(one["configuration"] == {"base": "EUR", "apiKey": "k-1"} for one in contexts)
    assert admin.tenant_id not in repr(rehearsal.runs)
    assert len({one["executionId"] for one in contexts}) == 2
    assert rehearsal.queue == admin.tenant_id
    assert rehearsal.limits.service_calls == MOST_CALLS
    assert rehearsal.limits.memory_bytes <= MOST_MEMORY_BYTES


async def test_what_the_examples_did_is_kept_with_the_version(world: World, admin: Caller) -> None:
    outcome = used(Service.CACHE)
    uploaded = await world.upload(admin, asking("cache", "events"))
    world.executor.rehearsed["greet"] = Rehearsed(outcome, (ServiceUse("cache", "get", "", "", 3),))
    uploaded = await world.upload(admin, asking("cache", "events", metadata=manifest(version="1.1.0")["metadata"]))
    behaviour = uploaded.version.report.behaviour
    assert isinstance(behaviour, Behaviour)
    assert [(one.function, one.place, one.status) for one in behaviour.examples] == [
        ("greet", 0, "succeeded"), ("greet", 1, "succeeded"),
    ]  # fmt: skip
    assert behaviour.examples[0].wall_ms == USED.wall_ms
    assert (behaviour.used, behaviour.unused, behaviour.undeclared) == (("cache",), ("events",), ())
    assert behaviour.examples[0].uses == (ServiceUse("cache", "get", "", "", 3),)
    (finding,) = [one for one in uploaded.report.findings if one.rule == "behaviour.unused-permission"]
    assert finding.where == "plugin.json#/security/permissions/1"
    assert not uploaded.report.suspicious


async def test_the_ceilings_of_the_tenant_hold_in_a_rehearsal_too(world: World, admin: Caller) -> None:
    assert admin.tenant_id is not None
    bounds = TenantBounds(ceilings=RequestedLimits(memory_mb=48, service_calls=7))
    async with world.store.for_operator() as tx:
        await tx.save_bounds(admin.tenant_id, bounds, world.clock())
    await world.upload(admin, asking())
    limits = world.executor.rehearsals[0].limits
    assert (limits.memory_bytes, limits.service_calls) == (48 << 20, 7)


@pytest.mark.parametrize("functions", [{}, {"greet": {}}, {"greet": {"examples": []}}])
async def test_a_package_without_examples_is_let_in_as_before(
    world: World, admin: Caller, functions: dict[str, Any]
) -> None:
    report = await report_on(world, admin, manifest(functions=functions))
    assert (report.behaviour, report.findings, world.executor.rehearsals) == (None, (), [])


async def test_an_operator_may_have_nothing_rehearsed(world: World, admin: Caller) -> None:
    object.__setattr__(world.platform, "policies", Policies(rehearsal_ms=0))
    report = await report_on(world, admin, asking("cache"))
    assert (report.behaviour, world.executor.rehearsals) == (None, [])


async def test_what_the_checks_refuse_is_not_run(world: World, admin: Caller) -> None:
    with pytest.raises(PackageRefused):
        await world.upload(admin, asking("cache"), load_error=ExecutionFailure("plugin_error", "it broke"))
    assert world.executor.rehearsals == []


@pytest.mark.parametrize(
    ("permissions", "host", "declared", "suspicious"),
    [
        ([{"service": "network", "hosts": ["api.acme.com"]}], "api.acme.com", True, False),
        ([{"service": "network", "hosts": ["*.acme.com"]}], "eu.acme.com", True, False),
        ([{"service": "network", "hosts": ["api.acme.com"]}], "evil.example", False, True),
        (["network"], "evil.example", None, False),
        ([], "evil.example", False, True),
    ],
)
async def test_a_host_that_the_manifest_does_not_name_quarantines(
    world: World, admin: Caller, permissions: list[Any], host: str, declared: bool | None, suspicious: bool
) -> None:
    answer = Rehearsed(used(Service.NETWORK), (request(host),))
    report = await report_on(world, admin, asking(*permissions), answer)
    assert report.behaviour is not None
    assert report.behaviour.hosts == (HostSeen(host, declared, False),)
    assert ("behaviour.undeclared-host" in rules(report), report.suspicious) == (suspicious, suspicious)
    assert ("behaviour.undeclared-permission" in rules(report)) == (not permissions)


async def test_an_address_inside_quarantines_even_where_hosts_are_left_to_the_admin(
    world: World, admin: Caller
) -> None:
    answer = Rehearsed(used(Service.NETWORK), (request("169.254.169.254", inside=True),))
    report = await report_on(world, admin, asking("network"), answer)
    assert rules(report) == {"behaviour.private-address"}
    assert report.suspicious


async def test_an_address_inside_is_not_hidden_by_many_other_hosts(world: World, admin: Caller) -> None:
    many = tuple(request(f"n{number}.example") for number in range(150))
    answer = Rehearsed(used(Service.NETWORK), (*many, request("10.0.0.1", inside=True)))
    report = await report_on(world, admin, asking("network"), answer)
    assert "behaviour.private-address" in rules(report)
    assert report.behaviour is not None
    assert len(report.behaviour.hosts) == 50
    example = report.behaviour.examples[0]
    assert (len(example.uses), example.more_uses) == (MOST_USES, 151 - MOST_USES)


@pytest.mark.parametrize(
    ("outcome", "rule", "consequence"),
    [
        (failed(), "behaviour.example-failed", Consequence.SHOW),
        (failed(ExecutionStatus.CRASHED, "crashed"), "behaviour.example-failed", Consequence.SHOW),
        (failed(ExecutionStatus.TIMED_OUT, "timed_out"), "behaviour.limit-met", Consequence.SHOW),
        (failed(code="service_calls_exceeded"), "behaviour.limit-met", Consequence.SHOW),
        (
            Outcome(ExecutionStatus.SUCCEEDED, b"1", None, USED, (), (Violation("protocol", "a forged frame"),)),
            "behaviour.violation",
            Consequence.QUARANTINE,
        ),
    ],
)
async def test_how_an_example_ends_is_a_finding_at_its_place(
    world: World, admin: Caller, outcome: Outcome, rule: str, consequence: Consequence
) -> None:
    report = await report_on(world, admin, asking(), Rehearsed(outcome))
    assert rules(report) == {rule}
    assert {one.where for one in report.findings} == {
        "plugin.json#/functions/greet/examples/0", "plugin.json#/functions/greet/examples/1",
    }  # fmt: skip
    assert {one.consequence for one in report.findings} == {consequence}


async def test_what_is_required_and_has_no_value_is_said_and_nothing_is_run(world: World, admin: Caller) -> None:
    configuration = {"properties": {"apiKey": {"type": "string"}}, "required": ["apiKey"]}
    report = await report_on(world, admin, asking("cache", configuration=configuration))
    (finding,) = report.findings
    assert (finding.rule, finding.consequence) == ("behaviour.not-run", Consequence.SHOW)
    assert "apiKey" in finding.what
    assert world.executor.rehearsals == []
    assert report.behaviour is not None
    assert all(one.status is None and "apiKey" in (one.skipped or "") for one in report.behaviour.examples)


async def test_the_first_example_of_every_function_comes_first_and_the_rest_is_said_to_be_left_out(
    world: World, admin: Caller
) -> None:
    functions = {f"f{number}": {"examples": [1, 2]} for number in range(30)}
    report = (await world.upload(admin, manifest(functions=functions), exports=tuple(functions))).report
    (rehearsal,) = world.executor.rehearsals
    assert len(rehearsal.runs) == MOST_EXAMPLES
    assert {run.function for run in rehearsal.runs[:30]} == set(functions)
    assert rules(report) == {"behaviour.not-run"}
    assert report.behaviour is not None
    assert len(report.behaviour.examples) == 60


async def test_an_example_for_which_no_time_was_left_is_told(world: World, admin: Caller) -> None:
    report = await report_on(world, admin, asking(), Rehearsed(None))
    assert rules(report) == {"behaviour.not-run"}
    assert "time" in report.findings[0].what


async def test_a_rehearsal_that_could_not_be_carried_out_blocks(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(rehearsal: object) -> tuple[Rehearsed, ...]:
        return ()

    monkeypatch.setattr(world.executor, "rehearse", nothing)
    with pytest.raises(PackageRefused) as refused:
        await world.upload(admin, asking())
    assert {one.rule for one in refused.value.report.findings} == {"behaviour.could-not-run"}


@pytest.mark.parametrize("error", [SandboxUnavailable("away"), Overloaded("full", retry_after_s=1)])
async def test_a_sandbox_that_is_away_or_full_is_said_and_nothing_is_let_in(
    world: World, admin: Caller, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def away(rehearsal: object) -> tuple[Rehearsed, ...]:
        raise error

    monkeypatch.setattr(world.executor, "rehearse", away)
    with pytest.raises(type(error)):
        await world.upload(admin, asking())
    assert not world.store.tables.plugins


async def test_an_operator_sets_these_rules_like_all_others(world: World, admin: Caller) -> None:
    settings = RuleSettings.of(["behaviour.*=off", "behaviour.example-failed=error,block"], RULES)
    object.__setattr__(world.platform, "policies", Policies(rules=settings))
    world.executor.rehearsed["greet"] = Rehearsed(used(Service.NETWORK), (request("evil.example"),))
    assert (await world.upload(admin, asking())).report.findings == ()
    world.executor.rehearsed["greet"] = Rehearsed(failed())
    with pytest.raises(PackageRefused):
        await world.upload(admin, asking("cache"), code="second")


async def test_text_that_neither_a_database_nor_a_terminal_may_get_is_written_out(world: World, admin: Caller) -> None:
    report = await report_on(world, admin, asking(), Rehearsed(failed(message="a\0b\ud800\x1b[2J\u202e")))
    assert report.behaviour is not None
    written = r"a\x00b\ud800\x1b[2J\u202e"
    assert report.behaviour.examples[0].message == written
    assert written in report.findings[0].what
