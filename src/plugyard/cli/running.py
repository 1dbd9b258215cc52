"""Runs the service in the foreground, or a relay: progress while it starts, signals while it runs."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugyard.bootstrap import CannotStart, Service
from plugyard.cli.failure import Failure
from plugyard.settings import Settings

if TYPE_CHECKING:
    from rich.progress import Progress

Welcome = Callable[[str, str, Path, float], str]


class StartProgress:
    """Shows what the start is doing: a bar for each step in a terminal, a line for each step elsewhere."""

    def __init__(self) -> None:
        self._bars = _bars() if sys.stderr.isatty() else None
        self._tasks: dict[str, Any] = {}
        if self._bars is not None:
            self._bars.start()

    def __call__(self, step: str, fraction: float | None = None) -> None:
        """Tell of a step; ``fraction`` from 0 to 1, or ``None`` where nobody can know."""
        if self._bars is None:
            if step not in self._tasks:
                self._tasks[step] = None
                print(f"plugyard: {step}", file=sys.stderr, flush=True)
            return
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=None if fraction is None else 1.0)
        if fraction is not None:
            self._bars.update(self._tasks[step], completed=fraction, total=1.0)

    def close(self) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()


def _bars() -> "Progress":
    # Imported here: where nobody looks, a start need not wait for it.
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)


async def run(
    settings: Settings,
    *,
    welcome: Welcome | None = None,
    client: list[str] | None = None,
    once: bool = False,
    worker: bool = False,
) -> int:
    """Start the service, run ``client`` beside it if there is one, and serve until a signal; the exit status.

    A ``worker`` takes what waits in the queue, and answers probes alone.
    """
    began = time.monotonic()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    progress = StartProgress()
    service = Service(settings, progress, worker=worker)
    starting = asyncio.create_task(service.start())
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait((starting, stopping), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
        await starting
    except asyncio.CancelledError:
        return 130
    except CannotStart as error:
        raise Failure(str(error)) from error
    finally:
        progress.close()
        if not starting.done() or starting.cancelled() or starting.exception():
            await service.stop()
    status = 0
    try:
        if welcome is not None:
            print(welcome(service.url, service.admin_key, settings.data, time.monotonic() - began), flush=True)
        if client is not None:
            status = await _beside(client, stopping)
        if not once and not stop.is_set():
            if client is not None:
                print(f"\nServing on {service.url} until Ctrl-C.", file=sys.stderr, flush=True)
            await asyncio.wait((stopping, asyncio.create_task(service.failed())), return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                status = 1
    finally:
        await service.stop()
    return status


async def run_relay(settings: Settings) -> int:
    """Relay events until a signal; the exit status."""
    from plugyard.bootstrap.relaying import RelayService

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    service = RelayService(settings)
    try:
        await service.start()
        ends = (asyncio.create_task(stop.wait()), asyncio.create_task(service.failed()))
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    except CannotStart as error:
        raise Failure(str(error)) from error
    finally:
        await service.stop()
    return 0 if stop.is_set() else 1


async def _beside(command: list[str], stopping: asyncio.Task[bool]) -> int:
    process = await asyncio.create_subprocess_exec(*command)
    ended = asyncio.create_task(process.wait())
    await asyncio.wait((ended, stopping), return_when=asyncio.FIRST_COMPLETED)
    if not ended.done():
        process.terminate()
    return await ended
