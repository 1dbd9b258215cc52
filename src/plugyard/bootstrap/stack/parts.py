"""A process of the stack: started, looked at, killed, started again. It ends with this process, however that ends."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from plugyard.sandbox.jail.native import prctl
from plugyard.sandbox.jail.parent import PR_SET_PDEATHSIG

STARTS_WITHIN_S = 90.0


class CannotRun(Exception):
    """A part of the stack does not come up; the message has the end of its log."""


@dataclass
class Part:
    """One server. ``ready`` asks it whether it serves; ``at`` is where it is met, for people.

    ``prefix`` goes before its command, as for a server that runs in another network.
    """

    name: str
    command: Sequence[str]
    log: Path
    ready: Callable[[], Awaitable[bool]]
    at: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = ()
    started: int = 0
    wanted: bool = False  # whether it is to be started again where it ends by itself
    _process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id; raises ``CannotRun`` where it was never started."""
        if self._process is None:
            raise CannotRun(f"{self.name} was not started")
        return self._process.pid

    async def start(self, within_s: float = STARTS_WITHIN_S) -> float:
        """Start it; the seconds until it served. Raises ``CannotRun``."""
        began = time.monotonic()
        self.wanted = True
        self.launch()
        while time.monotonic() - began < within_s:
            if not self.running:
                raise CannotRun(f"{self.name} ended at once:\n{self.said()}")
            if await self.ready():
                return time.monotonic() - began
            await asyncio.sleep(0.05)
        raise CannotRun(f"{self.name} does not serve after {within_s:.0f} s:\n{self.said()}")

    def launch(self) -> None:
        """Start the process, and wait for nothing."""
        with self.log.open("ab") as sink:
            self._process = subprocess.Popen(  # noqa: S603 - the commands are those of servers.py
                [*self.prefix, *self.command],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                cwd=self.log.parent,
                env={**_inherited(), **self.environment},
                # Runs between fork and exec, and makes one system call.
                preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGTERM),
            )
        self.started += 1

    def send(self, number: int) -> None:
        """Send it a signal; one that has ended takes none."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        """End it without a word, as a machine that loses its power."""
        self.send(signal.SIGKILL)
        await self._ended(10)

    async def stop(self, within_s: float = 20.0) -> None:
        """Ask it to end, and end it where it does not."""
        self.wanted = False
        self.send(signal.SIGCONT)
        self.send(signal.SIGTERM)
        if not await self._ended(within_s):
            await self.kill()

    async def _ended(self, within_s: float) -> bool:
        if self._process is not None:
            try:
                await asyncio.to_thread(self._process.wait, within_s)
            except subprocess.TimeoutExpired:
                return False
        return True

    def said(self, most: int = 2_000) -> str:
        """How its log ends."""
        try:
            return self.log.read_text(errors="replace")[-most:]
        except OSError:
            return ""


def _inherited() -> dict[str, str]:
    # Settings of another service in this shell are none of the stack's.
    return {name: value for name, value in os.environ.items() if not name.startswith("PLUGYARD_")}
