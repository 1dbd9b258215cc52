"""Writes ``docs/corpus.md`` again: uploads every package of the corpus to a service of its own.

uv run python -m tests.corpus
"""

import json
import tempfile
from pathlib import Path

import httpx

from benchmarks.service import Service
from tests.corpus.packages import malware_list, packages
from tests.corpus.table import PAGE, rows, verdict_of

_HEAD = """# What the gate makes of 80 packages

A corpus of our own making in `tests/corpus/`: {hostile} hostile packages, which have to be refused or quarantined,
and {harmless} harmless ones that come close to what is forbidden, which have to be let in. Each is uploaded to a real
service, with a malware list of one line, by the test that compares this page with what came of it. Write it again with
`uv run python -m tests.corpus`.
"""


def main() -> None:
    """Start a service, upload everything, write the page."""
    every = packages()
    listed = Path(tempfile.mkdtemp()) / "malware.txt"
    listed.write_text(malware_list())
    service = Service("--malware-list", str(listed))
    service.start()
    try:
        key = json.loads((service.data / "keys.json").read_text())["admin"]
        with (
            httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client,
            tempfile.TemporaryDirectory() as folder,
        ):
            answers = {package.name: verdict_of(client, package, Path(folder)) for package in every}
    finally:
        service.stop()
        service.remove()
    hostile, harmless = [one for one in every if one.hostile], [one for one in every if not one.hostile]
    parts = [_HEAD.format(hostile=len(hostile), harmless=len(harmless))]
    for title, group, third in (
        ("Hostile", hostile, "what it is after"),
        ("Harmless", harmless, "what comes close"),
    ):
        decided = "rules that decided" if group is hostile else "findings shown"
        head = f"## {title}\n\n| package | {third} | came of it | {decided} |\n|---|---|---|---|"
        parts.append("\n".join([head, *rows(group, answers)]) + "\n")
    PAGE.write_text("\n".join(parts), "utf-8")
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
