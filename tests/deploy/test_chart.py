"""The Helm chart renders with each shipped values file, is what Kubernetes takes, and holds what it promises."""

import ipaddress
import json
import re
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cyclopts import App
from cyclopts.config import Env

from plugyard import __version__
from plugyard.bootstrap.foresight import check_profile
from plugyard.bootstrap.service import CUT_S, DRAIN_S, WORK_S
from plugyard.cli import operator
from plugyard.settings import ENVIRONMENT_PREFIX, Settings
from tests.deploy.chart import (
    CHART,
    VALUES,
    Document,
    documents,
    helm,
    notes,
    of_kind,
    parsed,
    pods,
    render,
    values_of,
    variables,
)

NEWEST = kubernetes_validate.latest_version()
# What PodMonitor and its like are described by belongs to their operator, and is not with Kubernetes' own schemas.
FOREIGN = "monitoring.coreos.com/v1"


@pytest.mark.parametrize("values", VALUES)
def test_kubernetes_takes_every_object(values: str) -> None:
    for document in documents(values):
        if document["apiVersion"] != FOREIGN:
            kubernetes_validate.validate(document, NEWEST, strict=True)


@pytest.mark.parametrize("values", VALUES)
def test_helm_finds_nothing_wrong(values: str) -> None:
    loaded = yaml.safe_load((CHART / "ci" / f"{values}-values.yaml").read_text())
    found = helm.lint(str(CHART), loaded, strict=True)
    assert found["errors"] == []
    assert {message["error"] for message in found["messages"]} <= {"icon is recommended"}


@pytest.mark.parametrize("values", VALUES)
def test_no_object_is_there_twice(values: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in documents(values)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("values", VALUES)
def test_every_pod_is_held_as_tightly_as_the_jail_allows(values: str) -> None:
    for name, template in pods(values):
        pod, (container,) = template["spec"], template["spec"]["containers"]
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] == 10001, name
        assert pod["securityContext"]["seccompProfile"]["type"] in ("Localhost", "RuntimeDefault"), name
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), name
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/var/lib/plugyard", "/tmp"}, name
        assert container["resources"]["limits"]["memory"], name


@pytest.mark.parametrize("values", VALUES)
def test_a_service_of_the_same_name_cannot_set_the_port(values: str) -> None:
    # The kubelet would give PLUGYARD_PORT=tcp://10.0.0.1:80 to every pod beside a Service named plugyard.
    assert all(template["spec"]["enableServiceLinks"] is False for _, template in pods(values))


