"""The demonstration: packs the example plugins, uploads and activates them, and runs each on real input.

``operator.demo`` starts this against a service that runs; it is a client like any other and measures as one.
"""

import csv
import importlib.util
import io
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn
from rich.table import Table

from plugyard.cli.author import packed
from plugyard.cli.client import Client
from plugyard.cli.failure import Failure

WARM_CALLS = 30


@dataclass(frozen=True)
class Example:
    """An example plugin, what to run, on what, and how to tell in a few words what came out."""

    folder: str
    function: str
    value: Callable[[Path], Any]
    given: Callable[[Any], str]
    came_out: Callable[[Any], str]


@dataclass(frozen=True)
class Shown:
    """A line of the table. Times in milliseconds as the caller saw them, memory in bytes."""

    plugin: str
    runtime: str
    given: str
    result: str
    cold_ms: float
    cold_start: str
    warm_ms: float
    memory_bytes: int


def _own_input(folder: Path) -> Any:
    return json.loads((folder / "example-input.json").read_text())["input"]


def airports() -> str:
    """The table of airports in the wheel ``vega_datasets``: 3,376 rows with code, name, city, state, position."""
    found = importlib.util.find_spec("vega_datasets")
    if found is None or found.origin is None:
        raise Failure("the airports table comes from the wheel vega_datasets; install the development dependencies")
    return (Path(found.origin).parent / "_data" / "airports.csv").read_text()


def airports_by_name() -> list[str]:
    """Every airport's name and city, among which some are written down twice."""
    return [f"{row['name']}, {row['city']}" for row in csv.DictReader(io.StringIO(airports()))]


def _about_airports(output: Any) -> str:
    columns = {column["name"]: column for column in output["columns"]}
    latitude = columns["latitude"]["statistics"]
    largest = output["groups"]["items"][0]
    return (
        f"{output['rows']:,} rows, {len(columns)} columns; median latitude {latitude['median']:.2f}; "
        f"{output['groups']['count']} states, most in {largest['key']['state']} ({largest['rows']})"
    )


EXAMPLES = (
    Example(
        "invoice-totals",
        "total",
        _own_input,
        lambda value: f"an invoice of {len(value['lines'])} lines in three currencies",
        lambda output: (
            f"net {output['net']['text']}, tax at {len(output['taxes'])} rates {output['tax']['text']}, "
            f"total {output['gross']['text']} {output['currency']}"
        ),
    ),
    Example(
        "csv-insights",
        "describe",
        lambda folder: {"csv": airports(), "groupBy": "state"},
        lambda value: f"airports.csv, {len(list(csv.reader(io.StringIO(value['csv'])))) - 1:,} rows",
        _about_airports,
    ),
    Example(
        "webhook-formatter",
        "format",
        _own_input,
        lambda value: f"a GitHub webhook: {value['event']}, {len(value['payload']['commits'])} commits",
        lambda output: (
            f"a message of {len(output['text'].splitlines())} lines for the chat, severity {output['severity']}"
        ),
    ),
    Example(
        "duplicate-finder",
        "find",
        lambda folder: {"texts": airports_by_name(), "threshold": 0.85, "limit": 5},
        lambda value: f"the names and cities of {len(value['texts']):,} airports, each compared with all",
        lambda output: f"{output['pairs']} pairs nearly alike, in {output['groups']} groups",
    ),
    Example(
        "brief",
        "handleRequest",
        _own_input,
        lambda value: f"a text of {len(value['text'].split())} words",
        lambda output: f"{len(output['summary'])} sentences that say most, topics {', '.join(output['topics'][:3])}",
    ),
)


def show(client: Client, examples: Path, hints: list[str], *, as_json: bool) -> None:
    """Run every example and print the table, then what to try next, ``hints`` first."""
    console = Console(stderr=as_json)
    if not console.is_terminal:
        console.width = 140  # a file or a pipe has no width of its own, and 80 columns would fold every cell
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(SpinnerColumn(), TextColumn("{task.description}"), console=console, transient=True) as progress,
    ):
        task = progress.add_task("")
        rows = []
        for example in EXAMPLES:
            progress.update(task, description=f"packing, uploading and running {example.folder}")
            rows.append(_run(client, examples / example.folder, example, Path(folder)))
    if as_json:
        print(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False))
        return
    console.print(_table(rows))
    console.print(
        f"Warm is the median of {WARM_CALLS} calls over HTTP, each with its durable record; cold is the first call, "
        "in an environment that the plugin had never run in.\n"
    )
    console.print("[bold]Try next[/bold]")
    for line in (
        *hints,
        f"open {client.url}/docs        every endpoint, with examples",
        "docs/writing-plugins.md says all that a plugin can be",
    ):
        console.print(f"  {line}", highlight=False, markup=False)


def _run(client: Client, folder: Path, example: Example, target: Path) -> Shown:
    package = packed(folder, target / f"{example.folder}.zip")
    uploaded = client.upload(package, activate=True)
    plugin = uploaded["plugin"]
    if plugin["status"] != "active":
        plugin = client.call("POST", f"/api/v1/plugins/{plugin['id']}/activate")
    value = example.value(folder)
    first, cold = client.execute(plugin["id"], example.function, value)
    if first["status"] != "succeeded":
        raise Failure(f"{example.folder}: {first['status']}: {first['error']['message']}\n{first['error']['stack']}")
    warm = []
    last = first
    for _ in range(WARM_CALLS):
        last, took = client.execute(plugin["id"], example.function, value)
        warm.append(took)
    return Shown(
        plugin["name"],
        plugin["runtime"],
        example.given(value),
        example.came_out(last["output"]),
        cold,
        first["usage"]["start"],
        statistics.median(warm),
        last["usage"]["peakMemoryBytes"],
    )


def _table(rows: list[Shown]) -> Table:
    table = Table(
        title=f"{len(rows)} plugins, run on real input", title_justify="left", box=SIMPLE_HEAD, pad_edge=False
    )
    for column in ("plugin", "runtime"):
        table.add_column(column, no_wrap=True)
    for column in ("input", "what came out"):
        table.add_column(column, overflow="fold")
    for column in ("cold", "warm", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.plugin,
            row.runtime,
            row.given,
            row.result,
            f"{row.cold_ms:.1f} ms",
            f"{row.warm_ms:.1f} ms",
            f"{row.memory_bytes / (1 << 20):.1f} MB",
        )
    return table
