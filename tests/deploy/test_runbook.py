"""The runbook explains each alert, and names nothing that is not there."""

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import yaml

from plugyard.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/runbook.md").read_text()
GROUPS = yaml.safe_load((ROOT / "deploy/alerts.yaml").read_text())["groups"]


def sections(level: int) -> dict[str, str]:
    """Each section of this level with what it says."""
    parts = re.split(rf"^{'#' * level} (.+)$", TEXT, flags=re.MULTILINE)
    return {
        name: re.split(r"^#", body, flags=re.MULTILINE)[0].strip()
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


def test_each_alert_has_its_section_in_the_same_order() -> None:
    alerts = [rule["alert"] for group in GROUPS for rule in group["rules"]]
    explained = [name for name in sections(3) if name.startswith("Plugyard")]
    assert explained == alerts
    for name in explained:
        assert len(sections(3)[name]) > 60, f"{name} says too little to be of use at night"


def test_every_setting_that_the_runbook_names_exists() -> None:
    known = {field.name for field in fields(Settings)}
    others = {"max_connections", "archive_command", "wal_level", "plugyard_service", "secrets_locked"}
    others |= {"rate_limited", "quota_exceeded"}
    named = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", TEXT))
    # What begins so is PostgreSQL's, or a pooler's before it.
    assert {name for name in named - others if not name.startswith(("pg_", "tcp_"))} <= known


def test_every_secret_setting_has_its_line() -> None:
    (table,) = [body for name, body in sections(2).items() if name == "Changing secrets"]
    for field in fields(Settings):
        if not field.repr and not field.name.endswith("database_url") and field.name != "database_owner_url":
            shown = {"cache_url": "`cache_url`", "objects_secret_access_key": "the bucket's access key"}
            assert shown.get(field.name, f"`{field.name}`") in table or "kafka" in field.name, field.name


def test_every_link_within_the_page_leads_somewhere() -> None:
    headings = re.findall(r"^#+ (.+)$", TEXT, flags=re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    linked = set(re.findall(r"\]\(#([^)]+)\)", TEXT))
    assert linked <= anchors


def test_every_command_that_the_runbook_names_exists() -> None:
    named = {words.split()[0] for words in re.findall(r"`plugyard ([a-z][^`]*)`", TEXT)}
    assert named
    assert named <= {name for name in _commands() if not name.startswith("-")}


def _commands() -> set[str]:
    # `main` registers them before it runs one; a line of help lists what there is.
    done = subprocess.run([sys.executable, "-m", "plugyard.cli", "--help"], capture_output=True, text=True, check=True)
    return set(re.findall(r"^\W*([a-z]+)\s{2,}", done.stdout, flags=re.MULTILINE))
