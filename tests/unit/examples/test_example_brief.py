"""brief: a small plugin, called as a function and as the endpoint of its manifest."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import Run, example_input


def test_the_sentences_that_say_most_are_kept_in_their_order(run: Run) -> None:
    call = example_input("brief")
    (outcome,) = run("brief", (call["function"], call["input"]))
    assert outcome["output"]["words"] == 62
    assert outcome["output"]["topics"][:3] == ["lamp", "keeper", "tower"]
    first, second = outcome["output"]["summary"]
    assert call["input"]["text"].index(first) < call["input"]["text"].index(second)
    assert outcome["logs"][0]["fields"] == {"by": "ada", "words": 62, "kept": 2}


def test_the_endpoint_reads_its_query(run: Run) -> None:
    query = {"text": "Short is good. Long is not.", "sentences": "1"}
    request = {"method": "GET", "path": "/my-endpoint", "query": query, "headers": {}, "body": None, "params": {}}
    (outcome,) = run("brief", ("handleRequest", request))
    assert outcome["output"]["summary"] == ["Short is good."]


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({}, 'the field "text" must be a string'),
        ({"text": 5}, 'the field "text" must be a string'),
        ({"text": " "}, "there is nothing to read"),
        ({"text": "a", "sentences": 0}, "sentences must be 1 to 10"),
        ({"text": "a" * 100_001}, "the text has 100001 characters; 100000 are allowed"),
    ],
)
def test_what_cannot_be_read_is_refused(run: Run, given: dict[str, Any], complaint: str) -> None:
    (outcome,) = run("brief", ("handleRequest", given))
    assert complaint in outcome["error"]


@pytest.mark.parametrize("text", ["no end", "...", "Ünïcode wörks. Ja!", "a.b.c", '( " )', "word " * 5000])
def test_any_text_has_a_brief(run: Run, text: str) -> None:
    (outcome,) = run("brief", ("handleRequest", {"text": text}))
    assert outcome["output"]["readingMinutes"] >= 1
