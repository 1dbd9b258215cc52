"""How commands print: text without what a terminal would act on, JSON for programs, and that something goes on."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def printable(text: str) -> str:
    """What somebody else wrote, without anything that a terminal would act on."""
    return "".join(character if character.isprintable() else " " for character in text)


def print_json(value: Any) -> None:
    """Print JSON for a program to read."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int], None]]:
    """Show on a terminal that something goes on, and how much has come by; bytes."""
    from rich.console import Console
    from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task(what, total=None)
        yield lambda count: shown.advance(task, count)