def test_the_time_to_end_covers_the_drain() -> None:
    for deployment in of_kind("minimal", "Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert before > 0
        assert pod["terminationGracePeriodSeconds"] >= before + WORK_S + CUT_S + DRAIN_S + CUT_S + 10


def test_probes_ask_what_the_service_answers() -> None:
    for deployment in of_kind("minimal", "Deployment"):
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        asked = {probe: container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
        assert asked == {"livenessProbe": "/health/live", "readinessProbe": "/health/ready"}
        assert variables(deployment["spec"]["template"])["PLUGYARD_PORT"] == str(container["ports"][0]["containerPort"])


def test_kafka_is_named_to_relays_and_readers_alone_where_relays_run_apart() -> None:
    for name, template in pods("full"):
        told = {one for one in variables(template) if one.startswith("PLUGYARD_KAFKA_")}
        expected = {f"PLUGYARD_KAFKA_{one}" for one in ("URL", "SECURITY", "INBOX_TOPIC", "USERNAME", "PASSWORD")}
        assert told == (expected if name.endswith(("-relay", "-worker")) else set()), name
    for document in of_kind("full", "NetworkPolicy"):
        reaches = document["metadata"]["name"].endswith(("-relay", "-worker"))
        assert (9093 in _ports(document)) is reaches, document["metadata"]["name"]
    for name, template in pods("minimal"):
        told = {one for one in variables(template) if one.startswith("PLUGYARD_KAFKA_")}
        assert bool(told) is name.endswith("-relay"), name
    values = values_of("minimal") | {"relay": {"enabled": False}}
    for document in parsed(render(values)):
        if document["metadata"]["name"] == "prod-plugyard-replica" and document["kind"] == "Deployment":
            assert variables(document["spec"]["template"])["PLUGYARD_KAFKA_URL"] == "kafka:9092"
        if document["metadata"]["name"] == "prod-plugyard-replica" and document["kind"] == "NetworkPolicy":
            assert 9092 in _ports(document)


def test_an_inbox_that_nobody_would_read_is_refused() -> None:
    settings = {"objects_url": "s3://plugyard", "kafka_url": "kafka:9092", "kafka_inbox_topic": "shop.events"}
    with pytest.raises(Exception, match=r"set workers\.enabled"):
        render({"settings": settings, "workers": {"enabled": False}})
    assert render({"settings": settings, "workers": {"enabled": False}, "relay": {"enabled": False}})


def test_a_rollout_takes_nobody_away_before_another_is_ready() -> None:
    for deployment in of_kind("minimal", "Deployment"):
        assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
        keys = [one["topologyKey"] for one in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]]
        assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


@pytest.mark.parametrize("values", VALUES)
def test_every_variable_is_a_setting(values: str) -> None:
    known = {field.name.upper() for field in fields(Settings)}
    for name, template in pods(values):
        given = {one.removeprefix(ENVIRONMENT_PREFIX) for one in variables(template) if one != "TMPDIR"}
        assert given <= known, f"{name} is given variables that nothing reads: {given - known}"


@pytest.mark.parametrize("values", VALUES)
def test_the_service_reads_the_settings_as_they_were_meant(values: str, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(config=[Env(ENVIRONMENT_PREFIX, command=False)], result_action="return_value")

    @app.command
    def serve(*, settings: Settings = operator.DEFAULT_SETTINGS) -> Settings:
        return settings

    known = {field.name for field in fields(Settings)}
    (template,) = [template for name, template in pods(values) if name.endswith("-replica")]
    meant = yaml.safe_load((CHART / "values.yaml").read_text())["settings"]
    meant |= yaml.safe_load((CHART / "ci" / f"{values}-values.yaml").read_text())["settings"]
    for name, value in variables(template).items():
        if isinstance(value, str):
            monkeypatch.setenv(name, value)
    (command,) = template["spec"]["containers"][0]["args"]
    read = app([command])
    assert str(read.host) == "0.0.0.0"
    for name in {one for one in meant if not one.startswith("kafka_")} & known:
        value = getattr(read, name)
        shown = [str(one) for one in value] if isinstance(value, tuple) else value
        assert shown == meant[name], name


def test_no_secret_is_a_value_and_the_owner_is_known_to_migrations_alone() -> None:
    secret = {field.name for field in fields(Settings) if not field.repr}
    for values in VALUES:
        for name, template in pods(values):
            for variable, value in variables(template).items():
                if variable.removeprefix(ENVIRONMENT_PREFIX).lower() in secret or variable.endswith("DATABASE_URL"):
                    assert set(value) == {"secretKeyRef"}, f"{name} has {variable} in the open"
            if "migrate" not in name:
                assert "PLUGYARD_DATABASE_OWNER_URL" not in variables(template), name
            if "replica" not in name and "worker" not in name:
                assert not {"PLUGYARD_PEPPER", "PLUGYARD_SECRET_KEYS", "PLUGYARD_OPERATOR_KEY"} & set(
                    variables(template)
                ), name
    assert of_kind("full", "Secret") == []


@pytest.mark.parametrize("name", sorted(field.name for field in fields(Settings) if not field.repr))
def test_a_secret_among_the_settings_is_refused(name: str) -> None:
    with pytest.raises(helm.HelmError):
        render({"settings": {"objects_url": "s3://plugyard", name: "in-the-open"}})


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"settings": {"objects_url": "/var/objects"}},
        {"settings": {"objects_url": "s3://plugyard"}, "replica": {"count": 3}},
        {"settings": {"objects_url": "s3://plugyard", "Log-Level": "info"}},
        {"settings": {"objects_url": "s3://plugyard"}, "terminationGracePeriodSeconds": 5},
        {"settings": {"objects_url": "s3://plugyard"}, "image": {"digest": "latest"}},
    ],
)
def test_values_that_would_lose_something_are_refused(wrong: Document) -> None:
    with pytest.raises(helm.HelmError):
        render(wrong)


