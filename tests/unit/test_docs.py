"""What is documented is what there is: every setting, role, permission, limit, event, link and named file."""

import json
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from plugyard.domain.events import EventType
from plugyard.domain.identity import LOWEST_ROLE, Action
from plugyard.domain.limits import EffectiveLimits
from plugyard.domain.permissions import Service
from plugyard.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
SOURCES = sorted((ROOT / "src" / "plugyard").rglob("*.py"))


def rows(page: str) -> Iterator[list[str]]:
    """The cells of every table row on a page."""
    for line in (ROOT / page).read_text().splitlines():
        if line.startswith("|") and not line.startswith("|--"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_setting_is_documented_with_its_flag_variable_and_sense() -> None:
    source = (ROOT / "src/plugyard/settings.py").read_text()
    documented = {row[2].strip("`"): row for row in rows("docs/settings.md")}
    names = {field.name for field in fields(Settings)}
    assert names == documented.keys() - {"plugyard.toml"}
    for name in names:
        flag, variable, _, _, sense = documented[name]
        assert flag == f"`--{name.replace('_', '-')}`"
        assert variable == f"`PLUGYARD_{name.upper()}`"
        assert f'"""{sense}"""' in source, f"docs/settings.md tells another sense of {name}"


def test_the_documented_roles_are_the_table_that_the_code_uses() -> None:
    documented = {row[0].strip("`"): row[1] for row in rows("docs/roles.md") if row[0].startswith("`")}
    assert {action.value: LOWEST_ROLE[action].value for action in Action}.items() <= documented.items()


def test_every_permission_is_documented() -> None:
    documented = {row[0].strip("`") for row in rows("docs/roles.md")}
    assert {service.value for service in Service} <= documented


def test_every_limit_is_documented() -> None:
    documented = {row[0].strip("`") for row in rows("docs/limits.md") if row[0].startswith("`")}
    assert documented == {field.name for field in fields(EffectiveLimits)}


def test_every_event_is_documented() -> None:
    documented = {row[0].strip("`") for row in rows("docs/events.md") if row[0].startswith("`")}
    assert documented == {event.value for event in EventType}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name} links {target}, which is not there"


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "SECURITY.md"])
def test_every_file_and_symbol_that_is_named_exists(page: str) -> None:
    text = (ROOT / page).read_text()
    code = "\n".join(path.read_text() for path in SOURCES)
    for name in set(re.findall(r"`([a-zA-Z_/.]+\.(?:py|json|wit))`", text)):
        places = [ROOT / name, ROOT / "src/plugyard" / name, ROOT / "sdk" / name]
        inside = [path for path in SOURCES if path.as_posix().endswith("/" + name)]
        assert inside or any(place.exists() for place in places), f"{page} names {name}, which is not there"
    for symbol in set(re.findall(r"`([A-Z][A-Za-z]+[a-z][A-Za-z]*|[A-Z]+(?:_[A-Z]+)+)`", text)):
        assert re.search(rf"(class |def |^){symbol}\b", code, re.M), f"{page} names {symbol}, which is not there"


def test_every_row_of_the_security_matrix_names_tests_that_exist() -> None:
    matrix = [row for row in rows("SECURITY.md") if len(row) == 5 and row[0] != "attacker holds"]
    assert len(matrix) > 20
    for row in matrix:
        named = re.findall(r"`(tests/[a-z0-9_/]+\.py)`", row[4])
        assert named, f"no test is named for: {row[1]}"
        assert all((ROOT / name).exists() for name in named), row[4]


def test_every_file_of_escape_tests_is_in_the_security_matrix() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    files = {path.name for path in (ROOT / "tests" / "escape").glob("test_*.py")}
    # What an honest author meets is tried there too, with the same sandbox.
    assert {name for name in files if name not in text} == {"test_guests.py"}


def test_the_readme_names_the_two_commands() -> None:
    text = (ROOT / "README.md").read_text()
    assert "pip install uv && uv run plugyard demo" in text
    assert "pip install uv && uv run pytest" in text
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()


def test_every_module_and_every_refusal_is_documented() -> None:
    listed = json.loads((ROOT / "guests/modules.json").read_text())
    page = (ROOT / "docs/modules.md").read_text()
    offered = [re.findall(r"`([^`]+)`", line) for line in page.splitlines() if line.startswith("> ")]
    assert offered == [listed["python"]["allowed"], listed["javascript"]["allowed"]]
    documented = {row[0]: row[1:] for row in rows("docs/modules.md")}
    for column, language in enumerate(("python", "javascript")):
        for name, reason in listed[language]["refused"].items():
            assert f"`{name}`" in documented[listed["reasons"][reason]][column], f"docs/modules.md lacks {name}"
