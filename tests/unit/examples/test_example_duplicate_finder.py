"""The component finds what is alike, and only that; texts of every language and escape pass through it unchanged."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import EXAMPLES, Run, manifest_of


def _found(run: Run, *texts: str, **options: Any) -> Any:
    (outcome,) = run("duplicate-finder", ("find", {"texts": list(texts), **options}))
    return outcome["output"]


def test_pairs_come_with_the_most_alike_first_and_groups_join_them(run: Run) -> None:
    output = _found(run, "Acme Corporation", "Globex", "ACME  corporation!", "Acme Corporation Ltd", threshold=0.8)
    assert [(one["left"], one["right"]) for one in output["found"]] == [(0, 2), (0, 3), (2, 3)]
    assert output["found"][0]["score"] == 1
    assert (output["pairs"], output["groups"]) == (3, 1)


def test_the_limit_cuts_the_list_and_not_the_count(run: Run) -> None:
    output = _found(run, "one text", "one text", "one text", limit=1)
    assert (len(output["found"]), output["pairs"]) == (1, 3)


@pytest.mark.parametrize("text", ["Zoë Müller", "東京タワー", 'a"\\\n\t\u0001/', "🦀 crab", "e\u0301"])
def test_every_text_passes_unchanged(run: Run, text: str) -> None:
    (one,) = _found(run, text, text)["found"]
    assert (one["leftText"], one["rightText"], one["score"]) == (text, text, 1)


def test_similarity_is_the_dice_coefficient_of_trigrams(run: Run) -> None:
    # "  a", " ab", "abc", "bc " against "  a", " ab", "abd", "bd ": two of four are shared.
    (outcome,) = run("duplicate-finder", ("similarity", {"left": "abc", "right": "abd"}))
    assert outcome["output"] == 0.5


def test_a_fault_is_a_sentence(run: Run) -> None:
    (outcome,) = run("duplicate-finder", ("find", {"texts": [1]}))
    assert outcome["error"] == "texts must be a list of texts"


def test_it_says_what_it_compared(run: Run) -> None:
    (outcome,) = run("duplicate-finder", ("find", {"texts": ["a", "b"]}))
    assert outcome["logs"] == [{"level": "info", "message": "compared", "fields": {"texts": 2, "pairs": 0}}]


def test_the_artefact_is_small_and_its_sources_lie_beside_it() -> None:
    folder = EXAMPLES / "duplicate-finder"
    assert (folder / "plugin.wasm").stat().st_size < 200 * 1024
    assert set(manifest_of("duplicate-finder")["functions"]) == {"find", "similarity"}
    assert json.dumps("find") in (folder / "src" / "lib.rs").read_text("utf-8")
    assert "plugin.wit" in (folder / "build.sh").read_text("utf-8")
