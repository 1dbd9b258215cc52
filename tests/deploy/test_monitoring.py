"""Alert rules and the dashboard ask for figures that there are, and each alert is explained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import promql_parser
import pytest
import yaml

from plugyard.bootstrap.figures import show_figures
from plugyard.bootstrap.identity import token_verifier
from plugyard.domain.errors import IdentityUnavailable
from plugyard.infrastructure.telemetry import Telemetry
from plugyard.sandbox.outside.pool import Pool
from plugyard.settings import Settings
from tests.deploy.figures import STATES, shown

ROOT = Path(__file__).resolve().parents[2]
ALERTS = [
    rule for group in yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())["groups"] for rule in group["rules"]
]
DASHBOARD = json.loads((ROOT / "deploy/dashboard.json").read_text())
# Given by Prometheus itself to whatever it reads.
OF_PROMETHEUS = {"instance", "job"}


def questions() -> Iterator[Any]:
    """Every question to Prometheus, with where it stands."""
    for rule in ALERTS:
        yield pytest.param(rule["expr"], id=rule["alert"])
    for panel in DASHBOARD["panels"]:
        for target in panel.get("targets", []):
            yield pytest.param(target["expr"].replace("$instance", ".*"), id=f"panel {panel['id']}{target['refId']}")


def selectors(question: str) -> list[Any]:
    """What a question selects."""
    found: list[Any] = []
    collect(promql_parser.parse(question), found)
    return found


def collect(node: Any, found: list[Any]) -> None:
    """Walk through an expression of the parser, which has no parent class for what holds others."""
    if isinstance(node, promql_parser.VectorSelector):
        found.append(node)
    if isinstance(node, promql_parser.MatrixSelector):
        collect(node.vector_selector, found)
    for name in ("lhs", "rhs", "expr"):
        if getattr(node, name, None) is not None:
            collect(getattr(node, name), found)
    for argument in getattr(node, "args", None) or []:
        collect(argument, found)


@pytest.mark.parametrize("question", list(questions()))
def test_each_question_is_about_figures_that_there_are(question: str) -> None:
    found = selectors(question)
    assert found, "nothing is asked"
    for selector in found:
        assert selector.name in shown(), f"no part of the service shows {selector.name}"
        labels = shown()[selector.name]
        for matcher in selector.matchers.matchers:
            if matcher.name in OF_PROMETHEUS:
                continue
            assert matcher.name in labels, f"{selector.name} has no label {matcher.name}"
            pattern = matcher.value if "Re" in str(matcher.op) else re.escape(matcher.value)
            assert any(re.fullmatch(pattern, value) for value in labels[matcher.name]), (
                f"{selector.name} never has {matcher.name}={matcher.value}"
            )


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+[smh]", rule["for"])
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_no_alert_is_there_twice() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(names) == len(set(names))


def test_the_dashboard_shows_what_can_raise_an_alert() -> None:
    drawn = {
        one.name
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
        for one in selectors(target["expr"].replace("$instance", ".*"))
    }
    asked = {one.name for rule in ALERTS for one in selectors(rule["expr"])}
    # Seen in the list of alerts alone.
    assert asked - drawn <= {
        "plugyard_valkey_up",
        "plugyard_oidc_keys_age_seconds",
        "plugyard_oidc_failed_fetches_total",
    }
    identities = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(identities) == len(set(identities))


def test_the_states_that_are_asked_for_are_those_of_the_pool() -> None:
    pool = Pool.__new__(Pool)
    for name in ("_busy", "_idle"):
        setattr(pool, name, [])
    for name in ("_spares", "_queues", "_patient"):
        setattr(pool, name, {})
    pool._starting = 0
    assert set(pool.environments()) == set(STATES)


def test_figures_are_read_when_they_are_asked_for(tmp_path: Path) -> None:
    telemetry = Telemetry()
    sandbox: Any = SimpleNamespace(starts=1)
    gate: Any = SimpleNamespace(starts=1)
    show_figures(telemetry, Settings(data=tmp_path, max_environments=7), sandbox, gate)
    sandbox.starts = 3
    text = telemetry.exposition()[0].decode()
    assert "plugyard_environments_limit 7.0" in text
    assert "plugyard_sandbox_starts_total 3.0" in text
    assert "plugyard_gate_starts_total 1.0" in text
    free = re.search(r'plugyard_data_disk_bytes\{kind="free"\} (\S+)', text)
    assert free is not None
    assert float(free[1]) > 0


def test_a_data_folder_that_is_gone_hides_no_other_figure(tmp_path: Path) -> None:
    telemetry = Telemetry()
    one: Any = SimpleNamespace(starts=1)
    show_figures(telemetry, Settings(data=tmp_path / "gone"), one, one)
    text = telemetry.exposition()[0].decode()
    assert "plugyard_sandbox_starts_total 1.0" in text
    assert "plugyard_data_disk_bytes{" not in text


async def test_keys_of_an_issuer_that_cannot_be_fetched_are_counted() -> None:
    telemetry = Telemetry()
    settings = Settings(
        oidc_issuer="https://login.example.com", oidc_audience="plugyard", oidc_jwks_url="http://127.0.0.1:1/keys"
    )
    verifier = token_verifier(settings, telemetry)
    assert verifier is not None
    header = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ"
    with pytest.raises(IdentityUnavailable):
        await verifier.claims(f"{header}.e30.AAAA")
    text = telemetry.exposition()[0].decode()
    assert "plugyard_oidc_failed_fetches_total 1.0" in text
    # They never came, so an alert on old keys must see since when they are asked for.
    age = re.search(r"^plugyard_oidc_keys_age_seconds (\S+)$", text, re.MULTILINE)
    assert age is not None
    assert float(age[1]) > 0
