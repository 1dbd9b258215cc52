"""What the documents say is what the service does: events' data, numbers, snippets, lists.

``test_docs.py`` holds the names in the documents against the code; this module holds what is said of them.
"""

import ast
import json
import re
from collections import defaultdict
from dataclasses import fields
from pathlib import Path
from typing import Any

import msgspec
import pytest

from plugyard.application.platform import Policies
from plugyard.bootstrap.limits import quotas
from plugyard.domain import marketplace
from plugyard.domain.events import EventType
from plugyard.domain.identity import TenantPolicy
from plugyard.domain.limits import MEGABYTE, WORDS, LimitPolicy
from plugyard.domain.manifest import Manifest
from plugyard.domain.tenants import Quota, Quotas
from plugyard.http.commands import CallLimits, ChangeTenant
from plugyard.http.rates import RateClass
from plugyard.settings import Settings
from tests.unit.application.test_events import NOT_SENT, a_whole_life

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("README.md")])


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def rows(page: str) -> list[list[str]]:
    """The cells of every table row on a page."""
    lines = [line for line in text_of(page).splitlines() if line.startswith("|") and not line.startswith("|--")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] for line in lines]


def snippets(language: str) -> list[Any]:
    """Every fenced block of a language; those that leave something out with an ellipsis are no whole snippets."""
    return [
        pytest.param(match[1], id=f"{page.relative_to(ROOT)}:{text[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
        if "..." not in match[1]
    ]


async def test_the_data_of_each_event_is_what_its_row_in_the_documents_says(tmp_path: Path) -> None:
    documented = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", row[2])) for row in rows("docs/events.md") if "`" in row[0]
    }
    sent: dict[str, set[str]] = defaultdict(set)
    for event in (await a_whole_life(tmp_path)).events:
        sent[event.type.value] |= event.data.keys() - {"name", "state"}
    for type_ in EventType:
        if type_ not in NOT_SENT:
            assert sent[type_.value] == documented[type_.value], type_


def test_the_featured_rule_in_the_documents_is_the_one_that_counts() -> None:
    text = text_of("docs/marketplace.md")
    weights = marketplace.RATING_WEIGHT, marketplace.INSTALLATIONS_WEIGHT, marketplace.HEALTH_WEIGHT
    assert "score = {} * rating + {} * installations + {} * health".format(*weights) in text.replace("\u00d7", "*")
    assert f"ln(1 + {marketplace.FULL_MARKS_INSTALLATIONS:,})" in text
    assert f"{marketplace.UNKNOWN_HEALTH / 100} while nothing is known" in text
    assert (marketplace.PRIOR_RATINGS, marketplace.PRIOR_STARS) == (5, 3.0)
    assert "five imagined ratings of three stars" in text
    assert sum(weights) == pytest.approx(1)


def test_the_default_policy_is_the_documented_one() -> None:
    named = re.search(r"by default `(\w+)`", text_of("docs/roles.md"))
    assert named is not None
    assert {service.value for service in TenantPolicy().auto_grant} == {named[1]}


def test_the_documented_limits_are_the_defaults() -> None:
    documented = {row[0].strip("`"): row[2] for row in rows("docs/limits.md") if row[0].startswith("`")}
    defaults = LimitPolicy()
    assert documented["memory_bytes"] == f"{defaults.default_memory_mb} MB"
    assert documented["timeout_ms"] == f"{defaults.default_timeout_ms:,} ms"
    assert documented["output_bytes"] == f"{defaults.output_bytes // MEGABYTE} MB"
    assert documented["log_lines"] == f"{defaults.log_lines:,} lines"
    assert documented["service_calls"] == f"{defaults.service_calls:,} calls"
    assert documented["service_bytes"] == f"{defaults.service_bytes // MEGABYTE} MB"
    assert documented["log_bytes"] == f"{defaults.log_bytes // 1024} KB"
    assert documented["startup_ms"] == f"{defaults.default_startup_ms:,} ms"
    assert documented["stack_bytes"] == f"{defaults.default_stack_kb} KB"
    assert documented["service_rate"] == f"{defaults.service_rate:,} calls"
    assert documented["in_flight"] == f"{defaults.in_flight} calls"


def test_the_documented_words_of_the_limits_are_those_of_manifests_and_calls() -> None:
    documented = [row[1].split("`")[1] for row in rows("docs/limits.md") if row[0].startswith("`")]
    manifest = json.loads(text_of("sdk/manifest.schema.json"))["properties"]["security"]["properties"]
    asked = manifest["resourceLimits"]["properties"]
    assert set(documented) == set(WORDS) == set(asked)
    schemas = msgspec.json.schema(CallLimits)["$defs"]["CallLimits"]["properties"]
    for word, schema in schemas.items():
        bounds = {name: asked[word][name] for name in ("type", "minimum", "maximum")}
        assert bounds == schema["anyOf"][0], f"a call and a manifest differ on {word}"
    assert schemas.keys() == asked.keys()


def test_everything_that_an_operator_decides_for_a_tenant_is_documented() -> None:
    page = rows("docs/tenants.md")
    named = {row[0].strip("`") for row in page if row[0].startswith("`")}
    decided = set(msgspec.json.schema(ChangeTenant)["$defs"]["ChangeTenant"]["properties"])
    assert named == decided | {quota.value for quota in Quota} | {kind.value for kind in RateClass}
    limited = {cell.strip("`") for row in page if row[0].strip("`") in set(RateClass) for cell in row[2:]}
    assert limited == {one.name for one in fields(Settings) if one.name.startswith("rate_") and "_per_" in one.name}
    settings = {row[2].strip("`") for row in page if len(row) == 4 and row[0].strip("`") in set(Quota)}
    assert settings == {one.name for one in fields(Settings) if one.name.startswith("quota_")}


def test_the_documented_defaults_of_the_settings_are_those_of_the_code() -> None:
    documented = {row[2].strip("`"): row[3] for row in rows("docs/settings.md")}
    for one in fields(Settings):
        value = getattr(Settings(), one.name)
        if isinstance(value, Path):
            assert "folder" in documented[one.name], one.name
        elif isinstance(value, bool):
            assert documented[one.name] == ("on" if value else "off"), one.name
        elif one.name != "port" and isinstance(value, int | float):
            assert documented[one.name] == f"{value:,}", one.name
        else:
            assert documented[one.name] == str("" if value in (None, ()) else value), one.name


def test_the_settings_and_the_policies_have_the_same_defaults() -> None:
    settings, policies = Settings(), Policies()
    limits, rule = policies.limits, policies.suspension
    assert (settings.default_memory_mb, settings.max_memory_mb) == (limits.default_memory_mb, limits.max_memory_mb)
    assert (settings.default_timeout_ms, settings.max_timeout_ms) == (limits.default_timeout_ms, limits.max_timeout_ms)
    assert (settings.max_cpu_ms, settings.max_log_lines) == (limits.max_cpu_ms, limits.log_lines)
    assert (settings.max_output_kb * 1024, settings.max_log_kb * 1024) == (limits.output_bytes, limits.log_bytes)
    assert settings.max_service_calls == limits.service_calls
    assert settings.max_service_mb * MEGABYTE == limits.service_bytes
    assert (settings.service_calls_per_s, settings.max_in_flight) == (limits.service_rate, limits.in_flight)
    assert (settings.default_stack_kb, settings.max_stack_kb) == (limits.default_stack_kb, limits.max_stack_kb)
    assert (settings.default_startup_ms, settings.max_startup_ms) == (limits.default_startup_ms, limits.max_startup_ms)
    assert (settings.suspend_minimum, settings.suspend_ratio) == (rule.minimum, rule.ratio)
    assert quotas(settings) == Quotas(1_000, 20_480 * MEGABYTE), "what is not decided is documented in docs/tenants.md"
    assert (settings.suspend_window_s, settings.health_window_s) == (rule.window_s, policies.health_window_s)


@pytest.mark.parametrize("snippet", snippets("json"))
def test_every_json_snippet_is_json_and_every_manifest_in_it_is_one(snippet: str) -> None:
    document = json.loads(snippet)
    if isinstance(document, dict) and "metadata" in document:
        assert Manifest.from_document(document).name == document["metadata"]["name"]


@pytest.mark.parametrize("snippet", snippets("python"))
def test_every_python_snippet_is_python(snippet: str) -> None:
    ast.parse(snippet)


def test_every_decision_has_a_number_of_its_own() -> None:
    names = [path.name for path in sorted((ROOT / "docs/decisions").glob("[0-9]*.md"))]
    numbers = [int(name[:4]) for name in names]
    assert names
    assert len(set(numbers)) == len(numbers)


def test_every_decision_says_what_it_decides_and_why() -> None:
    for path in (ROOT / "docs/decisions").glob("[0-9]*.md"):
        text = path.read_text(encoding="utf-8")
        assert text.startswith("# "), path.name
        assert len(text) > 200, f"{path.name} says too little to be understood later"


def test_the_glossary_says_each_word_once() -> None:
    words = [row[0].lower() for row in rows("GLOSSARY.md")][1:]
    assert words
    assert len(set(words)) == len(words)


def test_the_changelog_keeps_its_form() -> None:
    headings = re.findall(r"^## (.*)$", text_of("CHANGELOG.md"), re.M)
    assert headings
    assert headings[0] == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", heading) for heading in headings[1:])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_keeps_a_note_to_its_writer_or_a_path_of_the_machine_it_was_written_on(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for word in ("TODO", "FIXME", "XXX", "/root/", "/tmp/", "/home/"):
        assert word not in text, f"{page.name} says {word}"
