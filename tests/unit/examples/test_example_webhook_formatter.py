"""webhook-formatter: what each sender's webhook reads like, and that strangers' text never takes effect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import Run, example_input

PULL: dict[str, Any] = {
    "action": "closed",
    "pull_request": {"number": 4, "title": "Fix it", "merged": True, "html_url": "https://github.com/a/b/pull/4"},
    "repository": {"full_name": "a/b", "html_url": "https://github.com/a/b"},
    "sender": {"login": "ada"},
}


def formatted(run: Run, payload: Any, configuration: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    (outcome,) = run("webhook-formatter", ("format", {"payload": payload, **more}, configuration or {}))
    assert "error" not in outcome, outcome
    output: dict[str, Any] = outcome["output"]
    return output


def test_a_push_lists_its_commits(run: Run) -> None:
    output = formatted(run, **example_input("webhook-formatter")["input"])
    assert output["text"].splitlines() == [
        "🔵 [<https://github.com/acme/rockets|acme/rockets>] wile pushed 2 commits to *main*",
        "• <https://github.com/acme/rockets/commit/1c0ffee|1c0ffee> Tighten the nozzle",
        "• <https://github.com/acme/rockets/commit/9be41aa|9be41aa> Warn &lt;everyone&gt; before ignition",
    ]


def test_a_long_push_is_cut_and_says_so(run: Run) -> None:
    commits = [{"id": "a" * 40, "message": f"commit {number}"} for number in range(12)]
    output = formatted(run, {"ref": "refs/heads/x", "commits": commits, "forced": True}, source="github")
    assert output["text"].splitlines()[-1] == "… and 4 more commits"
    assert output["severity"] == "warning"


def test_a_merged_pull_request_is_a_success(run: Run) -> None:
    output = formatted(run, PULL, {"dialect": "markdown", "signs": False})
    assert output == {
        "source": "github",
        "severity": "success",
        "text": "[[a/b](https://github.com/a/b)] ada merged pull request [#4 Fix it](https://github.com/a/b/pull/4)",
        "url": "https://github.com/a/b/pull/4",
    }


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (1234567, "usd", "12,345.67 USD"),
        (1234500, "jpy", "1,234,500 JPY"),
        (5, "eur", "0.05 EUR"),
        (1, "kwd", "0.001 KWD"),
    ],
)
def test_amounts_of_stripe_are_written_for_people(run: Run, amount: int, currency: str, text: str) -> None:
    event = {
        "object": "event",
        "type": "charge.succeeded",
        "data": {"object": {"amount": amount, "currency": currency}},
    }
    assert f"charged {text}" in formatted(run, event)["text"]


def test_a_failed_payment_is_an_error(run: Run) -> None:
    event = {
        "object": "event",
        "type": "invoice.payment_failed",
        "livemode": False,
        "data": {"object": {"number": "A-17", "amount_due": 990, "currency": "eur", "customer_email": "a@x.org"}},
    }
    output = formatted(run, event)
    assert output["severity"] == "error"
    assert output["text"].endswith("could not be paid: 9.90 EUR, attempt 1 (test mode)")


def test_any_json_becomes_a_list_of_its_fields(run: Run) -> None:
    payload = {"title": "Disk full", "level": "critical", "host": {"name": "db1", "disks": [1, 2]}, "note": None}
    output = formatted(run, payload)
    assert output["severity"] == "error"
    assert output["text"].splitlines() == [
        "🔴 Disk full",
        "• *level*: critical",
        "• *host.name*: db1",
        "• *host.disks[0]*: 1",
        "• *host.disks[1]*: 2",
        "• *note*: null",
    ]


@pytest.mark.parametrize("source", ["github", "stripe", "generic"])
def test_no_payload_is_too_odd(run: Run, source: str) -> None:
    payloads = [None, 3, "text", [], {}, [[[[[[1]]]]]], {"a": {"b": {"c": {"d": {"e": 1}}}}}]
    outcomes = run("webhook-formatter", *[("format", {"source": source, "payload": payload}) for payload in payloads])
    assert [outcome for outcome in outcomes if not outcome.get("output", {}).get("text")] == []


def test_every_event_of_github_survives_a_payload_without_anything_in_it(run: Run) -> None:
    known = ["ping", "push", "pull_request", "issues", "issue_comment", "release", "workflow_run", "star"]
    events = [*known, "constructor", "__proto__", "unheard_of"]
    calls = [("format", {"source": "github", "event": event, "payload": {}}) for event in events]
    texts = [outcome["output"]["text"] for outcome in run("webhook-formatter", *calls)]
    assert [text for text in texts if "undefined" in text or "NaN" in text or "null" in text] == []


def test_strangers_can_neither_call_everyone_nor_forge_links(run: Run) -> None:
    title = "<!channel> @everyone [click](https://evil.example) *bold*\nsecond line"
    hostile = {**PULL, "pull_request": {**PULL["pull_request"], "title": title, "html_url": "javascript:alert(1)"}}
    slack = formatted(run, hostile)
    assert "<!channel>" not in slack["text"]
    assert "javascript:" not in json.dumps(slack)
    assert len(slack["text"].splitlines()) == 1
    markdown = formatted(run, hostile, {"dialect": "markdown"})
    assert "@everyone" not in markdown["text"]
    assert "[click](" not in markdown["text"]


def request(body: Any, **headers: str) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"method": "POST", "path": "/github", "query": {}, "headers": named, "body": body, "params": {}}


def test_an_endpoint_answers_with_the_message(run: Run) -> None:
    parsed, text = run(
        "webhook-formatter",
        ("onGithub", request(PULL, x_github_event="pull_request")),
        ("onGithub", request(json.dumps(PULL), x_github_event="pull_request")),
    )
    assert parsed["output"] == text["output"]
    assert parsed["output"]["status"] == 200
    assert parsed["output"]["headers"]["content-type"].startswith("application/json")
    assert "merged pull request" in parsed["output"]["body"]["text"]


@pytest.mark.parametrize("handler", ["onGithub", "onStripe", "onGeneric"])
@pytest.mark.parametrize("body", ["{", None])
def test_an_endpoint_answers_400_to_what_is_no_json(run: Run, handler: str, body: str | None) -> None:
    (outcome,) = run("webhook-formatter", (handler, request(body)))
    assert outcome["output"]["status"] == 400
    assert "error" in outcome["output"]["body"]
