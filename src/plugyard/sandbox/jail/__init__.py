"""Wall 2: a process that closes itself in, step by step, before it meets anything hostile.

Called by `plugyard.sandbox.inside` and `plugyard.gate` in the processes that run plugins or parse packages, and by the
embedded PostgreSQL for `parent.follow`. The steps run in order; the first that fails ends it all with `JailError`, and
the caller must then execute nothing.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from plugyard.sandbox.jail import (
    descriptors,
    identity,
    landlock,
    limits,
    pages,
    parent,
    priority,
    privileges,
    seccomp,
    session,
)
from plugyard.sandbox.jail.config import JailConfig, JailError
from plugyard.sandbox.jail.limits import limit_data
from plugyard.sandbox.jail.namespaces import NAMESPACES, Place, enter
from plugyard.sandbox.jail.parent import follow
from plugyard.sandbox.jail.procfs import open_files, path_of, read_own
from plugyard.sandbox.jail.trial import Trial, try_namespaces

__all__ = [
    "NAMESPACES",
    "STEPS",
    "JailConfig",
    "JailError",
    "Kernel",
    "Place",
    "Trial",
    "close",
    "enter",
    "follow",
    "limit_data",
    "lower_priority",
    "open_files",
    "path_of",
    "probe",
    "read_own",
    "seal",
    "try_namespaces",
]

Step = Callable[[JailConfig, Sequence[int]], None]

# (name, step, whether the operator's --unsafe-no-jail leaves it out)
STEPS: tuple[tuple[str, Step, bool], ...] = (
    # After everything that may still make a callback, and while the process can still read its own list of pages.
    ("pages", pages.close, True),
    ("descriptors", descriptors.close, False),
    ("session", session.close, False),
    ("priority", priority.close, False),
    ("identity", identity.close, True),
    ("limits", limits.close, True),
    ("privileges", privileges.close, True),
    # After the change of identity, at which the kernel forgets the signal of the parent's death.
    ("parent", parent.close, False),
    ("landlock", landlock.close, True),
    # Last, because every step before it makes calls that it forbids.
    ("seccomp", seccomp.close, True),
)


def close(config: JailConfig, keep: Sequence[int]) -> None:
    """Close the jail around this process; only the descriptors in `keep` stay.

    Raises JailError; nothing is undone then, so the process must end.
    """
    for name, step, only_enforced in STEPS:
        if only_enforced and not config.enforced:
            continue
        try:
            step(config, keep)
        except (OSError, ValueError) as error:
            raise JailError(f"{name}: {error}") from error


def lower_priority() -> None:
    """Take the step `priority` alone, as a zygote does for all that it forks. Raises OSError."""
    priority.close(JailConfig(), ())


def seal(config: JailConfig) -> None:
    """Take away for good what `maps_code` left: no memory becomes executable any more. Raises JailError."""
    if not config.enforced:
        return
    try:
        seccomp.seal()
    except OSError as error:
        raise JailError(f"seal: {error}") from error


@dataclass(frozen=True, slots=True)
class Kernel:
    """What this machine's kernel gives the jail."""

    seccomp: bool
    landlock_abi: int
    drops_root: bool
    pidfd: bool

    @property
    def sufficient(self) -> bool:
        """Whether the jail can be closed at all; Landlock is a second lock where it exists."""
        return self.seccomp


def probe() -> Kernel:
    """Ask the kernel what it has, without changing this process; namespaces have to be tried (`try_namespaces`)."""
    return Kernel(
        seccomp=seccomp.available(),
        landlock_abi=landlock.version(),
        drops_root=os.geteuid() == 0,
        pidfd=_names_processes(),
    )


def _names_processes() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True
