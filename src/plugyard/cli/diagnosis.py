"""What ``plugyard doctor`` looks at: what the kernel gives the jail, and whether the parts are there."""

import platform
import shutil
import sys
from dataclasses import dataclass

from plugyard.sandbox import jail
from plugyard.settings import Settings


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. Without a ``needed`` one that is not ``ok`` the service does not start."""

    name: str
    ok: bool
    needed: bool
    detail: str


def diagnose(settings: Settings) -> list[Check]:
    """Look at everything; nothing is changed by it."""
    kernel = jail.probe()
    data = next(folder for folder in (settings.data, *settings.data.absolute().parents) if folder.exists())
    free_gb = shutil.disk_usage(data).free / (1 << 30)
    return [
        Check(
            "system", sys.platform == "linux", True, f"{platform.system()} {platform.release()} {platform.machine()}"
        ),
        Check("python", sys.version_info >= (3, 11), True, platform.python_version()),
        Check(
            "seccomp",
            kernel.seccomp,
            not settings.unsafe_no_jail,
            "system calls of a plugin's process are filtered"
            if kernel.seccomp
            else "this kernel has no seccomp filters: nothing executes, unless --unsafe-no-jail is given",
        ),
        Check(
            "landlock",
            kernel.landlock_abi > 0,
            False,
            f"ABI {kernel.landlock_abi}: files are denied by a second lock"
            if kernel.landlock_abi > 0
            else "not there: files are denied by seccomp alone",
        ),
        Check(
            "own user",
            kernel.drops_root,
            False,
            "environments run as an unprivileged user of their own"
            if kernel.drops_root
            else "environments run as the service's user, because it is not root",
        ),
        Check("disk", free_gb > 1, False, f"{free_gb:.1f} GB free at {data}"),
    ]
