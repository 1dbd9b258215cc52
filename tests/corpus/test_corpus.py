"""Every hostile package of the corpus is stopped or quarantined by the right rule; no harmless one is blocked.

``docs/corpus.md`` shows what came of each; ``python -m tests.corpus`` writes it again.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import reachable_folder, start_service
from tests.corpus.packages import Package, malware_list, packages
from tests.corpus.table import PAGE, rows, verdict_of

ALL = packages()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    folder = reachable_folder()
    (folder / "malware.txt").write_text(malware_list())
    running = start_service(folder, "--malware-list", str(folder / "malware.txt"))
    try:
        with running.client() as client:
            yield client
    finally:
        running.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def answers(client: httpx.Client, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("corpus")
    return {package.name: verdict_of(client, package, folder) for package in ALL}


def test_there_are_at_least_forty_of_each() -> None:
    assert len([one for one in ALL if one.hostile]) >= 40
    assert len([one for one in ALL if not one.hostile]) >= 40


def test_every_folder_is_in_the_table() -> None:
    here = Path(__file__).parent
    for kind in (True, False):
        there = {path.name for path in (here / ("hostile" if kind else "harmless")).iterdir()}
        assert there == {one.name for one in ALL if one.hostile is kind and one.made is None}


@pytest.mark.parametrize("package", [one for one in ALL if one.hostile], ids=lambda one: one.name)
def test_a_hostile_package_is_stopped_by_the_right_rule(package: Package, answers: dict[str, Any]) -> None:
    answer = answers[package.name]
    assert answer["verdict"] in ("refused", "quarantined"), answer
    weighty = {finding["rule"] for finding in answer["findings"] if finding["consequence"] != "show"}
    assert weighty & set(package.rules), answer["findings"]


@pytest.mark.parametrize("package", [one for one in ALL if not one.hostile], ids=lambda one: one.name)
def test_a_harmless_package_is_let_in(package: Package, answers: dict[str, Any]) -> None:
    assert answers[package.name]["verdict"] == "let in", answers[package.name]


def test_the_page_shows_what_came_of_each(answers: dict[str, Any]) -> None:
    shown = PAGE.read_text("utf-8")
    for line in rows(ALL, answers):
        assert line in shown, "write docs/corpus.md again: uv run python -m tests.corpus"
