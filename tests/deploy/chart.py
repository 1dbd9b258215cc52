"""The chart below ``deploy/helm``, rendered by Helm's own library, which comes in a wheel."""

from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/plugyard"
VALUES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
helm = pytest.importorskip("helm_python", reason="the wheel of Helm's library is made for Linux on x86-64 alone")

Document = dict[str, Any]


def values_of(name: str) -> Document:
    """The values file of this name that is shipped beside the chart."""
    return dict(yaml.safe_load((CHART / "ci" / f"{name}-values.yaml").read_text()))


@cache
def _texts(name: str) -> dict[str, str]:
    return render(values_of(name))


def render(values: Document) -> dict[str, str]:
    """What Helm makes of the chart with these values, by template; raises what Helm raises."""
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        return dict(chart.render(values, name="prod", namespace="plugyard"))


def notes(name: str) -> str:
    """What an operator reads when the release is installed."""
    return _texts(name)["plugyard/templates/NOTES.txt"]


def documents(name: str) -> list[Document]:
    """Every object of the release with the values of this name, for the caller alone."""
    return deepcopy(_documents(name))


@cache
def _documents(name: str) -> list[Document]:
    # Reading YAML takes a second each time, and nearly every test asks for it several times.
    return list(parsed(_texts(name)))


def parsed(texts: dict[str, str]) -> Iterator[Document]:
    """Every object in what was rendered."""
    for place, text in texts.items():
        if place.endswith(".yaml"):
            yield from (document for document in yaml.safe_load_all(text) if document)


def of_kind(name: str, kind: str) -> list[Document]:
    """Those of one kind."""
    return [document for document in documents(name) if document["kind"] == kind]


def pods(name: str) -> Iterator[tuple[str, Document]]:
    """The name of each thing that runs, and its pod's template."""
    for document in documents(name):
        if document["kind"] in ("Deployment", "Job"):
            yield document["metadata"]["name"], document["spec"]["template"]


def variables(template: Document) -> dict[str, Any]:
    """The variables of a pod's only container: a text, or where it comes from."""
    (container,) = template["spec"]["containers"]
    return {one["name"]: one.get("value", one.get("valueFrom")) for one in container["env"]}
