"""A checkout of the code: where it is, which schema it makes, and its command line as a process of its own."""

import asyncio
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_MIGRATIONS = Path("src/plugyard/infrastructure/postgres/migrations/__init__.py")
_ASKED = (
    "import json, plugyard; from plugyard.infrastructure.postgres.migrations import HEAD, REVISIONS; "
    "print(json.dumps([plugyard.__file__, HEAD, sorted(REVISIONS)]))"
)
_RUNS_FOR_S = 120.0


class NoCheckout(Exception):
    """What was named is no checkout that can run; the message says what to do about it."""


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it said."""

    status: int
    text: str
    took_s: float


@dataclass(frozen=True)
class Checkout:
    """Code at some commit. ``head`` is the revision of the schema that it makes, ``knows`` are all that it knows."""

    path: Path
    commit: str
    head: str
    knows: tuple[str, ...]

    @classmethod
    def at(cls, path: Path) -> "Checkout":
        """The one in this folder; raises ``NoCheckout``."""
        path = path.absolute()
        if not (path / _MIGRATIONS).is_file():
            raise NoCheckout(f"{path} is no checkout of plugyard; git worktree add {path} COMMIT makes one")
        python = path / ".venv" / "bin" / "python"
        if not python.exists():
            raise NoCheckout(f"{path} has no environment yet: (cd {path} && uv sync) makes it")
        asked = subprocess.run(
            [python, "-c", _ASKED], capture_output=True, text=True, check=False, env=clean(), cwd="/"
        )
        if asked.returncode != 0:
            raise NoCheckout(f"the code in {path} cannot be imported: {asked.stderr.strip().splitlines()[-1:]}")
        file, head, knows = json.loads(asked.stdout)
        if not Path(file).resolve().is_relative_to(path.resolve()):
            raise NoCheckout(f"the environment of {path} runs the code of {Path(file).parent}: run uv sync there")
        command = ["git", "-C", str(path), "describe", "--always", "--dirty"]
        commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return cls(path, commit or "unknown", head, tuple(knows))

    def command(self, *words: str) -> list[str]:
        """Its command line with these words."""
        return [str(self.path / ".venv" / "bin" / "python"), "-m", "plugyard.cli", *words]

    async def run(self, *words: str, environment: dict[str, str], within_s: float = _RUNS_FOR_S) -> Said:
        """Run a command of it to its end; one that does not end is ended, with the status -9."""
        clock = asyncio.get_running_loop().time
        began = clock()
        process = await asyncio.create_subprocess_exec(
            *self.command(*words),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**clean(), **environment},
            cwd="/",
        )
        try:
            said, _ = await asyncio.wait_for(process.communicate(), within_s)
        except TimeoutError:
            said = f"did not end within {within_s:.0f} s".encode()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        status = process.returncode if process.returncode is not None else -9
        return Said(status, said.decode(errors="replace").strip(), clock() - began)


def clean() -> dict[str, str]:
    """This environment without what would make one code run the other, or read its settings."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PLUGYARD_") and name not in ("PYTHONPATH", "VIRTUAL_ENV")
    }