def test_migrations_run_before_the_code_and_after_it() -> None:
    jobs = {job["metadata"]["name"]: job for job in of_kind("minimal", "Job")}
    hooks = {name: job["metadata"]["annotations"]["helm.sh/hook"] for name, job in jobs.items()}
    assert hooks == {
        "prod-plugyard-migrate-before": "pre-install,pre-upgrade",
        "prod-plugyard-migrate-after": "post-install,post-upgrade",
    }
    for phase in ("before", "after"):
        pod = jobs[f"prod-plugyard-migrate-{phase}"]["spec"]["template"]["spec"]
        assert pod["containers"][0]["args"] == ["migrate", "--phase", phase]
        # What the release makes is not there yet when the first hook runs.
        assert pod["serviceAccountName"] == "default"


def _policy(values: str, part: str) -> Document:
    (found,) = [one for one in of_kind(values, "NetworkPolicy") if one["metadata"]["name"].endswith(f"-{part}")]
    return found


def _ports(policy: Document) -> set[int]:
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def test_every_pod_has_a_policy_and_reaches_what_it_needs() -> None:
    for name, template in pods("minimal"):
        part = template["metadata"]["labels"]["app.kubernetes.io/component"]
        policy = _policy("minimal", part)
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items(), name
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert _ports(_policy("minimal", "replica")) == {53, 5432, 8333, 6379, 443, 80}
    assert _ports(_policy("minimal", "worker")) == {53, 5432, 8333, 6379, 443, 80}
    assert _ports(_policy("minimal", "relay")) == {53, 5432, 9092}
    assert _ports(_policy("minimal", "migrate-before")) == _ports(_policy("minimal", "migrate-after")) == {53, 5432}
    # Traces are sent by those that take requests and work, where there is somebody who takes them.
    assert {part for part in ("replica", "worker", "relay") if 4318 in _ports(_policy("full", part))} == {
        "replica",
        "worker",
    }
    assert _policy("minimal", "migrate-before")["spec"]["ingress"] == []
    # The policy of a hook is there before the hook.
    weights = [
        int(one["metadata"]["annotations"]["helm.sh/hook-weight"])
        for one in (_policy("minimal", "migrate-before"), of_kind("minimal", "Job")[0])
    ]
    assert weights[0] < weights[1]


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "100.64.0.1", "127.0.0.1", "fd00:ec2::254",
     "fe80::1", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"],
)  # fmt: skip
def test_a_private_address_is_not_outside(address: str) -> None:
    asked = ipaddress.ip_address(address)
    for part in ("replica", "worker"):
        blocks = [
            peer["ipBlock"]
            for rule in _policy("minimal", part)["spec"]["egress"]
            for peer in rule["to"]
            if "ipBlock" in peer
        ]
        covering = [block for block in blocks if asked in ipaddress.ip_network(block["cidr"])]
        assert covering, "the outside is not there at all"
        for block in covering:
            assert any(asked in ipaddress.ip_network(one) for one in block["except"])
        assert all(
            ipaddress.ip_network(one).subnet_of(ipaddress.ip_network(block["cidr"]))  # type: ignore[arg-type]
            for block in blocks
            for one in block["except"]
        ), "Kubernetes refuses an exception that lies outside of its block"


def test_only_the_ingress_and_prometheus_come_in() -> None:
    def callers(part: str) -> list[str]:
        return [
            peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            for rule in _policy("minimal", part)["spec"]["ingress"]
            for peer in rule["from"]
        ]

    assert callers("replica") == ["ingress-nginx", "monitoring"]
    assert callers("worker") == callers("relay") == ["monitoring"]


def test_the_outside_of_the_cluster_sees_neither_metrics_nor_probes() -> None:
    (ingress,) = of_kind("full", "Ingress")
    paths = [path["path"] for rule in ingress["spec"]["rules"] for path in rule["http"]["paths"]]
    assert paths == ["/api/", "/hooks/", "/docs", "/openapi.json"]


@pytest.mark.parametrize("values", ["minimal", "full"])
def test_no_replica_forgets_events_that_relays_apart_are_to_carry(values: str) -> None:
    for deployment in of_kind(values, "Deployment"):
        told = variables(deployment["spec"]["template"])
        # A worker may read what the platform says, so that it has both.
        assert "PLUGYARD_KAFKA_URL" in told or told.get("PLUGYARD_RELAY_ELSEWHERE") == "true"


