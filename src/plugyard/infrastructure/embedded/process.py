"""Starts PostgreSQL's programs and finds those that an earlier service left behind. Used by `server`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import plugyard
from plugyard.infrastructure.embedded.account import Account
from plugyard.infrastructure.embedded.errors import EmbeddedPostgresError, EmbeddedPostgresFailedError

_LAUNCH = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from plugyard.infrastructure.embedded.launcher import main; main(sys.argv[2:])"
)
_POLL_S = 0.005


def spawn(account: Account, program: Path, arguments: Sequence[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    """Starts `program` as `account`, bound to die with this process; `output` receives stdout and stderr.

    Must be called from the main thread: the kernel ties the child to the thread that started it, not to the process.
    """
    if threading.current_thread() is not threading.main_thread():
        raise EmbeddedPostgresError("The embedded PostgreSQL must be started from the main thread.")
    root = Path(plugyard.__file__).resolve().parent.parent
    identity = [str(account.uid), str(account.gid)] if account.switched else ["-", "-"]
    command = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(root), str(os.getpid()), *identity, str(program)]
    return subprocess.Popen(  # noqa: S603 - every word of the command is ours.
        [*command, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        # A Ctrl-C in the terminal reaches the whole foreground group; PostgreSQL must outlast the last writes.
        start_new_session=True,
    )


async def run(account: Account, program: Path, arguments: Sequence[str], output: Path) -> None:
    """Runs a program to its end; raises `EmbeddedPostgresFailedError` with the tail of its output when it fails."""
    with output.open("ab") as sink:
        child = spawn(account, program, arguments, sink)
    if await wait_for(child, seconds=120) is None:
        child.kill()
        child.wait()
        raise EmbeddedPostgresFailedError(f"{program.name} did not end within 120 s.")
    if child.returncode != 0:
        raise EmbeddedPostgresFailedError(f"{program.name} ended with {child.returncode}:\n{tail(output)}")


async def wait_for(child: subprocess.Popen[bytes], seconds: float) -> int | None:
    """The child's exit status, or `None` when it still runs after `seconds`."""
    end = time.monotonic() + seconds
    # Polled, because asyncio's child watchers need a loop and a thread that this child may outlive.
    while child.poll() is None and time.monotonic() < end:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_S)
    return child.returncode


async def end(child: subprocess.Popen[bytes], patience_s: float = 5.0) -> None:
    """Ends a server: SIGINT (open transactions are rolled back), then SIGQUIT (no last checkpoint), then SIGKILL."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        if child.poll() is None:
            child.send_signal(number)
            await wait_for(child, patience_s)


async def end_leftovers(cluster: Path, patience_s: float = 3.0) -> bool:
    """Ends what an earlier service left running on `cluster`; `True` when there was something.

    The caller holds the lock of the data folder, so whatever still runs has lost its service. It is most likely dying
    already, therefore it is first waited for, then asked, then killed.
    """
    found = processes_in(cluster)
    if not found:
        return False
    for number in (None, signal.SIGQUIT, signal.SIGKILL):
        if number is not None:
            for pid in processes_in(cluster):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        limit = time.monotonic() + patience_s
        while time.monotonic() < limit:
            if not processes_in(cluster):
                return True
            await asyncio.sleep(0.02)
    raise EmbeddedPostgresError(f"Processes {processes_in(cluster)} hold {cluster} and cannot be ended.")


def processes_in(folder: Path) -> list[int]:
    """The processes whose working directory is `folder`: PostgreSQL's all work in their cluster's folder.

    More reliable than `postmaster.pid`, whose number may since belong to another process, and which does not name the
    backends that outlive a killed postmaster for a moment.
    """
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{entry.name}/cwd") == str(folder):
                    found.append(int(entry.name))
    return found


def tail(log: Path, size: int = 2000) -> str:
    """The last `size` bytes of a log file as text; empty when there is none."""
    try:
        with log.open("rb") as source:
            source.seek(max(0, log.stat().st_size - size))
            return source.read().decode(errors="replace")
    except OSError:
        return ""
