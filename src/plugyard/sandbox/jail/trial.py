"""Which namespaces this machine gives: tried for real, in processes of their own that end at once.

Asking beforehand makes a promise of what is there: the service names it to its zygotes, and one that cannot keep it
does not start. Called by `zygote_client`, by `bootstrap` and by `plugyard doctor`.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from plugyard.sandbox.jail import namespaces
from plugyard.sandbox.jail.config import JailError
from plugyard.sandbox.jail.namespaces import NAMESPACES

_PROGRAM = "from plugyard.sandbox.jail import trial; trial.main()"
_PATIENCE_S = 20.0


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of it: the namespaces that can be had together, and for each other one the kernel's own words."""

    given: tuple[str, ...]
    missing: Mapping[str, str]


@functools.cache
def try_namespaces() -> Trial:
    """Try each one, once in the life of this process; blocks for some 0.1 s. What cannot be tried is not there."""
    # A process of many threads, as the service is one, may not enter a user namespace, and should not fork.
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and our own module
            [sys.executable, "-I", "-B", "-c", _PROGRAM],
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=_PATIENCE_S,
        )
        found = json.loads(done.stdout)
        return Trial(tuple(found["given"]), dict(found["missing"]))
    except (OSError, subprocess.SubprocessError, ValueError, KeyError) as error:
        return Trial((), dict.fromkeys(NAMESPACES, f"they could not be tried: {error}"))


def main() -> None:
    """Print a `Trial` as JSON; the whole life of the process that tries."""
    given, missing = _try_all()
    print(json.dumps({"given": given, "missing": missing}))


def _try_all() -> tuple[list[str], dict[str, str]]:
    words = _attempt(NAMESPACES)
    if not words:
        return list(NAMESPACES), {}
    # Root makes namespaces of every kind by its own right; everybody else needs one of users for all others.
    alone = _attempt(["user"])
    base = [] if alone else ["user"]
    missing = {"user": alone} if alone else {}
    given = list(base)
    for name in NAMESPACES[1:]:
        words = _attempt([*base, name])
        if words:
            missing[name] = words
        else:
            given.append(name)
    together = _attempt(given) if given else ""
    if together:
        return [], missing | dict.fromkeys(given, f"not together with the others: {together}")
    return given, missing


def _attempt(names: Iterable[str]) -> str:
    """Why these cannot be had together, in the kernel's words; empty when they can."""
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(told)
        words = "it ended without a word"
        try:
            words = _live_in(names)
        except (JailError, OSError) as error:
            words = str(error)
        finally:
            os.write(tell, words.encode()[:4000] or b"ok")
            os._exit(0)
    os.close(tell)
    with os.fdopen(told, "rb") as pipe:
        words = pipe.read().decode()
    # Beside the process that was forked here, the one that went on in its place.
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)
    return "" if words == "ok" else words or "it was killed"


def _live_in(names: Iterable[str]) -> str:
    """Do all that a zygote does there."""
    place = namespaces.enter(names)
    place.leave_files()
    child = place.fork()
    if child == 0:
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return "" if status == 0 else f"a fork ended with {status}"