@pytest.mark.parametrize("values", VALUES)
def test_whatever_serves_is_given_all_that_its_profile_demands(values: str) -> None:
    named = {"database_url", "objects_url", "cache_url", "kafka_url", "relay_elsewhere"}
    for name, template in pods(values):
        if name.endswith(("-replica", "-worker")):
            told = variables(template)
            given: dict[str, Any] = {one: told.get(ENVIRONMENT_PREFIX + one.upper()) for one in named}
            check_profile(replace(Settings(), profile=told[ENVIRONMENT_PREFIX + "PROFILE"], **given))


def test_what_scales_and_what_may_be_away_names_what_is_there() -> None:
    deployments = {one["metadata"]["name"] for one in of_kind("minimal", "Deployment")}
    assert deployments == {"prod-plugyard-replica", "prod-plugyard-worker", "prod-plugyard-relay"}
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in of_kind("minimal", "HorizontalPodAutoscaler")}
    assert scaled == {"prod-plugyard-replica", "prod-plugyard-worker"}
    for one in of_kind("minimal", "Deployment"):
        # A count beside an autoscaler would undo its work with every upgrade.
        assert ("replicas" in one["spec"]) == (one["metadata"]["name"] not in scaled)
    budgets = of_kind("minimal", "PodDisruptionBudget")
    assert {one["metadata"]["name"] for one in budgets} == deployments
    assert all(one["spec"]["maxUnavailable"] == 1 for one in budgets)


def test_prometheus_is_given_the_shipped_rules_and_every_pod() -> None:
    (rules,) = of_kind("full", "PrometheusRule")
    assert rules["spec"] == yaml.safe_load((CHART.parents[1] / "alerts.yaml").read_text())
    (monitor,) = of_kind("full", "ServiceMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    (service,) = [one for one in of_kind("full", "Service") if one["metadata"]["name"].endswith("-metrics")]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    for deployment in of_kind("full", "Deployment"):
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
    (dashboard,) = of_kind("full", "ConfigMap")
    assert json.loads(dashboard["data"]["plugyard.json"]) == json.loads(
        (CHART.parents[1] / "dashboard.json").read_text()
    )


def test_what_is_switched_off_is_not_there() -> None:
    kinds = {one["kind"] for one in documents("small")}
    assert kinds == {"Deployment", "Service", "PodDisruptionBudget"}
    assert "WARNING: networkPolicy.enabled is false" in notes("small")
    assert "WARNING" not in notes("full")


def test_every_value_is_described_and_every_description_has_its_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    default = yaml.safe_load((CHART / "values.yaml").read_text())

    def walk(node: Document, value: Any, path: str) -> None:
        properties = node.get("properties", {})
        if properties:
            assert properties.keys() == value.keys(), f"{path}: values.yaml and the schema name different values"
            assert node["additionalProperties"] is False, path
        for name, child in properties.items():
            assert len(child.get("description", "")) > 8, f"{path}.{name} is not described"
            walk(child, value[name], f"{path}.{name}")

    walk(schema, default, "")


def test_the_release_may_have_any_name() -> None:
    with helm.Chart.load(str(CHART)) as chart:
        values = {"settings": {"objects_url": "s3://plugyard"}}
        for name in ("plugyard", "a" * 53):
            for document in parsed(chart.render(values, name=name, namespace="x")):
                assert len(document["metadata"]["name"]) <= 63
                kubernetes_validate.validate(document, NEWEST, strict=True)


def test_whatever_runs_by_default_is_a_command() -> None:
    def commands(**settings: str) -> set[str]:
        return {
            document["spec"]["template"]["spec"]["containers"][0]["args"][0]
            for document in parsed(render({"settings": {"objects_url": "s3://plugyard", **settings}}))
            if document["kind"] in ("Deployment", "Job")
        }

    # A relay without a Kafka would say so and end, again and again.
    assert commands() == {"serve", "worker", "migrate"}
    run = commands(kafka_url="kafka:9092")
    listed = subprocess.run(
        [sys.executable, "-m", "plugyard.cli", "--help"], capture_output=True, text=True, check=True
    )
    assert run == {"serve", "worker", "relay", "migrate"}
    assert all(re.search(rf"^\W*{one}\s", listed.stdout, flags=re.MULTILINE) for one in run)


def test_the_chart_installs_the_version_that_it_lies_beside() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == __version__
