"""What the service answers to each package of the corpus, as the rows of ``docs/corpus.md``."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.corpus.packages import Package

PAGE = Path(__file__).parents[2] / "docs" / "corpus.md"


def verdict_of(client: httpx.Client, package: Package, folder: Path) -> dict[str, Any]:
    """Upload the package; its verdict and its findings."""
    files = {"package": (package.name, package.write(folder).read_bytes(), "application/octet-stream")}
    answer = client.post("/api/v1/plugins/upload", files=files)
    body = answer.json()
    if answer.status_code == 422:
        return {"verdict": "refused", "findings": body["findings"]}
    assert answer.status_code in (200, 201, 202), answer.text
    quarantined = body["plugin"]["status"] == "quarantined"
    return {"verdict": "quarantined" if quarantined else "let in", "findings": body["report"]["findings"]}


def rows(packages: Iterable[Package], answers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A row for each package: its name, what it is, what came of it, and the rules that decided or were shown."""
    lines = []
    for package in packages:
        answer = answers[package.name]
        decided = answer["verdict"] != "let in"
        rules = [one["rule"] for one in answer["findings"] if (one["consequence"] != "show") == decided]
        named = ", ".join(f"`{rule}`" for rule in dict.fromkeys(rules))
        lines.append(f"| {package.name} | {package.about} | {answer['verdict']} | {named} |")
    return lines
